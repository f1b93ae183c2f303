//! `results`, `event`: what was stored.

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::value::RawValue;
use sonotheia_webhook::store::Store;
use sonotheia_webhook::timestamp::Timestamp;

use crate::args::{note, print, usage};
use crate::client::encode;
use crate::failure::Failure;
use crate::records::reads::{self, Listing, Place, Query};
use crate::show::{Pretty, Row, Table, clean};
use crate::table::Account;

/// Show records, newest first; of one session with its id
#[derive(Args)]
pub struct Results {
    #[command(flatten)]
    place: Place,
    /// Only this session's accepted events
    #[arg(conflicts_with_all = ["event_type", "outcome", "from", "to"])]
    session: Option<String>,
    /// Only this type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only accepted or only rejected ones
    #[arg(long, value_parser = PossibleValuesParser::new(["accepted", "rejected"]))]
    outcome: Option<String>,
    /// Only alerts
    #[arg(long)]
    alerts: bool,
    /// Received at or after: an RFC 3339 time, or so long ago (15m, 2h, 7d)
    #[arg(long, value_name = "TIME", value_parser = reads::time)]
    from: Option<Timestamp>,
    /// Received at or before
    #[arg(long, value_name = "TIME", value_parser = reads::time)]
    to: Option<Timestamp>,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// All there are
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// One JSON document: {"count", "results", "more"}
    #[arg(long)]
    json: bool,
}

impl Results {
    /// Prints a whole listing, or fails.
    #[tokio::main(flavor = "current_thread")]
    pub async fn run(self) -> Result<(), Failure> {
        if self.from.zip(self.to).is_some_and(|(from, to)| from > to) {
            usage("--from is after --to");
        }
        let query = Query {
            session: self.session.clone(),
            event_type: self.event_type,
            outcome: self.outcome,
            from: self.from,
            to: self.to,
            alerts: self.alerts,
        };
        let limit = if self.all { usize::MAX } else { self.limit as usize };
        let listing = self.place.open().await?.list(&query, limit).await?;
        if self.json {
            return print(&document(&listing)?);
        }
        if listing.found.is_empty() {
            return print("No records.\n");
        }
        print(&lines(&listing))?;
        if listing.more {
            note("There are more: --limit N or --all shows them.");
        }
        Ok(())
    }
}

/// A listing as a table.
pub fn lines(listing: &Listing) -> String {
    let mut table = Table::of(listing.found.iter().map(|found| &found.row));
    let mut text = table.head();
    for found in &listing.found {
        text.push_str(&table.row(&found.row));
    }
    text
}

/// A listing as one JSON document, each record as it was answered.
pub fn document(listing: &Listing) -> Result<String, Failure> {
    #[derive(serde::Serialize)]
    struct Document<'a> {
        count: usize,
        results: Vec<&'a RawValue>,
        more: bool,
    }
    let document = Document {
        count: listing.found.len(),
        results: listing.found.iter().map(|found| &*found.raw).collect(),
        more: listing.more,
    };
    let text = serde_json::to_string(&document).map_err(|_| Failure::NotOurs)?;
    Ok(text + "\n")
}

/// Show one record whole
#[derive(Args)]
pub struct ShowEvent {
    #[command(flatten)]
    place: Place,
    /// Its id, as `results` shows it
    event_id: String,
    /// The record as one JSON document
    #[arg(long)]
    json: bool,
    /// Only the body, byte for byte as it was received; needs --table
    #[arg(long, conflicts_with = "json")]
    body: bool,
}

impl ShowEvent {
    /// Prints a record, or fails where there is none.
    #[tokio::main(flavor = "current_thread")]
    pub async fn run(self) -> Result<(), Failure> {
        let none = || Failure::NoEvent {
            event_id: clean(&self.event_id),
        };
        if self.event_id.is_empty() {
            usage("an event id is not empty");
        }
        let reader = self.place.open().await?;
        if self.body {
            let Some(table) = &self.place.table else {
                usage("--body needs --table: the receiver's answers have the payload, not the body");
            };
            let store = Store::new(Account::client(&self.place.account.sdk().await?), table);
            let got = store.get(&self.event_id).await;
            let record = got.map_err(|source| Failure::table(table, source))?;
            let body = record.and_then(|record| record.body).ok_or_else(none)?;
            return crate::args::write(&body);
        }
        let path = format!("/events/{}", encode(&self.event_id));
        let body = reader.get(&path).await?.ok_or_else(none)?;
        let text = String::from_utf8(body).map_err(|_| Failure::NotOurs)?;
        let row: Row = serde_json::from_str(&text).map_err(|_| Failure::NotOurs)?;
        if self.json {
            return print(&(text + "\n"));
        }
        let payload: Payload<'_> = serde_json::from_str(&text).map_err(|_| Failure::NotOurs)?;
        print(&page(&row, &payload))
    }
}

/// A record for a person: a line a field, then its payload.
fn page(row: &Row, payload: &Payload<'_>) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            text.push_str(&format!("{name:<12}{}\n", clean(value)));
        }
    };
    line("event_id", Some(&row.event_id));
    line("type", row.event_type.as_deref());
    line("session_id", row.session_id.as_deref());
    line("occurred", row.occurred_at.as_deref());
    line("received", Some(&row.received_at));
    line("expires", Some(&row.expires_at));
    line("outcome", Some(&row.outcome));
    line("reason", row.reason.as_deref());
    line("alert", row.alert.as_deref());
    for problem in &row.problems {
        line("problem", Some(&format!("{} {}", problem.path, problem.message)));
    }
    for (name, value) in [("data", payload.data), ("metadata", payload.metadata)] {
        if let Some(value) = value {
            text.push_str(&format!("{name:<12}{}\n", Pretty(value.get())));
        }
    }
    text
}

#[derive(serde::Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}
