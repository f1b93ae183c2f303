//! The line of an invocation, in CloudWatch's embedded metric format ("Specification: Embedded metric format").
//!
//! The metrics count answers. If a write landed and its answer was lost, the redelivery is a duplicate, and nothing counts
//! the event's `Alert`. An application that must not miss an alert reads the table's stream, which has every record.

use std::time::Duration;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::{Delivered, DeliveryLog, Invocation};
use crate::timestamp::Timestamp;

/// The namespace of the metrics.
pub const NAMESPACE: &str = "SonotheiaWebhook";

/// The longest id in the log, in characters.
const MAX_LOGGED_CHARS: usize = 256;

/// An invocation that has ended.
pub struct Line<'a> {
    /// The value of the dimension `Service`: `SERVICE_NAME`.
    pub service: &'a str,
    /// The time at which the invocation began.
    pub received_at: Timestamp,
    /// The invoker.
    pub invocation: &'a Invocation,
    /// The request's method.
    pub method: &'a str,
    /// The route as the contract writes it. The line does not have the path, which may hold ids.
    pub route: &'a str,
    /// The answer's status.
    pub status: u16,
    /// The time that the invocation took.
    pub duration: Duration,
    /// The facts of the delivery. `None` for other routes.
    pub delivery: Option<&'a DeliveryLog>,
    /// True for the first invocation of this process.
    pub cold_start: bool,
}

/// A metric: its definition, as the format writes it, and its value.
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

/// Tells CloudWatch which members of the line are metrics.
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
    fn outcome(&self) -> &'static str {
        match self.delivery {
            Some(delivery) => delivery.delivered.outcome(),
            None if self.status < 400 => "ok",
            None if self.status < 500 => "refused",
            None if self.status == 503 => Delivered::Unavailable.outcome(),
            None => Delivered::Internal.outcome(),
        }
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = Vec::with_capacity(8);
        let mut put = |name, unit, value| metrics.push(Metric { name, unit, value });
        let mut count = |name, n: usize| {
            if n > 0 {
                put(name, Unit::Count, n as f64);
            }
        };
        count("ColdStart", self.cold_start.into());
        let Some(delivery) = self.delivery else {
            count("Unavailable", (self.status == 503).into());
            return metrics;
        };
        if let Some(name) = delivery.delivered.metric() {
            count(name, 1);
        }
        // A redelivery was counted the first time, and a rejected body may say anything.
        let accepted = delivery.delivered == Delivered::Accepted;
        if accepted {
            count("Alert", delivery.alert.is_some().into());
            count("UnknownEventType", delivery.unknown_type.into());
            count("FieldProblem", delivery.problems);
        }
        count("PreviousSecretUsed", delivery.previous_secret.into());
        count("SecretRefresh", delivery.secret_refreshes as usize);
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        put("HandlerLatency", Unit::Milliseconds, ms(self.duration));
        if let Some(latency) = delivery.store_latency {
            put("StoreLatency", Unit::Milliseconds, ms(latency));
        }
        if let Some(lag) = delivery.lag_ms.filter(|_| accepted) {
            put("DeliveryLag", Unit::Milliseconds, lag as f64);
        }
        metrics
    }

    fn write_members<M: SerializeMap>(&self, line: &mut M) -> Result<(), M::Error> {
        let delivery = self.delivery;
        let claims = || delivery.into_iter().flat_map(|delivery| &delivery.claims);
        let claimed = |key| {
            claims()
                .find(|(claim, _)| *claim == key)
                .map(|(_, value)| cut(value))
        };
        let event_id = delivery.and_then(|delivery| delivery.event_id.as_deref());
        let event_type = delivery.and_then(|delivery| delivery.event_type.as_deref());

        line.serialize_entry("timestamp", &self.received_at.to_string())?;
        line.serialize_entry("level", "INFO")?;
        line.serialize_entry("message", self.route)?;
        line.serialize_entry("event_id", &event_id.map(cut))?;
        line.serialize_entry("event_type", &event_type.map(cut))?;
        line.serialize_entry("outcome", self.outcome())?;
        line.serialize_entry("duration_ms", &(self.duration.as_micros() as f64 / 1000.0))?;
        line.serialize_entry("request_id", &cut(&self.invocation.request_id))?;
        let xray_trace_id = self.invocation.xray_trace_id.as_deref();
        line.serialize_entry("xray_trace_id", &xray_trace_id.map(cut))?;
        line.serialize_entry("delivery_id", &claimed("delivery_id"))?;
        line.serialize_entry("method", cut(self.method))?;
        line.serialize_entry("status", &self.status)?;
        for (key, value) in claims().filter(|(key, _)| *key != "delivery_id") {
            line.serialize_entry(key, cut(value))?;
        }
        Ok(())
    }

    fn write_metrics<M: SerializeMap>(&self, line: &mut M, metrics: &[Metric]) -> Result<(), M::Error> {
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
            directive(&["Service"], metrics),
            directive(&["Service", "alert"], &by_alert),
        ];
        let alert = self.delivery.and_then(|delivery| delivery.alert);
        let extraction = Extraction {
            timestamp: self.received_at.as_millis(),
            cloud_watch_metrics: &directives[..1 + usize::from(alert.is_some())],
        };
        line.serialize_entry("_aws", &extraction)?;
        line.serialize_entry("Service", self.service)?;
        if let Some(alert) = alert {
            line.serialize_entry("alert", alert.as_str())?;
        }
        for Metric { name, unit, value } in metrics {
            match unit {
                Unit::Count => line.serialize_entry(name, &(*value as u64))?,
                Unit::Milliseconds => line.serialize_entry(name, &((value * 1000.0).round() / 1000.0))?,
            }
        }
        Ok(())
    }
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        self.write_members(&mut line)?;
        let metrics = self.metrics();
        if !metrics.is_empty() {
            self.write_metrics(&mut line, &metrics)?;
        }
        line.end()
    }
}

/// The beginning of a text that may be long.
fn cut(text: &str) -> &str {
    text.char_indices()
        .nth(MAX_LOGGED_CHARS)
        .map_or(text, |(end, _)| &text[..end])
}
