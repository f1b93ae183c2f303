//! A record as the reads show it (contract, section 3).

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::error::{HttpError, json};
use crate::event::{Claims, Payload, Problem};
use crate::store::{Outcome, Record};

/// The largest answer, in bytes of Lambda's response: a load balancer allows 1 MB ("Using AWS Lambda with an Application
/// Load Balancer"). The rest of that MB is room for the answer's other members and headers.
pub(super) const MAX_ANSWER: usize = 980_000;

/// The bytes that a JSON text takes in Lambda's response, which holds the answer as a string.
pub(super) fn cost(json: &str) -> usize {
    let is_escaped = |byte: &u8| matches!(byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t');
    json.len() + json.bytes().filter(|byte| is_escaped(byte)).count()
}

/// A record as the reads show it. A member without a value is left out.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    event_id: &'a str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    event_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    occurred_at: Option<&'a str>,
    received_at: &'a str,
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    erased_at: Option<&'a str>,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    problems: &'a [Problem],
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claimed_event_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claimed_type: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl<'a> Shown<'a> {
    /// A record without its payload, for the lists over all records.
    pub fn summary(record: &'a Record) -> Self {
        Self {
            event_id: &record.event_id,
            event_type: record.event_type.as_deref(),
            session_id: record.session_id.as_deref(),
            occurred_at: record.occurred_at.as_deref(),
            received_at: &record.received_at,
            expires_at: record.expires_at.to_string(),
            erased_at: record.erased_at.as_deref(),
            outcome: record.outcome.as_str(),
            reason: record.reason.as_deref(),
            problems: &record.problems,
            alert: record.alert.as_deref(),
            data: None,
            metadata: None,
            claimed_event_id: None,
            claimed_type: None,
            body: None,
            body_base64: None,
        }
    }

    /// A record with its payload. The payload of a rejected record is its body as a string, since the body may be JSON
    /// that ordinary parsers refuse.
    pub fn whole(record: &'a Record) -> Self {
        let mut shown = Self::summary(record);
        let Some(body) = record.body.as_deref() else {
            return shown;
        };
        match record.outcome {
            Outcome::Accepted => {
                let Payload { data, metadata } = Payload::parse(body);
                (shown.data, shown.metadata) = (data, metadata);
            }
            Outcome::Rejected => {
                let Claims { event_id, event_type } = Claims::parse(body);
                (shown.claimed_event_id, shown.claimed_type) = (event_id, event_type);
                shown.show_body(body);
            }
        }
        shown
    }

    fn show_body(&mut self, body: &'a [u8]) {
        match std::str::from_utf8(body) {
            Ok(text) => self.body = Some(text),
            Err(_) => self.body_base64 = Some(STANDARD.encode(body)),
        }
    }
}

/// A record as JSON that fits into one answer, with its signed text if `include_body`.
///
/// A string of control characters can take seven bytes for each byte of the body, so a few records do not fit into an
/// answer that way. The answer then has the body in base64, and if it still does not fit, no other part of the payload.
///
/// # Errors
/// As [`json`].
pub(super) fn fitted(record: &Record, include_body: bool) -> Result<String, HttpError> {
    let mut shown = Shown::whole(record);
    let body = record.body.as_deref().unwrap_or_default();
    if include_body && record.body.is_some() {
        shown.show_body(body);
    }
    let mut answer = json(&shown)?;
    if cost(&answer) > MAX_ANSWER {
        (shown.body, shown.body_base64) = (None, Some(STANDARD.encode(body)));
        answer = json(&shown)?;
    }
    if cost(&answer) > MAX_ANSWER {
        (shown.data, shown.metadata) = (None, None);
        (shown.claimed_event_id, shown.claimed_type) = (None, None);
        answer = json(&shown)?;
    }
    Ok(answer)
}
