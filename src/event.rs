//! The two envelopes of the sender become one [`Event`] (contract, sections 1 and 2).
//!
//! This module is pure: it knows no HTTP, no AWS and no clock. [`types`] is the table of event types, and `problems`
//! checks the fields of an event against that table.

mod problems;
pub mod types;

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::json::{self, Flaw, Kind, Members};
use crate::timestamp::Timestamp;
use problems::Problems;
pub use problems::{MAX_RETENTION_DAYS, MAX_SESSION_BYTES};

/// The longest id or type, in bytes. The key that the receiver makes from a body's hash is shorter.
pub const MAX_NAME_BYTES: usize = 256;

/// The path of a problem that concerns the whole body.
const BODY: &str = "the body";

/// A signed body that is an event, in either envelope.
#[derive(Debug)]
pub struct Event<'a> {
    /// The sender's id. `None` if the event has no id.
    pub id: Option<Cow<'a, str>>,
    /// The event's type, which may be one that the contract does not list.
    pub event_type: Cow<'a, str>,
    /// The signed time: the top-level `timestamp`, else `data.timestamp`.
    pub occurred_at: Option<Timestamp>,
    /// The member that holds the signed time: `timestamp` or `data.timestamp`.
    pub time_path: &'static str,
    /// `data.session_id`, if it can be an index key.
    pub session_id: Option<Cow<'a, str>>,
    /// `data.compliance.retention_period_days`, rounded up to whole days.
    pub retention_days: Option<u32>,
    /// Why a person should see this event.
    pub alert: Option<Alert>,
    /// The problems of an event that the receiver accepts nevertheless.
    pub problems: Vec<Problem>,
    /// SHA-256 of the type and the data, compared as JSON: a redelivery has the same hash, a conflict another one.
    pub content_hash: [u8; 32],
    /// True if the contract lists the type.
    pub known_type: bool,
}

/// A note for the readers of a record: which part of the event is wrong, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The place: `data.score`.
    pub path: String,
    /// The fault, to be read after the path: `is missing`.
    pub message: String,
}

impl Problem {
    /// Makes a problem.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.message)
    }
}

/// Why a person should see an event (contract, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// The deepfake score is at or over the threshold.
    HighDeepfakeScore,
    /// The voice was not verified.
    MfaNotVerified,
    /// A suspicious activity report was submitted.
    SarSubmitted,
}

impl Alert {
    /// Every alert.
    pub const ALL: [Self; 3] = [Self::HighDeepfakeScore, Self::MfaNotVerified, Self::SarSubmitted];

    /// The contract's name of the alert.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HighDeepfakeScore => "high_deepfake_score",
            Self::MfaNotVerified => "mfa_not_verified",
            Self::SarSubmitted => "sar_submitted",
        }
    }

    fn of(event_type: &str, data: &Members<'_>, threshold: f64) -> Option<Self> {
        match event_type {
            "deepfake.completed" => {
                let score = json::number(data.get("score")?)?;
                (score >= threshold).then_some(Self::HighDeepfakeScore)
            }
            "mfa.failed" => Some(Self::MfaNotVerified),
            "mfa.completed" => (data.get("verified")?.get() == "false").then_some(Self::MfaNotVerified),
            "sar.submitted" => Some(Self::SarSubmitted),
            _ => None,
        }
    }
}

/// A signed body that is not an event. The text says which part is wrong, and never quotes the body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidEvent(pub Problem);

impl InvalidEvent {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self(Problem::new(path, message))
    }
}

impl<'a> Event<'a> {
    /// Reads a body whose signature holds.
    ///
    /// `alert_threshold` is the deepfake score, 0 to 1, from which a result is an alert.
    ///
    /// # Errors
    /// [`InvalidEvent`] for every body that the contract's section 2 calls invalid, except for the signed time, which
    /// [`ingest::judge`](crate::ingest::judge) compares with the clock.
    pub fn parse(body: &'a [u8], alert_threshold: f64) -> Result<Self, InvalidEvent> {
        let text = std::str::from_utf8(body)
            .map_err(|e| InvalidEvent::new(BODY, format!("is not UTF-8 from byte {} on", e.valid_up_to())))?;
        let envelope = Members::parse(text).map_err(|e| match e.classify() {
            // The text of a data error would quote the body.
            serde_json::error::Category::Data => InvalidEvent::new(BODY, "is not a JSON object"),
            _ => InvalidEvent::new(BODY, format!("is not JSON: {e}")),
        })?;
        for name in ["id", "event_id", "type", "event_type", "data"] {
            if envelope.repeats(name) {
                return Err(InvalidEvent::new(name, "is there more than once"));
            }
        }
        let id = id(&envelope)?;
        let event_type = either(&envelope, "type", "event_type")?
            .ok_or_else(|| InvalidEvent::new("type", "is missing, and so is `event_type`"))?
            .value;
        let data = data(&envelope)?;
        let content_hash = content_hash(&event_type, &data)?;

        let known = types::find(&event_type);
        let mut problems = Problems::default();
        problems.identity(id.is_some(), known.is_some());
        problems.metadata(&envelope);
        let (outer, inner) = (
            problems.time(&envelope, "timestamp"),
            problems.time(&data, "data.timestamp"),
        );
        problems.fields(&data, "data", known.map_or(&[], |known| known.fields));
        let session_id = problems.session(&data, known.is_some_and(|known| known.has_session));
        let retention_days = problems.retention(&data);

        Ok(Self {
            alert: Alert::of(&event_type, &data, alert_threshold),
            id,
            event_type,
            occurred_at: outer.or(inner),
            time_path: if outer.is_some() {
                "timestamp"
            } else {
                "data.timestamp"
            },
            session_id,
            retention_days,
            problems: problems.into_vec(),
            content_hash,
            known_type: known.is_some(),
        })
    }
}

/// The parts of a stored body that a result shows as they were sent.
#[derive(Debug, Default)]
pub struct Payload<'a> {
    /// The `data` object.
    pub data: Option<&'a RawValue>,
    /// The `metadata` object.
    pub metadata: Option<&'a RawValue>,
}

impl<'a> Payload<'a> {
    /// Reads the parts of any body. A part that is not an object, or that other parsers may refuse, is left out.
    pub fn parse(body: &'a [u8]) -> Self {
        let envelope = std::str::from_utf8(body)
            .ok()
            .and_then(|text| Members::parse(text).ok());
        let object = |name| {
            envelope
                .as_ref()?
                .get(name)
                .filter(|value| json::is_sound_object(value))
        };
        Self {
            data: object("data"),
            metadata: object("metadata"),
        }
    }
}

/// The names that a rejected body claims. Nobody may rely on them.
#[derive(Debug, Default)]
pub struct Claims<'a> {
    /// The value of `id` or `event_id`.
    pub event_id: Option<Cow<'a, str>>,
    /// The value of `type` or `event_type`.
    pub event_type: Option<Cow<'a, str>>,
}

impl<'a> Claims<'a> {
    /// Reads the names of any body. A name that is not a string, or is empty, is left out.
    pub fn parse(body: &'a [u8]) -> Self {
        let envelope = std::str::from_utf8(body)
            .ok()
            .and_then(|text| Members::parse(text).ok());
        let name = |guide, schema| {
            let envelope = envelope.as_ref()?;
            let read = |name| {
                envelope
                    .get(name)
                    .and_then(json::string)
                    .filter(|name| !name.is_empty())
            };
            read(guide).or_else(|| read(schema))
        };
        Self {
            event_id: name("id", "event_id"),
            event_type: name("type", "event_type"),
        }
    }
}

/// A member that has one name in each envelope: the name that the body uses, and the value.
struct Named<'a> {
    path: &'static str,
    value: Cow<'a, str>,
}

/// Reads a name from the envelope. `null` and the empty string count as absent.
fn either<'a>(
    envelope: &Members<'a>,
    guide: &'static str,
    schema: &'static str,
) -> Result<Option<Named<'a>>, InvalidEvent> {
    let read = |path: &'static str| {
        let Some(value) = envelope.get(path) else {
            return Ok(None);
        };
        let fault = |message: &str| Err(InvalidEvent::new(path, message));
        match json::string(value) {
            None => fault("is not a string"),
            Some(name) if name.is_empty() => Ok(None),
            Some(name) if name.len() > MAX_NAME_BYTES => fault("is longer than 256 bytes"),
            Some(name) if name.chars().any(char::is_control) => fault("has control characters"),
            Some(value) => Ok(Some(Named { path, value })),
        }
    };
    match (read(guide)?, read(schema)?) {
        (Some(one), Some(other)) if one.value != other.value => Err(InvalidEvent::new(
            guide,
            format!("and `{schema}` are both there and differ"),
        )),
        (one, other) => Ok(one.or(other)),
    }
}

fn id<'a>(envelope: &Members<'a>) -> Result<Option<Cow<'a, str>>, InvalidEvent> {
    let Some(Named { path, value }) = either(envelope, "id", "event_id")? else {
        return Ok(None);
    };
    if value.starts_with("sha256:") || value.starts_with("rejected:") {
        let message =
            "begins with `sha256:` or `rejected:`; the receiver reserves these prefixes for its own keys";
        return Err(InvalidEvent::new(path, message));
    }
    Ok(Some(value))
}

fn data<'a>(envelope: &Members<'a>) -> Result<Members<'a>, InvalidEvent> {
    let data = envelope
        .get("data")
        .ok_or_else(|| InvalidEvent::new("data", "is missing"))?;
    if json::kind(data) != Kind::Object {
        return Err(InvalidEvent::new("data", "is not an object"));
    }
    Members::parse(data.get())
        .map_err(|_| InvalidEvent::new("data", "has a name with half of a surrogate pair"))
}

fn content_hash(event_type: &str, data: &Members<'_>) -> Result<[u8; 32], InvalidEvent> {
    let mut hash = Sha256::new();
    hash.update((event_type.len() as u64).to_be_bytes());
    hash.update(event_type.as_bytes());
    json::hash(data, &mut hash)
        .map_err(|Flaw { path, message }| InvalidEvent::new(format!("data{path}"), message))?;
    Ok(hash.finalize().into())
}
