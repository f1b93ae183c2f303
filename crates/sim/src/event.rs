//! The events that the sender makes, good and bad, and their signatures.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use sonotheia_webhook::signature::Secret;
use sonotheia_webhook::timestamp::Timestamp;

use crate::vault::Vault;
use crate::world::{PAYLOAD_MARK, RETENTION_DAYS};

const DAY_MS: i64 = 86_400_000;

/// The kind of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An event with an id and a signed time.
    Event,
    /// An event without a signed time.
    WithoutTime,
    /// An event without an id.
    WithoutId,
    /// Another event with the id of an earlier one.
    Conflict,
    /// Signed, and no event.
    Invalid,
    /// A signed time before the retention.
    TooOld,
    /// A signed time more than a day ahead.
    Future,
    /// A body over the limit.
    TooLarge,
    /// No signature, two signatures, or a text that is no signature.
    BadHeader,
    /// Signed with a secret that was never the receiver's.
    Forged,
    /// Signed with a secret that is out of use.
    Revoked,
}

/// An event as the sender keeps it for its retries.
#[derive(Clone, Debug)]
pub struct SentEvent {
    /// Its kind.
    pub kind: Kind,
    /// The key of its record, if it is an event.
    pub key: String,
    /// The text that is signed.
    pub body: String,
    /// The signed time, in milliseconds since the epoch.
    pub occurred_ms: Option<i64>,
    /// The days that its record is kept.
    pub retention_days: u32,
    /// The version of the secret that signs it, if one does.
    pub version: Option<usize>,
    /// The values of the signature header.
    pub signatures: Vec<String>,
}

impl SentEvent {
    /// Makes the event with this number. `version` is the version of the secret that the sender uses now.
    pub fn new(rng: &mut fastrand::Rng, number: u64, now_ms: i64, version: usize) -> Self {
        let kind = match rng.u32(0..1000) {
            0..610 => Kind::Event,
            610..680 => Kind::WithoutTime,
            680..730 => Kind::WithoutId,
            730..780 => Kind::Conflict,
            780..830 => Kind::Invalid,
            830..850 => Kind::TooOld,
            850..870 => Kind::Future,
            870..885 => Kind::TooLarge,
            885..915 => Kind::BadHeader,
            915..955 => Kind::Forged,
            _ => Kind::Revoked,
        };
        let version = match kind {
            Kind::Forged | Kind::BadHeader => None,
            Kind::Revoked => version.checked_sub(2),
            _ => Some(version),
        };
        let kind = if kind == Kind::Revoked && version.is_none() {
            Kind::Forged
        } else {
            kind
        };
        let number = if kind == Kind::Conflict {
            rng.u64(number.saturating_sub(40)..=number)
        } else {
            number
        };
        let key = format!("evt-{number}");
        let occurred_ms = occurred(rng, kind, now_ms);
        let (body, retention_days) = body(rng, kind, number, occurred_ms);
        let mut event = Self {
            kind,
            key,
            body,
            occurred_ms,
            retention_days,
            version,
            signatures: Vec::new(),
        };
        if kind == Kind::WithoutId {
            event.key = format!("sha256:{}", sha256(&event.body));
        }
        event.signatures = event.sign(rng);
        event
    }

    /// The same event, signed with a version of the secret.
    pub fn signed_again(&self, version: usize) -> Self {
        let signatures = vec![sign(&Vault::secret(version), &self.body)];
        Self {
            version: Some(version),
            signatures,
            ..self.clone()
        }
    }

    /// The key of the record that a rejection of this body makes.
    pub fn rejected_key(&self) -> String {
        format!("rejected:sha256:{}", sha256(&self.body))
    }

    /// The delivery as a request.
    pub fn request(&self, delivery: u64) -> Request<Body> {
        let mut request = Request::post("/webhook")
            .header("content-type", "application/json")
            .header("x-sonotheia-delivery-id", format!("dlv-{delivery}"))
            .header("x-sonotheia-event-id", &self.key);
        for signature in &self.signatures {
            request = request.header("x-sonotheia-signature", signature);
        }
        request.body(Body::from(self.body.clone())).expect("a request")
    }

    fn sign(&self, rng: &mut fastrand::Rng) -> Vec<String> {
        let right = |version: usize| sign(&Vault::secret(version), &self.body);
        match (self.kind, self.version) {
            (Kind::BadHeader, _) => match rng.u32(0..3) {
                0 => vec![],
                1 => vec![right(0), right(0)],
                _ => vec!["sha256=zz".to_owned()],
            },
            (_, Some(version)) => vec![right(version)],
            (_, None) => vec![sign("a guess", &self.body)],
        }
    }
}

/// The signed time of an event.
fn occurred(rng: &mut fastrand::Rng, kind: Kind, now_ms: i64) -> Option<i64> {
    let retention = i64::from(RETENTION_DAYS) * DAY_MS;
    Some(match kind {
        Kind::WithoutTime => return None,
        Kind::TooOld => now_ms - retention - rng.i64(-4_000..10 * DAY_MS),
        Kind::Future => now_ms + DAY_MS + rng.i64(60_000..DAY_MS),
        _ => match rng.u32(0..10) {
            // An event that waited for hours, and a sender whose clock is ahead.
            0 => now_ms - rng.i64(0..retention - 7_200_000),
            1 => now_ms + rng.i64(0..3_000),
            _ => now_ms - rng.i64(0..800),
        },
    })
}

/// The body, and the days that its record is kept.
fn body(rng: &mut fastrand::Rng, kind: Kind, number: u64, occurred_ms: Option<i64>) -> (String, u32) {
    let session = format!("sess-{}", number / 3);
    let (event_type, mut data, days) = match rng.u32(0..5) {
        0 => (
            "mfa.completed",
            json!({"session_id": session, "enrollment_id": "e", "verified": true, "confidence": 0.5}),
            0,
        ),
        1 => (
            "sar.submitted",
            json!({"session_id": session, "case_id": "c", "status": "s", "compliance": {"retention_period_days": 3}}),
            3,
        ),
        2 => ("deepfake.started", json!({"session_id": session}), 0),
        3 => ("deepfake.completed", json!({"session_id": 7}), 0),
        _ => (
            "deepfake.completed",
            json!({"session_id": session, "score": 0.9, "label": "uncertain"}),
            0,
        ),
    };
    data["note"] = PAYLOAD_MARK.into();
    if kind == Kind::Conflict {
        data["other"] = rng.u64(..).into();
    }
    if kind == Kind::TooLarge {
        data["noise"] = "x".repeat(5_000).into();
    }
    let time = occurred_ms.map(|ms| Timestamp::from_millis(ms).to_string());
    let id = format!("evt-{number}");
    let mut event = if rng.bool() {
        if let Some(time) = time {
            data["timestamp"] = time.into();
        }
        json!({"type": event_type, "id": id, "data": data})
    } else {
        let mut event = json!({"event_type": event_type, "event_id": id, "data": data});
        if let Some(time) = time {
            event["timestamp"] = time.into();
        }
        event
    };
    if let (Kind::WithoutId, Some(members)) = (kind, event.as_object_mut()) {
        members.remove("id");
        members.remove("event_id");
    }
    let text = event.to_string();
    if kind == Kind::Invalid {
        let broken = [
            text[..text.len() - 1].to_owned(),
            text.replace("\"data\"", "\"date\""),
            text.replacen('{', "[", 1),
            format!("\"{PAYLOAD_MARK} {number}\""),
        ];
        return (broken[rng.usize(0..broken.len())].clone(), 0);
    }
    (text, days)
}

fn sign(secret: &str, body: &str) -> String {
    Secret::new(secret)
        .expect("not empty")
        .sign(body.as_bytes())
        .to_string()
}

fn sha256(text: &str) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(text))
}
