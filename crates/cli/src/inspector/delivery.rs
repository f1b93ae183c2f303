//! A delivery as the inspector keeps it, and the row of the page that shows it.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use sonotheia_webhook::event::{Alert, Event, Problem};
use sonotheia_webhook::telemetry::{Delivered, DeliveryLog};

use super::pretty::shortened;

/// The most characters of a text in a row.
const MAX_CHARS: usize = 512;

/// The most problems in a row.
const MAX_PROBLEMS: usize = 50;

/// The most headers of a delivery that are kept.
const MAX_HEADERS: usize = 64;

/// The most bytes of a header's value that are kept.
const MAX_HEADER_BYTES: usize = 2_048;

/// A row of the page: a delivery, or a record of the table.
#[derive(Clone, Default, Serialize)]
pub struct Row {
    /// The delivery's number. `None` for a record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    pub received_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    pub outcome: String,
    /// The signed id, or the record's key. The page believes nothing of a body that is not signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// The id that a rejected record claims.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed_event_id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erased_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// The first problems of the event.
    pub problems: Vec<Problem>,
    /// The number of all problems.
    pub problem_count: usize,
    /// Why the receiver did not accept the delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The size of the body, as far as the receiver read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
}

impl Row {
    /// Cuts the texts that a sender or a record made too long.
    pub fn bounded(mut self) -> Self {
        let texts = [
            &mut self.session_id,
            &mut self.event_type,
            &mut self.alert,
            &mut self.reason,
            &mut self.claimed_event_id,
        ];
        for text in texts.into_iter().flatten() {
            *text = shortened(text, MAX_CHARS);
        }
        self.problem_count = self.problem_count.max(self.problems.len());
        self.problems.truncate(MAX_PROBLEMS);
        for problem in &mut self.problems {
            problem.path = shortened(&problem.path, MAX_CHARS);
            problem.message = shortened(&problem.message, MAX_CHARS);
        }
        self
    }
}

/// A delivery with its bytes.
#[derive(Clone, Default)]
pub struct Delivery {
    pub row: Row,
    pub headers: Headers,
    pub body: Bytes,
    /// False if the receiver stopped reading, so that the body has more bytes.
    pub is_complete: bool,
    pub answer: Bytes,
    /// The signature, if it is this body's.
    pub signature: Option<String>,
}

impl Delivery {
    /// The delivery's number, or 0 before it has one.
    pub fn number(&self) -> u64 {
        self.row.n.unwrap_or_default()
    }

    /// The bytes that the delivery takes in memory, about.
    pub fn size(&self) -> usize {
        let problem = |problem: &Problem| problem.path.len() + problem.message.len() + 48;
        let problems: usize = self.row.problems.iter().map(problem).sum();
        let texts = [&self.row.session_id, &self.row.reason, &self.row.event_id];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        self.body.len() + self.answer.len() + self.headers.size() + problems + texts + 1_000
    }

    /// Fills a row with the facts of a signed body.
    pub fn signed_facts(row: &mut Row, log: &DeliveryLog, body: &[u8]) {
        row.event_id.clone_from(&log.event_id);
        row.event_type.clone_from(&log.event_type);
        row.alert = log.alert.map(Alert::as_str).map(str::to_owned);
        row.problem_count = log.problems;
        // The receiver notes a type only if the body is signed and is an event.
        let event = log.event_type.as_ref().and_then(|_| Event::parse(body, 1.0).ok());
        if let Some(event) = event {
            row.session_id = event.session_id.map(|id| id.into_owned());
            row.occurred_at = event.occurred_at.map(|time| time.to_string());
            row.problems = event.problems;
        }
    }
}

/// The word for the end of a delivery: the log's word, with blanks.
pub fn outcome(delivered: Delivered) -> String {
    delivered.outcome().replace('_', " ")
}

/// The headers of a request, in order, bounded.
#[derive(Clone, Default)]
pub struct Headers {
    pub kept: Vec<(HeaderName, HeaderValue)>,
    /// The number of headers that were left out or cut.
    pub cut: usize,
}

impl Headers {
    /// Copies the headers of a request.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut copied = Self::default();
        for (name, value) in headers {
            if copied.kept.len() == MAX_HEADERS {
                copied.cut += 1;
                continue;
            }
            let long = value.len() > MAX_HEADER_BYTES;
            copied.cut += usize::from(long);
            let bytes = &value.as_bytes()[..value.len().min(MAX_HEADER_BYTES)];
            // A copy, since a slice would keep the whole head of the request in memory.
            if let Ok(value) = HeaderValue::from_bytes(bytes) {
                copied.kept.push((name.clone(), value));
            }
        }
        copied
    }

    /// The headers of a delivery that the inspector makes.
    pub fn signed(signature: &str) -> Self {
        let mut kept = Vec::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("user-agent", "sonotheia-inspector"),
            ("x-sonotheia-signature", signature),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                kept.push((HeaderName::from_static(name), value));
            }
        }
        Self { kept, cut: 0 }
    }

    fn size(&self) -> usize {
        let sizes = self
            .kept
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 64);
        sizes.sum()
    }
}
