//! The record: its attributes as they are written, and as they are read back (contract, section 4).

use std::borrow::Cow;
use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use super::StoreError;
use super::schema::{
    ALERT, BODY, CONTENT_HASH, DELIVERY_TOKEN, ERASED_AT, EVENT_ID, EXPIRES_AT, OCCURRED_AT, OUTCOME,
    PROBLEMS, REASON, RECEIVED_AT, SESSION, SESSION_ID, SHARD, SHARDS, TYPE, shard_name,
};
use crate::event::{Alert, Event, Problem};
use crate::sources::Sources;
use crate::timestamp::Timestamp;

/// An item as the SDK gives it: attributes by name.
pub(super) type Item = HashMap<String, AttributeValue>;

/// The outcome of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The record is an event.
    Accepted,
    /// The delivery was signed, but it is not a new event. A person can look at the record.
    Rejected,
}

impl Outcome {
    /// The contract's name of the outcome.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
        }
    }

    /// Finds an outcome by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Accepted, Self::Rejected]
            .into_iter()
            .find(|outcome| outcome.as_str() == name)
    }
}

/// 16 random bytes, new for each delivery. When the SDK repeats a write whose answer was lost, the receiver recognises its
/// own item by them.
///
/// The operating system makes the bytes for each delivery. The process keeps no state of a random generator, so processes
/// that start from one snapshot do not share tokens (AWS Lambda Developer Guide, "Handling uniqueness with Lambda
/// SnapStart").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryToken(pub(super) [u8; 16]);

impl DeliveryToken {
    /// Makes a token with the random bytes of the operating system.
    ///
    /// # Errors
    /// The operating system has no random bytes.
    pub fn new() -> Result<Self, getrandom::Error> {
        Sources::system().random().map(Self::from_bytes)
    }

    /// A token of these random bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// A record to write.
#[derive(Debug)]
pub struct NewRecord<'a> {
    /// The key: the sender's id, `sha256:…` or `rejected:sha256:…`.
    pub event_id: Cow<'a, str>,
    /// The outcome.
    pub outcome: Outcome,
    /// Why the delivery was rejected: the code of its answer.
    pub reason: Option<&'static str>,
    /// The event, if the body is an event.
    pub event: Option<&'a Event<'a>>,
    /// The problems of the event, or the reason for the rejection.
    pub problems: Cow<'a, [Problem]>,
    /// The body, verbatim.
    pub body: &'a [u8],
    /// The time of receipt.
    pub received_at: Timestamp,
    /// The time from which DynamoDB may delete the record.
    pub expires_at: Timestamp,
    /// The delivery's own token.
    pub token: DeliveryToken,
}

impl NewRecord<'_> {
    pub(super) fn into_item(self) -> Item {
        let mut item = HashMap::with_capacity(14);
        let mut put = |name: &str, value| item.insert(name.to_owned(), value);
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let bytes = |bytes: &[u8]| AttributeValue::B(Blob::new(bytes));

        put(EVENT_ID, text(&self.event_id));
        put(OUTCOME, text(self.outcome.as_str()));
        put(RECEIVED_AT, AttributeValue::S(self.received_at.to_string()));
        put(
            EXPIRES_AT,
            AttributeValue::N(self.expires_at.as_seconds_rounded_up().to_string()),
        );
        put(SHARD, AttributeValue::S(shard_name(self.token.0[0] % SHARDS)));
        put(DELIVERY_TOKEN, bytes(&self.token.0));
        // Readers of the stream get a string as it was sent.
        put(
            BODY,
            std::str::from_utf8(self.body).map_or_else(|_| bytes(self.body), text),
        );
        if let Some(reason) = self.reason {
            put(REASON, text(reason));
        }
        if let Ok(problems) = serde_json::to_string(&self.problems)
            && !self.problems.is_empty()
        {
            put(PROBLEMS, AttributeValue::S(problems));
        }
        if let Some(event) = self.event {
            put(TYPE, text(&event.event_type));
            put(CONTENT_HASH, bytes(&event.content_hash));
            if let Some(time) = event.occurred_at {
                put(OCCURRED_AT, AttributeValue::S(time.to_string()));
            }
        }
        // The index of sessions holds accepted events only, and only accepted events raise an alert. Each attribute of
        // the published event is there, even if it is empty: AWS does not document what a pipe makes of a missing one.
        if let (Some(event), Outcome::Accepted) = (self.event, self.outcome) {
            let session = event.session_id.as_deref().unwrap_or_default();
            if !session.is_empty() {
                put(SESSION_ID, text(session));
            }
            put(SESSION, text(session));
            put(ALERT, text(event.alert.map_or("", Alert::as_str)));
            if event.occurred_at.is_none() {
                put(OCCURRED_AT, text(""));
            }
        }
        item
    }
}

/// A record as the reads return it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The key.
    pub event_id: String,
    /// The outcome.
    pub outcome: Outcome,
    /// Why the delivery was rejected.
    pub reason: Option<String>,
    /// The event's type.
    pub event_type: Option<String>,
    /// The session that the event belongs to.
    pub session_id: Option<String>,
    /// The signed time, RFC 3339.
    pub occurred_at: Option<String>,
    /// The time of receipt, RFC 3339.
    pub received_at: String,
    /// The time from which DynamoDB may delete the record.
    pub expires_at: Timestamp,
    /// The problems of the event, or the reason for the rejection.
    pub problems: Vec<Problem>,
    /// Why a person should see the record.
    pub alert: Option<String>,
    /// The time at which an operator erased the payload, RFC 3339.
    pub erased_at: Option<String>,
    /// The hash of type and data. `None` for a rejected record, and if the record was read from an index.
    pub content_hash: Option<[u8; 32]>,
    /// The body, verbatim. `None` if the record was erased, or was read from an index, which has no bodies.
    pub body: Option<Vec<u8>>,
}

impl TryFrom<Item> for Record {
    type Error = StoreError;

    fn try_from(mut item: Item) -> Result<Self, StoreError> {
        let mut optional = |attribute| match item.remove(attribute) {
            // An accepted record has empty attributes for the published event.
            Some(AttributeValue::S(text)) if !text.is_empty() => Some(text),
            _ => None,
        };
        let required = |value: Option<_>, attribute| value.ok_or(StoreError::Foreign { attribute });
        let erased_at = optional(ERASED_AT);
        let problems = optional(PROBLEMS)
            .map(|json| serde_json::from_str(&json))
            .transpose();
        Ok(Self {
            event_id: required(optional(EVENT_ID), EVENT_ID)?,
            outcome: optional(OUTCOME)
                .and_then(|name| Outcome::from_name(&name))
                .ok_or(StoreError::Foreign { attribute: OUTCOME })?,
            reason: optional(REASON),
            event_type: optional(TYPE),
            session_id: optional(SESSION_ID),
            occurred_at: optional(OCCURRED_AT),
            received_at: required(optional(RECEIVED_AT), RECEIVED_AT)?,
            alert: optional(ALERT),
            problems: problems
                .map_err(|_| StoreError::Foreign { attribute: PROBLEMS })?
                .unwrap_or_default(),
            expires_at: match item.remove(EXPIRES_AT) {
                Some(AttributeValue::N(seconds)) => seconds.parse::<i64>().ok(),
                _ => None,
            }
            .map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1000)))
            .ok_or(StoreError::Foreign {
                attribute: EXPIRES_AT,
            })?,
            content_hash: match item.remove(CONTENT_HASH) {
                Some(AttributeValue::B(bytes)) => bytes.into_inner().try_into().ok(),
                _ => None,
            },
            body: match item.remove(BODY) {
                // An erased record has an empty body for the published event.
                _ if erased_at.is_some() => None,
                Some(AttributeValue::S(text)) => Some(text.into_bytes()),
                Some(AttributeValue::B(bytes)) => Some(bytes.into_inner()),
                _ => None,
            },
            erased_at,
        })
    }
}

/// Reads an attribute that every record has as a string.
pub(super) fn text<'a>(item: &'a Item, attribute: &'static str) -> Result<&'a str, StoreError> {
    let value = item.get(attribute).and_then(|value| value.as_s().ok());
    value.map(String::as_str).ok_or(StoreError::Foreign { attribute })
}
