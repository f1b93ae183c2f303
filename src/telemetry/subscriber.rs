//! The `tracing` subscriber: an event becomes one JSON line, a span becomes nothing.
//!
//! Lambda's runtime and the SDK open several spans an invocation. To keep them would cost more than the rest of the log.

use std::fmt;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::Telemetry;
use crate::timestamp::Timestamp;

/// The beginning of the targets of this project. The events of other crates may quote requests, answers and variables
/// (contract, invariant E).
const OURS: &str = "sonotheia";

/// Writes events at INFO and above through a [`Telemetry`].
pub struct JsonLines {
    telemetry: Telemetry,
    errors_only: &'static [&'static str],
}

impl JsonLines {
    /// The log gets only errors from the crates in `errors_only`.
    pub fn new(telemetry: Telemetry, errors_only: &'static [&'static str]) -> Self {
        Self {
            telemetry,
            errors_only,
        }
    }
}

impl Subscriber for JsonLines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_limited = self
            .errors_only
            .iter()
            .any(|name| metadata.target().starts_with(name));
        let least = if is_limited { Level::ERROR } else { Level::INFO };
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
        if metadata.target().starts_with(OURS) {
            event.record(&mut line);
        } else {
            line.put(
                "message",
                "a library wrote a log event; its text may quote a request, so this line has its place only",
            );
            let place = metadata.file().zip(metadata.line());
            line.put(
                "place",
                place.map(|(file, line)| format!("{}:{line}", of_crate(file))),
            );
        }
        self.telemetry.write_json(&line.0);
    }

    // No span is enabled, so these functions do nothing.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// A source file without the folders of the machine that compiled it.
fn of_crate(file: &str) -> &str {
    let source = file.rfind("/src/").unwrap_or_default();
    let name = file[..source].rfind('/').map_or(0, |slash| slash + 1);
    &file[name..]
}

/// The fields of an event as JSON members.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_an_event_has_no_folder_of_the_machine_that_compiled_the_crate() {
        for (file, place) in [
            (
                "/home/u/registry/src/index-1/hyper-1.0.0/src/client/conn.rs",
                "hyper-1.0.0/src/client/conn.rs",
            ),
            ("hyper/src/lib.rs", "hyper/src/lib.rs"),
            ("src/lib.rs", "src/lib.rs"),
            ("tests/it/main.rs", "tests/it/main.rs"),
        ] {
            assert_eq!(of_crate(file), place);
        }
    }
}
