//! Logs and metrics (contract, section 7): one JSON line an invocation, which is the metrics too.
//!
//! The line is written in CloudWatch's embedded metric format ("Specification: Embedded metric
//! format"), so that what is counted and what can be searched is the same record, and costs one line.
//! No secret, signature or body can get into it: [`Report`] has no field for them.
//!
//! The metrics count answers. An event whose write landed and whose answer was lost is stored, and its
//! redelivery is a duplicate: its `Alert` is never counted. What must not miss an alert reads the
//! table's stream, where every record is.

use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::event::Alert;
use crate::timestamp::Timestamp;

/// The metrics' namespace.
pub const NAMESPACE: &str = "SonotheiaWebhook";

/// The value of the dimension `Service`.
pub const SERVICE: &str = "sonotheia-webhook";

/// How much of an id goes into the log, in characters.
const MAX_LOGGED_CHARS: usize = 256;

/// Who invoked, as far as the front knows it. An extension of every request.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// The answer's `X-Request-Id`.
    pub request_id: String,
    /// X-Ray's trace header.
    pub xray_trace_id: Option<String>,
}

/// What a delivery is called in log and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivered {
    /// Stored, for the first time.
    Accepted,
    /// Stored before.
    Duplicate,
    /// Signed, stored, and not an event.
    Rejected,
    /// Signed, stored, and another event with a known id.
    Conflict,
    /// Not signed by us or the sender.
    InvalidSignature,
    /// Too large to read.
    TooLarge,
    /// Try again later.
    Unavailable,
    /// A defect.
    #[default]
    Internal,
}

impl Delivered {
    const fn outcome(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Rejected => "rejected",
            Self::Conflict => "conflict",
            Self::InvalidSignature => "invalid_signature",
            Self::TooLarge => "too_large",
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
            // API Gateway counts the 5xx that are nobody's fault but ours.
            Self::Internal => None,
        }
    }
}

/// What is to be told of one delivery, filled in on its way.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What became of it.
    pub delivered: Delivered,
    /// The signed id, or the record's key.
    pub event_id: Option<String>,
    /// The signed type.
    pub event_type: Option<String>,
    /// The alert it raised; none for a duplicate, which was raised before.
    pub alert: Option<Alert>,
    /// How many problems its fields have.
    pub problems: usize,
    /// Whether its type is unknown.
    pub unknown_type: bool,
    /// Whether the previous secret signed it.
    pub previous_secret: bool,
    /// Calls to Secrets Manager made for it.
    pub secret_refreshes: u32,
    /// How long DynamoDB took.
    pub store_latency: Option<Duration>,
    /// Received less occurred, in milliseconds; negative where the sender's clock is ahead.
    pub lag_ms: Option<i64>,
    /// What the unsigned headers claim, by their log keys.
    pub claims: Vec<(&'static str, String)>,
}

/// One finished invocation.
pub struct Line<'a> {
    /// When it began.
    pub received_at: Timestamp,
    /// Who invoked.
    pub invocation: &'a Invocation,
    /// The request's method.
    pub method: &'a str,
    /// The route, as the contract writes it: a path may hold ids.
    pub route: &'a str,
    /// The answer's status.
    pub status: u16,
    /// How long it took.
    pub duration: Duration,
    /// The delivery's report; none for other routes.
    pub report: Option<&'a Report>,
    /// Whether it is the first of this process.
    pub cold_start: bool,
}

/// A metric's definition, as the format writes it, and its value.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    name: &'static str,
    unit: Unit,
    #[serde(skip)]
    value: f64,
}

#[derive(Clone, Copy, Serialize)]
enum Unit {
    Count,
    Milliseconds,
}

/// What CloudWatch is to make of a line's members.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'static str,
    dimensions: [&'static [&'static str]; 1],
    metrics: &'a [Metric],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Extraction<'a> {
    timestamp: i64,
    cloud_watch_metrics: &'a [Directive<'a>],
}

impl Line<'_> {
    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = Vec::with_capacity(8);
        let mut put = |name, unit, value| metrics.push(Metric { name, unit, value });
        let mut count = |name, n: usize| {
            if n > 0 {
                put(name, Unit::Count, n as f64);
            }
        };
        count("ColdStart", self.cold_start.into());
        let Some(report) = self.report else {
            count("Unavailable", (self.status == 503).into());
            return metrics;
        };
        if let Some(name) = report.delivered.metric() {
            count(name, 1);
        }
        // Of what is stored now: a redelivery was counted the first time, and what is refused may say anything.
        let accepted = report.delivered == Delivered::Accepted;
        if accepted {
            count("Alert", report.alert.is_some().into());
            count("UnknownEventType", report.unknown_type.into());
            count("FieldProblem", report.problems);
        }
        count("PreviousSecretUsed", report.previous_secret.into());
        count("SecretRefresh", report.secret_refreshes as usize);
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        put("HandlerLatency", Unit::Milliseconds, ms(self.duration));
        if let Some(latency) = report.store_latency {
            put("StoreLatency", Unit::Milliseconds, ms(latency));
        }
        if let Some(lag) = report.lag_ms.filter(|_| accepted) {
            put("DeliveryLag", Unit::Milliseconds, lag as f64);
        }
        metrics
    }
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let report = self.report;
        let outcome = match report {
            Some(report) => report.delivered.outcome(),
            None if self.status < 400 => "ok",
            None => "refused",
        };
        let claimed = |key| {
            let (_, value) = report?.claims.iter().find(|(claim, _)| *claim == key)?;
            Some(value.as_str())
        };

        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("timestamp", &self.received_at.to_string())?;
        line.serialize_entry("level", "INFO")?;
        line.serialize_entry("message", self.route)?;
        line.serialize_entry("event_id", &report.and_then(|r| r.event_id.as_deref()).map(cut))?;
        line.serialize_entry(
            "event_type",
            &report.and_then(|r| r.event_type.as_deref()).map(cut),
        )?;
        line.serialize_entry("outcome", outcome)?;
        line.serialize_entry("duration_ms", &(self.duration.as_micros() as f64 / 1000.0))?;
        line.serialize_entry("request_id", &cut(&self.invocation.request_id))?;
        line.serialize_entry(
            "xray_trace_id",
            &self.invocation.xray_trace_id.as_deref().map(cut),
        )?;
        line.serialize_entry("delivery_id", &claimed("delivery_id").map(cut))?;
        line.serialize_entry("method", cut(self.method))?;
        line.serialize_entry("status", &self.status)?;
        for (key, value) in report.into_iter().flat_map(|r| &r.claims) {
            if *key != "delivery_id" {
                line.serialize_entry(key, cut(value))?;
            }
        }

        let metrics = self.metrics();
        if !metrics.is_empty() {
            let directive = |dimensions: &'static [_], metrics| Directive {
                namespace: NAMESPACE,
                dimensions: [dimensions],
                metrics,
            };
            let by_alert = [Metric {
                name: "Alert",
                unit: Unit::Count,
                value: 1.0,
            }];
            let directives = [
                directive(&["Service"], &metrics),
                directive(&["Service", "alert"], &by_alert),
            ];
            let alert = report.and_then(|r| r.alert);
            let extraction = Extraction {
                timestamp: self.received_at.as_millis(),
                cloud_watch_metrics: if alert.is_some() {
                    &directives
                } else {
                    &directives[..1]
                },
            };
            line.serialize_entry("_aws", &extraction)?;
            line.serialize_entry("Service", SERVICE)?;
            if let Some(alert) = alert {
                line.serialize_entry("alert", alert.as_str())?;
            }
            for Metric { name, unit, value } in &metrics {
                match unit {
                    Unit::Count => line.serialize_entry(name, &(*value as u64))?,
                    Unit::Milliseconds => line.serialize_entry(name, &((value * 1000.0).round() / 1000.0))?,
                }
            }
        }
        line.end()
    }
}

fn cut(text: &str) -> &str {
    text.char_indices()
        .nth(MAX_LOGGED_CHARS)
        .map_or(text, |(end, _)| &text[..end])
}

/// Where log lines go. One lock for all of them, so that none is torn.
#[derive(Clone)]
pub struct Telemetry {
    out: Arc<Mutex<dyn Write + Send>>,
    warm: Arc<AtomicBool>,
}

impl Telemetry {
    /// Lines to `out`.
    pub fn new(out: impl Write + Send + 'static) -> Self {
        Self {
            out: Arc::new(Mutex::new(out)),
            warm: Arc::default(),
        }
    }

    /// True for the first call.
    pub fn is_cold_start(&self) -> bool {
        !self.warm.swap(true, Ordering::Relaxed)
    }

    /// Writes an invocation's line.
    pub fn write(&self, line: &Line<'_>) {
        self.write_json(line);
    }

    fn write_json(&self, line: &impl Serialize) {
        let mut json = Vec::with_capacity(2048);
        if serde_json::to_writer(&mut json, line).is_err() {
            return;
        }
        json.push(b'\n');
        // Where standard output is gone there is nobody left to tell.
        let _ = self
            .out
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(&json);
    }

    /// Writes everything else that is logged at INFO and above the same way: as JSON, a line each.
    /// Of the crates in `noisy` only errors.
    pub fn subscriber(&self, noisy: &'static [&'static str]) -> impl Subscriber + Send + Sync {
        let telemetry = self.clone();
        Events { telemetry, noisy }
    }

    /// Makes that [`subscriber`](Self::subscriber) the process's.
    pub fn install(&self, noisy: &'static [&'static str]) {
        // One that is there already was put there by somebody who wants it.
        let _ = tracing::subscriber::set_global_default(self.subscriber(noisy));
    }
}

/// From now on a panic is one line at ERROR that says where it was, and not what: its message may quote
/// data, and Rust's own report is several lines of no format.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "a panic");
    }));
}

/// What is said through `tracing`. Spans are not kept: Lambda's runtime and the SDK open several an
/// invocation, which cost more than the rest of the log.
struct Events {
    telemetry: Telemetry,
    noisy: &'static [&'static str],
}

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_noisy = self.noisy.iter().any(|name| metadata.target().starts_with(name));
        let least = if is_noisy { Level::ERROR } else { Level::INFO };
        metadata.is_event() && *metadata.level() <= least
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut line = Fields(serde_json::Map::new());
        line.put("timestamp", Timestamp::now().to_string());
        line.put("level", metadata.level().as_str());
        line.put("target", metadata.target());
        event.record(&mut line);
        self.telemetry.write_json(&line.0);
    }

    // No span is enabled, so none comes here.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// An event's fields as members.
struct Fields(serde_json::Map<String, Value>);

impl Fields {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value);
    }
}
