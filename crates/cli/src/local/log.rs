//! The log of `serve` on standard error: JSON lines as on Lambda, or lines for people.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use serde_json::{Map, Value};
use sonotheia_webhook::event::Event;
use sonotheia_webhook::telemetry::{Delivered, Telemetry};

use super::deliveries::Answered;
use crate::show::clean;

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One short line per delivery
    Human,
    /// The JSON lines that the receiver writes on Lambda
    Json,
}

impl Format {
    /// Lines for people on a terminal, JSON elsewhere.
    pub fn of_terminal() -> Self {
        if io::stderr().is_terminal() {
            Self::Human
        } else {
            Self::Json
        }
    }

    /// The receiver's log in this form. In the human form it has no line for a request: [`delivery`](Self::delivery)
    /// writes the line of a delivery, and no person wants a line for each read.
    pub fn telemetry(self) -> Telemetry {
        match self {
            Self::Human => Telemetry::new(ForPeople(io::stderr())),
            Self::Json => Telemetry::new(io::stderr()),
        }
    }

    /// Writes the line of a delivery in the human form.
    pub fn delivery(self, delivery: &Answered) {
        if self == Self::Human {
            let line = line(delivery, has_colours());
            // If standard error is closed, nobody reads the log.
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
}

/// Returns true if standard error is a terminal, and its user has not refused colours (no-color.org).
fn has_colours() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stderr().is_terminal() && !is_set("NO_COLOR") && !is_dumb
}

/// The most characters of an id or a type in a line.
const MAX_CHARS: usize = 48;

/// Time, outcome, type, id, session, status, latency, alert.
fn line(delivery: &Answered, has_colours: bool) -> String {
    let log = &delivery.log;
    let shown = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), short);
    let time = delivery.received_at.to_string();
    let outcome = format!("{:<9}", log.delivered.outcome());
    let outcome = match colour(log.delivered).filter(|_| has_colours) {
        Some(colour) => format!("\u{1b}[{colour}m{outcome}\u{1b}[0m"),
        None => outcome,
    };
    let alert = log.alert.map(|alert| format!("  ALERT {}", alert.as_str()));
    format!(
        "{}  {outcome}  {:<24}  {:<24}  {:<20}  {}  {:.1} ms{}\n",
        time.split_once('T').map_or(&*time, |(_, clock)| clock),
        shown(log.event_type.as_deref()),
        shown(log.event_id.as_deref()),
        shown(session(delivery).as_deref()),
        delivery.status.as_u16(),
        delivery.took.as_secs_f64() * 1000.0,
        alert.unwrap_or_default(),
    )
}

/// The session of a signed event.
fn session(delivery: &Answered) -> Option<String> {
    // A type is only noted if the body is signed and is an event.
    delivery.log.event_type.as_ref()?;
    let event = Event::parse(&delivery.body, 1.0).ok()?;
    event.session_id.map(|session| session.into_owned())
}

/// The code of a terminal's colour.
fn colour(delivered: Delivered) -> Option<&'static str> {
    match delivered {
        Delivered::Accepted => Some("32"),
        Delivered::Duplicate => Some("36"),
        Delivered::Rejected | Delivered::Conflict | Delivered::InvalidSignature | Delivered::TooLarge => {
            Some("33")
        }
        Delivered::Unavailable | Delivered::Internal => Some("31"),
        Delivered::Unreadable => None,
    }
}

/// Text from outside, cut, and with what a terminal would act upon escaped.
fn short(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", clean(&text[..end])),
        None => clean(text),
    }
}

/// Turns the JSON lines of warnings and errors into lines for people, and drops the lines of requests. [`Telemetry`]
/// writes one whole line at a time.
struct ForPeople<W>(W);

impl<W: Write> Write for ForPeople<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match serde_json::from_slice(line) {
            Ok(members) => {
                if let Some(text) = readable(members) {
                    self.0.write_all(text.as_bytes())?;
                }
            }
            Err(_) => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// `14:03:22.123Z  WARN  message  name=value`. `None` for the line of a request.
fn readable(mut members: Map<String, Value>) -> Option<String> {
    if members.contains_key("method") && members.contains_key("outcome") {
        return None;
    }
    let mut take = |name: &str| match members.remove(name) {
        Some(Value::String(text)) => clean(&text),
        Some(other) => clean(&other.to_string()),
        None => String::new(),
    };
    let (time, level, message) = (take("timestamp"), take("level"), take("message"));
    drop(take("target"));
    let time = time.split_once('T').map_or(&*time, |(_, clock)| clock);
    let fields: String = members
        .iter()
        .map(|(name, value)| match value {
            Value::String(text) => format!("  {}={}", clean(name), clean(text)),
            other => format!("  {}={}", clean(name), clean(&other.to_string())),
        })
        .collect();
    Some(format!("{time}  {level}  {message}{fields}\n"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::StatusCode;
    use sonotheia_webhook::telemetry::DeliveryLog;
    use sonotheia_webhook::timestamp::Timestamp;

    use super::*;

    fn answered(id: &str) -> Answered {
        Answered {
            received_at: Timestamp::from_millis(1_764_080_000_123),
            took: Duration::from_micros(3210),
            status: StatusCode::OK,
            body: r#"{"id":"e","type":"t","data":{"session_id":"s\u001b[2J"}}"#.into(),
            log: DeliveryLog {
                delivered: Delivered::Accepted,
                event_id: Some(id.to_owned()),
                event_type: Some("sar.filed".to_owned()),
                ..DeliveryLog::default()
            },
        }
    }

    #[test]
    fn a_delivery_is_one_line_that_no_text_from_outside_can_break() {
        let plain = line(&answered("evt\n\u{1b}[31m\u{202e}"), false);
        let words: Vec<_> = plain.split_whitespace().collect();
        assert_eq!(
            words,
            [
                "14:13:20.123Z",
                "accepted",
                "sar.filed",
                "evt\\u{a}\\u{1b}[31m\\u{202e}",
                "s\\u{1b}[2J",
                "200",
                "3.2",
                "ms"
            ]
        );
        assert_eq!(plain.matches('\n').count(), 1);
        assert!(!plain.contains('\u{1b}'));
        let coloured = line(&answered("evt"), true);
        assert!(coloured.contains("\u{1b}[32maccepted \u{1b}[0m"), "{coloured}");
        let long = line(&answered(&"x".repeat(256)), false);
        assert!(long.contains(&format!("{}…  ", "x".repeat(MAX_CHARS))), "{long}");
    }

    #[test]
    fn warnings_are_lines_for_people_and_requests_are_no_lines() {
        let mut out = Vec::new();
        let mut log = ForPeople(&mut out);
        for line in [
            r#"{"timestamp":"2026-11-25T14:03:22.123Z","level":"INFO","message":"/health","outcome":"ok","method":"GET"}"#,
            r#"{"timestamp":"2026-11-25T14:03:22.123Z","level":"WARN","target":"t","message":"no\nluck","cause":"a\u001b[2J","n":3}"#,
            "not JSON",
        ] {
            log.write_all(format!("{line}\n").as_bytes()).expect("a vector");
        }
        let text = String::from_utf8(out).expect("UTF-8");
        assert_eq!(
            text,
            "14:03:22.123Z  WARN  no\\u{a}luck  cause=a\\u{1b}[2J  n=3\nnot JSON\n"
        );
    }
}
