//! The two envelopes into one [`Event`]; the problems of its fields; its alert (contract, sections 1 and 2).
//! Pure: no HTTP, no AWS, and the time is an argument.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::json::{self, Flaw, Kind, Members};
use crate::timestamp::{Parsed, Timestamp};

/// A signed body that is an event, whichever envelope it came in.
#[derive(Debug)]
pub struct Event<'a> {
    /// The sender's id; none where it sent none.
    pub id: Option<Cow<'a, str>>,
    /// The event's type, known or not.
    pub event_type: Cow<'a, str>,
    /// The signed time: the top-level `timestamp`, else `data.timestamp`.
    pub occurred_at: Option<Timestamp>,
    /// `data.session_id`, where it can be an index key.
    pub session_id: Option<Cow<'a, str>>,
    /// `data.compliance.retention_period_days`, rounded up to whole days.
    pub retention_days: Option<u32>,
    /// What a person should see.
    pub alert: Option<Alert>,
    /// What is wrong with the fields of an event that is taken all the same.
    pub problems: Vec<Problem>,
    /// SHA-256 of type and data compared as JSON: the same for a redelivery, another for a conflict.
    pub content_hash: [u8; 32],
    /// Whether the type is one of the contract's.
    pub known_type: bool,
}

/// Something that a reader of the record should know about a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where: `data.score`.
    pub path: String,
    /// What, to be read after the path.
    pub message: String,
}

impl Problem {
    /// A problem at a place.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

/// Why a person should look (contract, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// A deepfake score at or over the threshold.
    HighDeepfakeScore,
    /// A voice that was not verified.
    MfaNotVerified,
    /// A suspicious activity report.
    SarSubmitted,
}

impl Alert {
    /// The contract's name for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HighDeepfakeScore => "high_deepfake_score",
            Self::MfaNotVerified => "mfa_not_verified",
            Self::SarSubmitted => "sar_submitted",
        }
    }
}

/// Signed, but not an event. Says what is wrong and where, and never quotes the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEvent(pub Problem);

impl InvalidEvent {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self(Problem::new(path, message))
    }
}

impl fmt::Display for InvalidEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.path, self.0.message)
    }
}

impl std::error::Error for InvalidEvent {}

/// An event that is not taken for its signed time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfTime {
    /// Older than the records are kept: it may be a replay of one whose record is gone.
    TooOld,
    /// More than 24 h ahead of the receiver's clock.
    TooFarAhead,
}

/// How long ids and types may be, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// How long a DynamoDB sort or partition key of an index may be, in bytes, less some room.
const MAX_SESSION_BYTES: usize = 1024;

/// The longest retention an event can ask for, in days: a hundred years.
const MAX_RETENTION_DAYS: f64 = 36_500.0;

/// How long before its record may be deleted an event is too old already, in milliseconds.
///
/// A request judges the time when it begins and writes some time after that, up to its deadline
/// ([`REQUEST_DEADLINE`](crate::aws::REQUEST_DEADLINE), which is shorter). Were an event taken until the
/// last moment, the write of a replay could find its record just deleted, and store it as new.
pub const REPLAY_MARGIN_MS: i64 = 5_000;

/// What the body calls itself.
const BODY: &str = "the body";

impl<'a> Event<'a> {
    /// Reads a body whose signature holds.
    ///
    /// `alert_threshold` is the deepfake score, 0 to 1, from which a result is an alert.
    ///
    /// # Errors
    /// [`InvalidEvent`] where the contract's section 2 calls it one, but for what depends on the time:
    /// see [`check_time`](Self::check_time).
    pub fn parse(body: &'a [u8], alert_threshold: f64) -> Result<Self, InvalidEvent> {
        let text = std::str::from_utf8(body)
            .map_err(|e| InvalidEvent::new(BODY, format!("is not UTF-8 from byte {} on", e.valid_up_to())))?;
        let envelope = Members::parse(text).map_err(|e| match e.classify() {
            // Its text would quote the body.
            serde_json::error::Category::Data => InvalidEvent::new(BODY, "is not a JSON object"),
            _ => InvalidEvent::new(BODY, format!("is not JSON: {e}")),
        })?;

        for name in ["id", "event_id", "type", "event_type", "data"] {
            if envelope.repeats(name) {
                return Err(InvalidEvent::new(name, "is there more than once"));
            }
        }
        let id = either(&envelope, "id", "event_id")?;
        if let Some((path, id)) = &id
            && (id.starts_with("sha256:") || id.starts_with("rejected:"))
        {
            let message = "begins with `sha256:` or `rejected:`, which are the receiver's own";
            return Err(InvalidEvent::new(*path, message));
        }
        let (_, event_type) = either(&envelope, "type", "event_type")?
            .ok_or_else(|| InvalidEvent::new("type", "is missing, and so is `event_type`"))?;
        let data = envelope
            .get("data")
            .ok_or_else(|| InvalidEvent::new("data", "is missing"))?;
        if json::kind(data) != Kind::Object {
            return Err(InvalidEvent::new("data", "is not an object"));
        }
        let unreadable = |Flaw { path, message }| InvalidEvent::new(format!("data{path}"), message);
        let data = Members::parse(data.get())
            .map_err(|_| InvalidEvent::new("data", "has a name with half of a surrogate pair"))?;

        let mut hash = Sha256::new();
        hash.update((event_type.len() as u64).to_be_bytes());
        hash.update(event_type.as_bytes());
        json::hash(&data, &mut hash).map_err(unreadable)?;

        let mut problems = Problems::default();
        if id.is_none() {
            problems.note("id", "is missing; the record is keyed by the body's SHA-256");
        }
        if envelope
            .get("metadata")
            .is_some_and(|m| json::kind(m) != Kind::Object)
        {
            problems.note("metadata", "is not an object, and left out");
        }
        let occurred_at = problems
            .time(&envelope, "timestamp", "timestamp")
            .or(problems.time(&data, "timestamp", "data.timestamp"));
        let event_kind = EVENT_TYPES.iter().find(|kind| kind.name == event_type);
        if event_kind.is_none() {
            problems.note("type", "is not one this receiver knows");
        }
        problems.fields(&data, "data", event_kind.map_or(&[], |kind| kind.fields));
        let session_id = problems.session(&data, event_kind.is_some_and(|kind| kind.has_session));
        let retention_days = problems.retention(&data);

        Ok(Self {
            alert: alert(&event_type, &data, alert_threshold),
            id: id.map(|(_, id)| id),
            event_type,
            occurred_at,
            session_id,
            retention_days,
            problems: problems.0,
            content_hash: hash.finalize().into(),
            known_type: event_kind.is_some(),
        })
    }

    /// Whether the signed time is one to take an event at `now`; an event without one always is.
    ///
    /// # Errors
    /// [`OutOfTime`] for a time more than 24 h ahead, or older than `retention_days` less
    /// [`REPLAY_MARGIN_MS`].
    pub fn check_time(&self, now: Timestamp, retention_days: u32) -> Result<(), OutOfTime> {
        let oldest = now.minus_days(retention_days).as_millis() + REPLAY_MARGIN_MS;
        match self.occurred_at {
            Some(time) if time > now.plus_days(1) => Err(OutOfTime::TooFarAhead),
            Some(time) if time.as_millis() < oldest => Err(OutOfTime::TooOld),
            _ => Ok(()),
        }
    }
}

/// What a stored body is read back as: the parts that a result shows as they were sent.
#[derive(Debug, Default)]
pub struct Payload<'a> {
    /// The `data` object.
    pub data: Option<&'a RawValue>,
    /// The `metadata` object.
    pub metadata: Option<&'a RawValue>,
}

impl<'a> Payload<'a> {
    /// Reads the parts of any body; what can't be read is left out.
    pub fn parse(body: &'a [u8]) -> Self {
        let envelope = std::str::from_utf8(body)
            .ok()
            .and_then(|text| Members::parse(text).ok());
        let object = |name| {
            let value = envelope.as_ref()?.get(name)?;
            (json::kind(value) == Kind::Object).then_some(value)
        };
        Self {
            data: object("data"),
            metadata: object("metadata"),
        }
    }
}

/// A name that may be spelled two ways: where it was found, and what it is.
fn either<'a>(
    envelope: &Members<'a>,
    guide: &'static str,
    schema: &'static str,
) -> Result<Option<(&'static str, Cow<'a, str>)>, InvalidEvent> {
    let read = |path: &'static str| {
        let Some(value) = envelope.get(path) else {
            return Ok(None);
        };
        let fault = |message: &str| Err(InvalidEvent::new(path, message));
        match json::string(value) {
            None => fault("is not a string"),
            Some(name) if name.is_empty() => fault("is empty"),
            Some(name) if name.len() > MAX_NAME_BYTES => fault("is longer than 256 bytes"),
            Some(name) if name.chars().any(char::is_control) => fault("has control characters"),
            Some(name) => Ok(Some((path, name))),
        }
    };
    match (read(guide)?, read(schema)?) {
        (Some((_, one)), Some((_, other))) if one != other => Err(InvalidEvent::new(
            guide,
            format!("and `{schema}` are both there and differ"),
        )),
        (one, other) => Ok(one.or(other)),
    }
}

fn alert(event_type: &str, data: &Members<'_>, threshold: f64) -> Option<Alert> {
    match event_type {
        "deepfake.completed" => {
            let score = json::number(data.get("score")?)?;
            (score >= threshold).then_some(Alert::HighDeepfakeScore)
        }
        "mfa.failed" => Some(Alert::MfaNotVerified),
        "mfa.completed" => (data.get("verified")?.get() == "false").then_some(Alert::MfaNotVerified),
        "sar.submitted" => Some(Alert::SarSubmitted),
        _ => None,
    }
}

struct EventType {
    name: &'static str,
    /// Whether `session_id` must be there.
    has_session: bool,
    fields: &'static [Field],
}

struct Field {
    name: &'static str,
    required: bool,
    shape: Shape,
}

enum Shape {
    Text,
    /// A number that is not negative.
    Amount,
    /// A number from 0 to 1.
    Share,
    Bool,
    Object,
    OneOf(&'static [&'static str]),
    /// An object with these members.
    With(&'static [Field]),
}

const fn must(name: &'static str, shape: Shape) -> Field {
    let required = true;
    Field {
        name,
        required,
        shape,
    }
}

const fn may(name: &'static str, shape: Shape) -> Field {
    let required = false;
    Field {
        name,
        required,
        shape,
    }
}

/// The contract's section 1, second table. Times are read where the event's own is
/// ([`Problems::time`]), sessions where the index key is ([`Problems::session`]), and the retention of any
/// type where it counts ([`Problems::retention`]).
const EVENT_TYPES: &[EventType] = {
    use Shape::{Amount, Bool, Object, OneOf, Share, Text, With};
    &[
        EventType {
            name: "deepfake.completed",
            has_session: true,
            fields: &[
                must("score", Share),
                must("label", OneOf(&["likely_real", "likely_synthetic", "uncertain"])),
                may("confidence", Share),
                may(
                    "recommended_action",
                    OneOf(&["accept", "allow", "deny", "defer_to_review"]),
                ),
                may("latency_ms", Amount),
                may("audio_metadata", Object),
                may("analysis", Object),
            ],
        },
        EventType {
            name: "deepfake.failed",
            has_session: true,
            fields: &[must(
                "error",
                With(&[must("code", Text), may("message", Text), may("details", Object)]),
            )],
        },
        EventType {
            name: "mfa.completed",
            has_session: true,
            fields: &[
                must("enrollment_id", Text),
                must("verified", Bool),
                must("confidence", Share),
                may("user_id", Text),
                may("similarity_score", Share),
                may("liveness_score", Share),
                may("latency_ms", Amount),
                may("audio_metadata", Object),
                may("biometric_data", Object),
            ],
        },
        EventType {
            name: "mfa.failed",
            has_session: true,
            fields: &[
                may("enrollment_id", Text),
                may("verified", Bool),
                may("reason", Text),
                may("confidence", Share),
                may("similarity_score", Share),
                may("error", Object),
            ],
        },
        EventType {
            name: "mfa.enrollment.completed",
            has_session: false,
            fields: &[
                must("enrollment_id", Text),
                may("user_id", Text),
                may("status", Text),
                may("quality_score", Share),
                may("samples_processed", Amount),
                may("created_at", Text),
            ],
        },
        EventType {
            name: "sar.submitted",
            has_session: true,
            fields: &[
                must("case_id", Text),
                must("status", Text),
                may("decision", OneOf(&["allow", "deny", "review"])),
                may("reason", Text),
                may("submitted_at", Text),
                may("evidence", Object),
                may("compliance", Object),
            ],
        },
        EventType {
            name: "sar.filed",
            has_session: false,
            fields: &[
                must("case_id", Text),
                may("filing_reference", Text),
                may("filed_at", Text),
                may("authority", Text),
                may("status", Text),
            ],
        },
        EventType {
            name: "system.health_check",
            has_session: false,
            fields: &[
                may("status", Text),
                may("services", Object),
                may("response_times_ms", Object),
            ],
        },
    ]
};

/// The types the contract knows, in its order.
pub fn known_types() -> impl Iterator<Item = &'static str> {
    EVENT_TYPES.iter().map(|kind| kind.name)
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn note(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem::new(path, message));
    }

    fn fields(&mut self, object: &Members<'_>, path: &str, fields: &[Field]) {
        for field in fields {
            let path = format!("{path}.{}", field.name);
            if object.repeats(field.name) {
                self.note(&path, "is there more than once; the last one counts");
            }
            match object.get(field.name) {
                Some(value) => self.shape(value, path, &field.shape),
                None if field.required => self.note(path, "is missing"),
                None => {}
            }
        }
    }

    fn shape(&mut self, value: &RawValue, path: String, shape: &Shape) {
        let is = |kind| json::kind(value) == kind;
        let number = || json::number(value);
        let fault: Cow<'_, str> = match shape {
            Shape::Text if !is(Kind::String) => "is not a string".into(),
            Shape::Amount if number().is_none_or(|n| n < 0.0) => "is not a number from 0 up".into(),
            Shape::Share if number().is_none_or(|n| !(0.0..=1.0).contains(&n)) => {
                "is not a number from 0 to 1".into()
            }
            Shape::Bool if !is(Kind::Bool) => "is neither true nor false".into(),
            Shape::Object | Shape::With(_) if !is(Kind::Object) => "is not an object".into(),
            Shape::OneOf(values) if json::string(value).is_none_or(|v| !values.contains(&&*v)) => {
                format!("is not one of {}", values.join(", ")).into()
            }
            Shape::With(fields) => {
                if let Ok(members) = Members::parse(value.get()) {
                    self.fields(&members, &path, fields);
                }
                return;
            }
            _ => return,
        };
        self.note(path, fault);
    }

    /// A time, where one is there and can be read.
    fn time(&mut self, object: &Members<'_>, name: &str, path: &str) -> Option<Timestamp> {
        if object.repeats(name) {
            self.note(path, "is there more than once; the last one counts");
        }
        let value = object.get(name)?;
        match json::string(value).as_deref().and_then(Timestamp::parse) {
            Some(Parsed::Moment(time)) => Some(time),
            Some(Parsed::WithoutOffset(time)) => {
                self.note(path, "has no UTC offset; it was read as UTC");
                Some(time)
            }
            None => {
                self.note(path, "is not a time in ISO 8601, such as 2026-01-21T12:00:00Z");
                None
            }
        }
    }

    fn session<'a>(&mut self, data: &Members<'a>, required: bool) -> Option<Cow<'a, str>> {
        const PATH: &str = "data.session_id";
        if data.repeats("session_id") {
            self.note(PATH, "is there more than once; the last one counts");
        }
        let Some(value) = data.get("session_id") else {
            if required {
                self.note(PATH, "is missing");
            }
            return None;
        };
        let fault = match json::string(value) {
            None => "is not a string",
            Some(id) if id.is_empty() => "is empty",
            Some(id) if id.len() > MAX_SESSION_BYTES => "is longer than 1024 bytes",
            Some(id) => return Some(id),
        };
        self.note(PATH, format!("{fault}; the record can't be found by session"));
        None
    }

    fn retention(&mut self, data: &Members<'_>) -> Option<u32> {
        const PATH: &str = "data.compliance.retention_period_days";
        const NAME: &str = "retention_period_days";
        let compliance = Members::parse(data.get("compliance")?.get()).ok()?;
        if compliance.repeats(NAME) {
            self.note(PATH, "is there more than once; the last one counts");
        }
        match json::number(compliance.get(NAME)?) {
            None => self.note(PATH, "is not a number"),
            Some(days) if days < 0.0 => self.note(PATH, "is negative"),
            Some(days) if days > MAX_RETENTION_DAYS => {
                self.note(PATH, "is over 36500; the record is kept for 36500 days");
                return Some(MAX_RETENTION_DAYS as u32);
            }
            Some(days) => return Some(days.ceil() as u32),
        }
        None
    }
}
