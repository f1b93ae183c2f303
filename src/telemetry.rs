//! Logs and metrics (contract, section 7): one JSON line an invocation, which also carries the metrics.
//!
//! No secret, signature or body can get into a line: [`DeliveryLog`] has no field for them.

mod line;
mod subscriber;

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::event::Alert;
use crate::ingest::Judged;
use crate::secrets::{Stage, Verification};
use crate::timestamp::Timestamp;
pub use line::{Line, NAMESPACE};
use subscriber::JsonLines;

/// The invoker of a request, as far as the front knows it. An extension of every request.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// The answer's `X-Request-Id`.
    pub request_id: String,
    /// X-Ray's trace header.
    pub xray_trace_id: Option<String>,
}

/// The end of a delivery, as log and metrics name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivered {
    /// The event is new and stored.
    Accepted,
    /// The event was stored before.
    Duplicate,
    /// The body is signed and stored, and it is not an event.
    Rejected,
    /// The body is signed and stored, and it is another event with a known id.
    Conflict,
    /// The signature is missing or wrong.
    InvalidSignature,
    /// The body is over the limit.
    TooLarge,
    /// The body could not be read.
    Unreadable,
    /// The sender should retry later.
    Unavailable,
    /// The receiver has a defect.
    #[default]
    Internal,
}

impl Delivered {
    /// The log's `outcome`.
    pub const fn outcome(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Rejected => "rejected",
            Self::Conflict => "conflict",
            Self::InvalidSignature => "invalid_signature",
            Self::TooLarge => "too_large",
            Self::Unreadable => "unreadable",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    const fn metric(self) -> Option<&'static str> {
        match self {
            Self::Accepted => Some("Accepted"),
            Self::Duplicate => Some("Duplicate"),
            Self::Rejected => Some("Rejected"),
            Self::Conflict => Some("Conflict"),
            Self::InvalidSignature => Some("InvalidSignature"),
            Self::TooLarge => Some("TooLarge"),
            Self::Unavailable => Some("Unavailable"),
            // API Gateway counts its 4xx and 5xx answers.
            Self::Unreadable | Self::Internal => None,
        }
    }
}

/// The facts of one delivery. The receiver notes each fact as soon as it is known.
#[derive(Clone, Debug, Default)]
pub struct DeliveryLog {
    /// The end of the delivery.
    pub delivered: Delivered,
    /// The signed id, or the record's key.
    pub event_id: Option<String>,
    /// The signed type.
    pub event_type: Option<String>,
    /// The alert that the delivery raised. `None` for a duplicate, whose first delivery raised it.
    pub alert: Option<Alert>,
    /// The number of problems of the event.
    pub problems: usize,
    /// True if the contract does not list the type.
    pub unknown_type: bool,
    /// True if the previous secret made the signature.
    pub previous_secret: bool,
    /// The number of calls to Secrets Manager.
    pub secret_refreshes: u32,
    /// The time that DynamoDB took.
    pub store_latency: Option<Duration>,
    /// The time of receipt less the signed time, in milliseconds. Negative if the sender's clock is ahead.
    pub lag_ms: Option<i64>,
    /// The claims of the headers that are not signed, under the log's keys.
    pub claims: Vec<(&'static str, String)>,
}

impl DeliveryLog {
    /// Notes the result of the signature check.
    pub fn verified(&mut self, verification: &Verification) {
        self.secret_refreshes = verification.refreshes;
        self.previous_secret = matches!(verification.version, Ok(Some(Stage::Previous)));
    }

    /// Notes the event of a signed body that came at `now`.
    pub fn judged(&mut self, judged: &Judged<'_>, now: Timestamp) {
        self.event_id = Some(judged.key().into_owned());
        if let Some(event) = judged.event() {
            self.event_type = Some(event.event_type.clone().into_owned());
            self.unknown_type = !event.known_type;
            self.problems = event.problems.len();
            self.lag_ms = event.occurred_at.map(|time| now.as_millis() - time.as_millis());
        }
    }
}

/// Writes log lines. All clones share one lock, so that lines never mix.
#[derive(Clone)]
pub struct Telemetry {
    out: Arc<Mutex<dyn Write + Send>>,
    warm: Arc<AtomicBool>,
}

impl Telemetry {
    /// Writes lines to `out`.
    pub fn new(out: impl Write + Send + 'static) -> Self {
        Self {
            out: Arc::new(Mutex::new(out)),
            warm: Arc::default(),
        }
    }

    /// Returns true for the first call.
    pub fn is_cold_start(&self) -> bool {
        !self.warm.swap(true, Ordering::Relaxed)
    }

    /// Writes the line of an invocation.
    pub fn write(&self, line: &Line<'_>) {
        self.write_json(line);
    }

    fn write_json(&self, line: &impl Serialize) {
        let mut json = Vec::with_capacity(2048);
        if serde_json::to_writer(&mut json, line).is_err() {
            return;
        }
        json.push(b'\n');
        // If standard output is closed, there is no other place to say so.
        let _ = self
            .out
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(&json);
    }

    /// Makes this the log of everything that the process says through `tracing` at INFO and above. The log gets only
    /// errors from the crates in `errors_only`.
    pub fn install(&self, errors_only: &'static [&'static str]) {
        // A subscriber that is installed already stays: its owner wants it.
        let _ = tracing::subscriber::set_global_default(JsonLines::new(self.clone(), errors_only));
    }

    /// The `tracing` subscriber that [`install`](Self::install) installs.
    pub fn subscriber(&self, errors_only: &'static [&'static str]) -> impl tracing::Subscriber + Send + Sync {
        JsonLines::new(self.clone(), errors_only)
    }
}

/// Logs each panic as one line at ERROR with its place, and without its message, which may quote data.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "a panic");
    }));
}
