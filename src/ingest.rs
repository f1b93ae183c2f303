//! From a signed body to a record: judge the body, then store it (contract, sections 2 and 4).
//!
//! This module knows no HTTP. `POST /webhook`, `redrive` and `reconcile` call it and match on [`Ingested`]:
//!
//! | Signed body | Stored | Result |
//! |---|---|---|
//! | not an event, or a signed time more than 24 h ahead | rejected | [`Ingested::Invalid`] |
//! | a signed time older than the retention | rejected | [`Ingested::TooOld`] |
//! | an event, for the first time | accepted | [`Ingested::Stored`] |
//! | the same event id, type and data | already | [`Ingested::Duplicate`] |
//! | the same event id with another type or other data | rejected | [`Ingested::Conflict`] |

use std::borrow::Cow;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::event::{Event, InvalidEvent, Problem};
use crate::store::{DeliveryToken, NewRecord, Outcome, PutOutcome, Store, StoreError};
use crate::timestamp::Timestamp;

/// The code of [`Ingested::Invalid`], in answers and in records.
pub const INVALID_EVENT: &str = "invalid_event";
/// The code of [`Ingested::TooOld`].
pub const EVENT_TOO_OLD: &str = "event_too_old";
/// The code of [`Ingested::Conflict`].
pub const EVENT_CONFLICT: &str = "event_conflict";

/// The rules that a body is judged by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// `RETENTION_DAYS`: how long a record is kept, and how old a signed time may be.
    pub retention_days: u32,
    /// `DEEPFAKE_ALERT_THRESHOLD`: the score, 0 to 1, from which a result is an alert.
    pub alert_threshold: f64,
    /// The longest time between the judgement and the write.
    ///
    /// An event that gets too old within this time is too old already. Otherwise a replay could be judged in time, and
    /// written after DynamoDB has deleted the event's record.
    pub write_limit: Duration,
}

/// The result of [`ingest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ingested {
    /// The event is new, and DynamoDB has acknowledged its record.
    Stored {
        /// The record's key.
        event_id: String,
    },
    /// The table already has this event.
    Duplicate {
        /// The record's key.
        event_id: String,
    },
    /// The table has an event with the same id and another type or other data.
    Conflict(Problem),
    /// The signed time is older than the records are kept, so the event may be a replay.
    TooOld(Problem),
    /// The body is not an event.
    Invalid(Problem),
}

impl Ingested {
    /// The code and the reason of a rejection. `None` if the event is in the table.
    fn rejection(&self) -> Option<(&'static str, &Problem)> {
        match self {
            Self::Stored { .. } | Self::Duplicate { .. } => None,
            Self::Conflict(problem) => Some((EVENT_CONFLICT, problem)),
            Self::TooOld(problem) => Some((EVENT_TOO_OLD, problem)),
            Self::Invalid(problem) => Some((INVALID_EVENT, problem)),
        }
    }
}

/// A signed body after its judgement. Nothing is stored yet.
#[derive(Debug)]
pub struct Judged<'a> {
    body: &'a [u8],
    received_at: Timestamp,
    retention_days: u32,
    verdict: Verdict<'a>,
}

#[derive(Debug)]
enum Verdict<'a> {
    /// The table decides whether this event is new.
    Event(Event<'a>),
    /// The body is rejected, whatever the table holds.
    Rejected {
        result: Ingested,
        event: Option<Event<'a>>,
    },
}

/// Judges a signed body by the rules, at the time `now`.
pub fn judge<'a>(body: &'a [u8], rules: &Rules, now: Timestamp) -> Judged<'a> {
    let verdict = match Event::parse(body, rules.alert_threshold) {
        Err(InvalidEvent(problem)) => Verdict::Rejected {
            result: Ingested::Invalid(problem),
            event: None,
        },
        Ok(event) => match out_of_time(&event, rules, now) {
            Some(result) => Verdict::Rejected {
                result,
                event: Some(event),
            },
            None => Verdict::Event(event),
        },
    };
    Judged {
        body,
        received_at: now,
        retention_days: rules.retention_days,
        verdict,
    }
}

/// Compares the signed time with the clock. An event without a signed time passes.
fn out_of_time(event: &Event<'_>, rules: &Rules, now: Timestamp) -> Option<Ingested> {
    let (time, days) = (event.occurred_at?, rules.retention_days);
    if time > now.plus_days(1) {
        let message = format!("is {time}, more than 24 h ahead of the receiver's clock");
        return Some(Ingested::Invalid(Problem::new(event.time_path, message)));
    }
    if time < now.minus_days(days).plus(rules.write_limit) {
        let message = format!(
            "is {time}, and the receiver accepts events of the last {days} days only (RETENTION_DAYS)"
        );
        return Some(Ingested::TooOld(Problem::new(event.time_path, message)));
    }
    None
}

/// Stores a judged body: an event as accepted, any other body as rejected.
///
/// # Errors
/// [`StoreError`]. Nobody knows then whether the record is stored, and the same call may be made again.
pub async fn ingest(
    store: &Store,
    judged: &Judged<'_>,
    token: DeliveryToken,
) -> Result<Ingested, StoreError> {
    let ingested = accept(store, judged, token).await?;
    if let Some((code, problem)) = ingested.rejection() {
        store.put(judged.rejected_record(code, problem, token)).await?;
    }
    Ok(ingested)
}

/// Stores a judged body if it is a new event, and stores nothing otherwise.
///
/// # Errors
/// As [`ingest`].
pub async fn accept(
    store: &Store,
    judged: &Judged<'_>,
    token: DeliveryToken,
) -> Result<Ingested, StoreError> {
    let event = match &judged.verdict {
        Verdict::Event(event) => event,
        Verdict::Rejected { result, .. } => return Ok(result.clone()),
    };
    let event_id = judged.key().into_owned();
    let put = store.put(judged.accepted_record(event, &event_id, token)).await?;
    Ok(match put {
        PutOutcome::Stored => Ingested::Stored { event_id },
        PutOutcome::Duplicate => Ingested::Duplicate { event_id },
        PutOutcome::Conflict => conflict(&event_id),
    })
}

/// Finds out by a read what [`accept`] would return, and stores nothing.
///
/// # Errors
/// [`StoreError`].
pub async fn preview(store: &Store, judged: &Judged<'_>) -> Result<Ingested, StoreError> {
    let event = match &judged.verdict {
        Verdict::Event(event) => event,
        Verdict::Rejected { result, .. } => return Ok(result.clone()),
    };
    let event_id = judged.key().into_owned();
    Ok(match store.get(&event_id).await? {
        None => Ingested::Stored { event_id },
        Some(record) if record.content_hash == Some(event.content_hash) => Ingested::Duplicate { event_id },
        Some(_) => conflict(&event_id),
    })
}

fn conflict(event_id: &str) -> Ingested {
    let message = format!("is {event_id:?}, the id of an accepted event with another type or other data");
    Ingested::Conflict(Problem::new("id", message))
}

impl<'a> Judged<'a> {
    /// The event, if the body is an event.
    pub fn event(&self) -> Option<&Event<'a>> {
        match &self.verdict {
            Verdict::Event(event) => Some(event),
            Verdict::Rejected { event, .. } => event.as_ref(),
        }
    }

    /// The event's id, or the key that the record gets because the body has no id.
    pub fn key(&self) -> Cow<'_, str> {
        let id = self.event().and_then(|event| event.id.as_deref());
        match (id, &self.verdict) {
            (Some(id), _) => id.into(),
            (None, Verdict::Event(_)) => hash_key("", self.body).into(),
            (None, Verdict::Rejected { .. }) => hash_key("rejected:", self.body).into(),
        }
    }

    fn accepted_record<'r>(
        &'r self,
        event: &'r Event<'a>,
        event_id: &'r str,
        token: DeliveryToken,
    ) -> NewRecord<'r> {
        let counts_from = event
            .occurred_at
            .map_or(self.received_at, |time| time.max(self.received_at));
        NewRecord {
            event_id: event_id.into(),
            outcome: Outcome::Accepted,
            reason: None,
            event: Some(event),
            problems: Cow::Borrowed(&event.problems),
            body: self.body,
            received_at: self.received_at,
            expires_at: counts_from.plus_days(self.retention_of(Some(event))),
            token,
        }
    }

    /// The retention in days: the receiver's, or longer if the event asks for it.
    fn retention_of(&self, event: Option<&Event<'_>>) -> u32 {
        let asked = event.and_then(|event| event.retention_days);
        asked.unwrap_or(0).max(self.retention_days)
    }

    /// The record's key is the hash of the body, so it never takes the place of an event. The retention counts from the receipt,
    /// since the event's own time may be the reason for the rejection.
    fn rejected_record(&self, code: &'static str, problem: &Problem, token: DeliveryToken) -> NewRecord<'_> {
        let of_event = self.event().into_iter().flat_map(|event| &event.problems);
        NewRecord {
            event_id: hash_key("rejected:", self.body).into(),
            outcome: Outcome::Rejected,
            reason: Some(code),
            event: self.event(),
            problems: [problem].into_iter().chain(of_event).cloned().collect(),
            body: self.body,
            received_at: self.received_at,
            expires_at: self.received_at.plus_days(self.retention_of(self.event())),
            token,
        }
    }
}

/// A key made from the body, for a record without a sender's id.
fn hash_key(prefix: &str, body: &[u8]) -> String {
    format!("{prefix}sha256:{}", hex::encode(Sha256::digest(body)))
}
