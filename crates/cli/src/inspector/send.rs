//! The buttons of the page: sample deliveries, and a delivery again.

use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use emulators::sample_events::{self, Envelope};
use serde::Deserialize;
use serde_json::{Value, json};
use sonotheia_webhook::config::LARGEST_BODY;
use sonotheia_webhook::event::types::known_types;
use sonotheia_webhook::signature::Secret;
use sonotheia_webhook::timestamp::Timestamp;
use tower::ServiceExt;

use super::delivery::Headers;
use super::diagnosis::Keys;
use super::{Shared, history};
use crate::args::random_hex;
use crate::failure::Failure;

/// The type of the samples for which the type does not matter.
const USUAL: &str = "deepfake.completed";

/// A body that is larger than every `MAX_BODY_BYTES`.
const TOO_LARGE: usize = LARGEST_BODY + 1;

/// A time that is older than every `RETENTION_DAYS`, which is 3,650 at most: 2001-09-09.
const LONG_AGO: Timestamp = Timestamp::from_millis(1_000_000_000_000);

/// A button.
#[derive(Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Wanted {
    /// A new event of this type.
    Sample {
        #[serde(rename = "type")]
        event_type: String,
        envelope: Wrapped,
    },
    /// A new event of every type.
    All { envelope: Wrapped },
    /// The newest accepted event again.
    Duplicate,
    /// Other data under the id of the newest accepted event.
    Conflict,
    /// An event with a field that is missing and a field of the wrong type.
    Problems,
    /// A signed body that is not an event.
    Invalid,
    /// An event whose signed time is older than the retention.
    TooOld,
    /// A signed body over the limit.
    TooLarge,
    /// A new event, signed with a secret that nobody has.
    Forged,
    /// A new event with the signature of the newest accepted event.
    Tampered,
    /// A new event without a signature.
    Unsigned,
}

impl Wanted {
    /// Returns true if there is such a sample.
    fn is_known(&self) -> bool {
        match self {
            Self::Sample { event_type, .. } => known_types().any(|known| known == event_type),
            _ => true,
        }
    }
}

/// An envelope by its name.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrapped {
    Guide,
    Schema,
}

impl From<Wrapped> for Envelope {
    fn from(wrapped: Wrapped) -> Self {
        match wrapped {
            Wrapped::Guide => Self::Guide,
            Wrapped::Schema => Self::Schema,
        }
    }
}

/// `POST /inspector/send`: makes a delivery and gives it to the receiver.
pub async fn button(State(shared): State<Shared>, body: Bytes) -> Response {
    let wanted = serde_json::from_slice::<Wanted>(&body).ok();
    let (Some(wanted), Some(keys)) = (wanted.filter(Wanted::is_known), shared.inspector.keys()) else {
        return refused("There is no such button.");
    };
    match send(&shared, keys, wanted).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(failure) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            Json(json!({"error": failure.to_string()})),
        )
            .into_response(),
    }
}

fn refused(message: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"error": message}))).into_response()
}

async fn send(shared: &Shared, keys: &Keys, wanted: Wanted) -> Result<(), Failure> {
    let (receiver, secret) = (&shared.receiver, keys.secret());
    let body = match wanted {
        Wanted::Sample { event_type, envelope } => sample(&event_type, envelope.into(), Timestamp::now())?,
        Wanted::All { envelope } => {
            for event_type in known_types() {
                let body = sample(event_type, envelope.into(), Timestamp::now())?;
                signed(receiver, secret, body).await;
            }
            return Ok(());
        }
        Wanted::Duplicate => last(shared, secret).await?,
        Wanted::Conflict => contradiction(&last(shared, secret).await?)?,
        Wanted::Problems => usual(|event| {
            event["data"]["score"] = json!("high");
            event["data"]["label"] = Value::Null;
        })?,
        Wanted::Invalid => usual(|event| event["data"] = json!("not an object"))?,
        Wanted::TooOld => sample(USUAL, Envelope::Guide, LONG_AGO)?,
        Wanted::TooLarge => usual(|event| event["data"]["padding"] = "x".repeat(TOO_LARGE).into())?,
        Wanted::Forged => {
            signed(receiver, &Secret::new(random_hex::<32>()?)?, usual(|_| {})?).await;
            return Ok(());
        }
        Wanted::Tampered => {
            let signature = secret.sign(&last(shared, secret).await?).to_string();
            deliver(receiver, &Headers::signed(&signature), usual(|_| {})?).await;
            return Ok(());
        }
        Wanted::Unsigned => {
            let mut headers = Headers::signed("");
            headers.kept.pop();
            deliver(receiver, &headers, usual(|_| {})?).await;
            return Ok(());
        }
    };
    signed(receiver, secret, body).await;
    Ok(())
}

/// A new event of the usual type, with a change.
fn usual(change: impl FnOnce(&mut Value)) -> Result<Bytes, Failure> {
    let mut event = event(USUAL, Envelope::Guide, Timestamp::now())?;
    change(&mut event);
    Ok(event.to_string().into())
}

/// The newest accepted body. If no event has been accepted yet, this sends an event first.
async fn last(shared: &Shared, secret: &Secret) -> Result<Bytes, Failure> {
    if let Some(last) = shared.inspector.last_accepted() {
        return Ok(last);
    }
    let body = usual(|_| {})?;
    signed(&shared.receiver, secret, body.clone()).await;
    Ok(body)
}

/// The same event with one member of `data` changed or added.
fn contradiction(body: &[u8]) -> Result<Bytes, Failure> {
    let mut event: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(data) = event.get_mut("data").and_then(Value::as_object_mut) else {
        return Ok(Bytes::copy_from_slice(body));
    };
    let word = format!("contradicts the first delivery ({})", random_hex::<2>()?);
    match data.get_mut("score") {
        Some(score) => *score = json!(0.07),
        None => drop(data.insert("status".to_owned(), word.clone().into())),
    }
    data.insert("note".to_owned(), word.into());
    Ok(event.to_string().into())
}

/// A new event of a known type.
fn event(event_type: &str, envelope: Envelope, time: Timestamp) -> Result<Value, Failure> {
    let run = random_hex::<6>()?;
    let (id, session) = (format!("evt_{run}"), format!("sess_{run}"));
    let event = sample_events::event(event_type, envelope, &id, &session, time);
    Ok(event.unwrap_or_default())
}

fn sample(event_type: &str, envelope: Envelope, time: Timestamp) -> Result<Bytes, Failure> {
    Ok(event(event_type, envelope, time)?.to_string().into())
}

async fn signed(receiver: &Router, secret: &Secret, body: Bytes) {
    let signature = secret.sign(&body).to_string();
    deliver(receiver, &Headers::signed(&signature), body).await;
}

/// Gives a delivery to the receiver. The page shows what became of it.
async fn deliver(receiver: &Router, headers: &Headers, body: Bytes) {
    let mut request = Request::post("/webhook")
        .body(Body::from(body))
        .unwrap_or_default();
    for (name, value) in &headers.kept {
        request.headers_mut().append(name.clone(), value.clone());
    }
    let Ok(_) = receiver.clone().oneshot(request).await;
}

/// The delivery or the record that should be sent again.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Again {
    Delivery(u64),
    Record(String),
}

/// `POST /inspector/replay`: the same bytes again. A delivery has its own headers, a record gets a new signature.
pub async fn replay(State(shared): State<Shared>, body: Bytes) -> Response {
    let (Ok(again), Some(keys)) = (serde_json::from_slice::<Again>(&body), shared.inspector.keys()) else {
        return refused("The page can replay a delivery or a record.");
    };
    match again {
        Again::Delivery(n) => match shared.inspector.kept.get(n) {
            Some(delivery) if delivery.is_complete => {
                deliver(&shared.receiver, &delivery.headers, delivery.body.clone()).await;
            }
            _ => return refused("The inspector does not have all bytes of this delivery."),
        },
        Again::Record(event_id) => match history::whole(&shared, &event_id).await {
            Ok(Some((_, Some(body)))) => signed(&shared.receiver, keys.secret(), body).await,
            Ok(_) => return refused("The table does not have the body of this record."),
            Err(failed) => return failed.into_response(),
        },
    }
    StatusCode::NO_CONTENT.into_response()
}
