//! `event`: one record.

use std::io::IsTerminal;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::prefix;
use super::reads::{Place, Reader};
use crate::args::{note, print, usage, write};
use crate::client::encode;
use crate::failure::Failure;
use crate::interrupt;
use crate::remote::RemoteError;
use crate::show::{CUT, Pretty, Row, clean, clip, safe_json};

/// The most characters of a body or of a member that a person sees. A body can have 350 KB.
const MAX_SHOWN: usize = 4096;

/// Show one record, with its payload
#[derive(Args)]
pub struct ShowEvent {
    #[command(flatten)]
    place: Place,
    /// The record's id, as `results` shows it. It may be a unique prefix of an id among the newest 2,000 records
    event_id: String,
    /// Print the record as one JSON document
    #[arg(long)]
    json: bool,
    /// Print only the body, byte for byte as the receiver received it. A terminal gets control characters as escapes
    #[arg(long, conflicts_with = "json")]
    body: bool,
}

/// The parts of a record that hold its payload.
#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    erased_at: Option<String>,
    claimed_event_id: Option<String>,
    claimed_type: Option<String>,
    body: Option<String>,
    body_base64: Option<String>,
}

impl ShowEvent {
    /// Prints the record. It is a failure if there is no such record.
    pub fn run(self) -> Result<(), Failure> {
        if self.event_id.is_empty() {
            usage("an event's id is not empty");
        }
        interrupt::run(interrupt::while_read(self.show()))
    }

    async fn show(self) -> Result<(), Failure> {
        let reader = self.place.open().await?;
        let body = self.read(&reader).await?.ok_or_else(|| RemoteError::NoEvent {
            event_id: clean(&self.event_id),
        })?;
        let text = String::from_utf8(body).map_err(|_| RemoteError::NotOurs)?;
        let row: Row = serde_json::from_str(&text).map_err(|_| RemoteError::NotOurs)?;
        if self.json {
            return print(&(safe_json(&text) + "\n"));
        }
        let payload: Payload<'_> = serde_json::from_str(&text).map_err(|_| RemoteError::NotOurs)?;
        if self.body {
            return write_body(&signed_body(&row, payload)?);
        }
        let page = page(&row, &payload);
        print(&page)?;
        if page.contains(CUT) {
            note("The payload is shortened: --json prints the whole record, and --body the body.");
        }
        Ok(())
    }

    async fn read(&self, reader: &Reader) -> Result<Option<Vec<u8>>, Failure> {
        let query = if self.body { "?include=body" } else { "" };
        let path = |id: &str| format!("/events/{}{query}", encode(id));
        if let Some(body) = reader.get(&path(&self.event_id)).await? {
            return Ok(Some(body));
        }
        match prefix::find(reader, &self.event_id, |row| Some(&row.event_id)).await? {
            Some(id) => reader.get(&path(&id)).await,
            None => Ok(None),
        }
    }
}

/// Writes a body to standard output. A terminal would act upon control characters.
fn write_body(body: &[u8]) -> Result<(), Failure> {
    if !std::io::stdout().is_terminal() {
        return write(body);
    }
    let text = String::from_utf8_lossy(body);
    let shown: Vec<_> = text.split('\n').map(clean).collect();
    let shown = shown.join("\n");
    if shown != text {
        note("The body has control characters, shown as escapes: a file or a pipe gets the bytes.");
    }
    print(&shown)
}

fn signed_body(row: &Row, payload: Payload<'_>) -> Result<Vec<u8>, Failure> {
    let decoded = payload.body_base64.map(|text| STANDARD.decode(text));
    match (payload.body, decoded) {
        (Some(text), _) => Ok(text.into_bytes()),
        (None, Some(Ok(bytes))) => Ok(bytes),
        (None, Some(Err(_))) => Err(RemoteError::NotOurs.into()),
        (None, None) if payload.erased_at.is_some() => Err(RemoteError::NoBody {
            event_id: clean(&row.event_id),
        }
        .into()),
        (None, None) => Err(RemoteError::NotOurs.into()),
    }
}

/// A record for a person: one line for each member, then the payload.
fn page(row: &Row, payload: &Payload<'_>) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            text.push_str(&format!("{name:<14}{}\n", clip(value, MAX_SHOWN)));
        }
    };
    line("event_id", Some(&row.event_id));
    line("type", row.event_type.as_deref());
    line("session_id", row.session_id.as_deref());
    line("occurred", row.occurred_at.as_deref());
    line("received", Some(&row.received_at));
    line("expires", Some(&row.expires_at));
    line("erased", payload.erased_at.as_deref());
    line("outcome", Some(&row.outcome));
    line("reason", row.reason.as_deref());
    line("alert", row.alert.as_deref());
    line("claimed_id", payload.claimed_event_id.as_deref());
    line("claimed_type", payload.claimed_type.as_deref());
    for problem in &row.problems {
        line("problem", Some(&format!("{} {}", problem.path, problem.message)));
    }
    line("body", payload.body.as_deref());
    line("body_base64", payload.body_base64.as_deref());
    for (name, value) in [("data", payload.data), ("metadata", payload.metadata)] {
        if let Some(value) = value {
            text.push_str(&format!("{name:<14}{}\n", Pretty(value.get())));
        }
    }
    text
}
