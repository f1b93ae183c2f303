//! `reconcile`: what the sender could not deliver, fetched from it and stored.
//!
//! The shape that is read is `{"events": [event, …], "next_cursor": text or null}`, each event in one of
//! the two envelopes that are delivered; the next page is asked for with `cursor`. The sender's reference
//! names the call and not its answer: any other shape is an error, never a guess.

use std::collections::HashSet;

use clap::Args;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sonotheia_webhook::ingest::{self, Ingested, Rules};
use sonotheia_webhook::store::{DeliveryToken, Store};
use sonotheia_webhook::timestamp::Timestamp;

use crate::args::{json, print};
use crate::client::encode;
use crate::failure::Failure;
use crate::operate::sonotheia_api::Api;
use crate::records::reads;
use crate::show::clean;
use crate::table::{Account, rules};

/// How many pages there can be. A sender that has more would rather not end.
const MAX_PAGES: usize = 10_000;

/// Fetch what the sender could not deliver, and store what is missing
#[derive(Args)]
pub struct Reconcile {
    /// The table
    #[arg(long, value_name = "NAME")]
    table: String,
    #[command(flatten)]
    account: Account,
    #[command(flatten)]
    api: Api,
    /// Since when: an RFC 3339 time, or so long ago (90m, 24h, 7d)
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = reads::time)]
    since: Timestamp,
    /// Only report, store nothing
    #[arg(long)]
    dry_run: bool,
    /// The report as one JSON document
    #[arg(long)]
    json: bool,
}

/// A page of the sender's list. What else it had could mean that there is more than this.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    events: Vec<Box<RawValue>>,
    #[serde(default)]
    next_cursor: Option<String>,
}

impl Page {
    fn read(body: &[u8]) -> Result<Self, String> {
        let page: Self = serde_json::from_slice(body).map_err(|error| match error.classify() {
            // Without the text, which may be anything.
            serde_json::error::Category::Data => shape(&error.to_string()),
            _ => "it is not JSON".to_owned(),
        })?;
        // A list of the members in their order would be read as well.
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err("it is not an object".to_owned());
        }
        if !page.events.iter().all(|event| event.get().starts_with('{')) {
            return Err("an event is not an object".to_owned());
        }
        if page.next_cursor.as_deref() == Some("") {
            return Err("`next_cursor` is empty".to_owned());
        }
        Ok(page)
    }
}

/// What is wrong with the shape, without what it says about the place.
fn shape(error: &str) -> String {
    let text = error.split(" at line ").next().unwrap_or_default();
    clean(text).chars().take(200).collect()
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// It was missing; stored, or would be.
    Missing,
    /// It is there.
    Present,
    /// It can't be stored.
    Refused,
}

/// An event of the report.
#[derive(Serialize)]
struct Line {
    /// Its id, or the record's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    event_type: Option<String>,
    verdict: Verdict,
    /// Why it can't be stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl Reconcile {
    /// Prints the whole report, or fails.
    #[tokio::main(flavor = "current_thread")]
    pub async fn run(self) -> Result<(), Failure> {
        let sender = self.api.session()?;
        let rules = rules(&self.table)?;
        let store = self.account.store(&self.table).await?;
        let bar = ProgressBar::new_spinner();
        let mut lines: Vec<Line> = Vec::new();
        let fetched = async {
            let mut cursor: Option<String> = None;
            let mut seen = HashSet::new();
            for page_number in 1..=MAX_PAGES {
                let mut path = format!(
                    "/v1/webhooks/events?status=failed&since={}",
                    encode(&self.since.to_string())
                );
                if let Some(cursor) = &cursor {
                    path.push_str(&format!("&cursor={}", encode(cursor)));
                }
                let answer = sender.get(&path)?;
                let page =
                    Page::read(&answer.body).map_err(|fault| Failure::SenderShape { page_number, fault })?;
                for event in page.events {
                    lines.push(self.take(&store, &rules, event.get().as_bytes()).await?);
                    bar.set_message(format!("{} events", lines.len()));
                    bar.tick();
                }
                let Some(next) = page.next_cursor else {
                    return Ok(());
                };
                if !seen.insert(next.clone()) {
                    return Err(Failure::SenderShape {
                        page_number,
                        fault: "`next_cursor` leads back to an earlier page".to_owned(),
                    });
                }
                cursor = Some(next);
            }
            Err(Failure::SenderShape {
                page_number: MAX_PAGES,
                fault: "there is no end to the pages; ask for less with --since".to_owned(),
            })
        };
        let fetched: Result<(), Failure> = fetched.await;
        bar.finish_and_clear();
        let count = |verdict| lines.iter().filter(|line| line.verdict == verdict).count();
        fetched.map_err(|source| Failure::Reconcile {
            done: lines.len(),
            source: Box::new(source),
        })?;
        print(&self.report(&lines))?;
        match count(Verdict::Refused) {
            0 => Ok(()),
            refused => Err(Failure::NotStored { refused }),
        }
    }

    /// Stores one event by a delivery's own path.
    async fn take(&self, store: &Store, rules: &Rules, body: &[u8]) -> Result<Line, Failure> {
        let judged = ingest::judge(body, rules, Timestamp::now());
        let ingested = if self.dry_run {
            ingest::preview(store, &judged).await
        } else {
            ingest::accept(store, &judged, DeliveryToken::new()?).await
        };
        let (verdict, message) = match ingested.map_err(Failure::Store)? {
            Ingested::Stored { .. } => (Verdict::Missing, None),
            Ingested::Duplicate { .. } => (Verdict::Present, None),
            Ingested::Conflict(problem) | Ingested::TooOld(problem) | Ingested::Invalid(problem) => {
                (Verdict::Refused, Some(problem.to_string()))
            }
        };
        let event = judged.event();
        Ok(Line {
            event_id: event.map(|_| judged.key().into_owned()),
            event_type: event.map(|event| event.event_type.clone().into_owned()),
            verdict,
            message,
        })
    }

    fn report(&self, lines: &[Line]) -> String {
        let count = |verdict| lines.iter().filter(|line| line.verdict == verdict).count();
        let (missing, present, refused) = (
            count(Verdict::Missing),
            count(Verdict::Present),
            count(Verdict::Refused),
        );
        if self.json {
            #[derive(Serialize)]
            struct Report<'a> {
                applied: bool,
                since: String,
                count: usize,
                missing: usize,
                present: usize,
                refused: usize,
                events: &'a [Line],
            }
            let report = Report {
                applied: !self.dry_run,
                since: self.since.to_string(),
                count: lines.len(),
                missing,
                present,
                refused,
                events: lines,
            };
            return json(&report) + "\n";
        }
        let mut text = String::new();
        let stored = if self.dry_run { "missing" } else { "stored" };
        for line in lines {
            let verdict = match line.verdict {
                Verdict::Missing => stored,
                // Of those there is nothing to be told but how many.
                Verdict::Present => continue,
                Verdict::Refused => "refused",
            };
            let name = |name: &Option<String>| name.as_deref().map_or_else(|| "-".to_owned(), clean);
            let why = line.message.as_deref().map(clean).unwrap_or_default();
            let row = format!(
                "{verdict:<8}  {:<24}  {}  {why}",
                name(&line.event_type),
                name(&line.event_id)
            );
            text.push_str(row.trim_end());
            text.push('\n');
        }
        text.push_str(&format!(
            "{} undelivered since {}: {missing} {}, {present} here already, {refused} refused\n",
            lines.len(),
            self.since,
            if self.dry_run {
                "missing (nothing was written)"
            } else {
                "were missing and are stored"
            },
        ));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_shape_is_a_page() {
        assert!(Page::read(br#"{"events":[{"id":"a"}],"next_cursor":"b"}"#).is_ok());
        assert!(Page::read(br#"{"events":[]}"#).is_ok());
        for (body, says) in [
            ("<html>", "not JSON"),
            (r#"[[{"id":"a"}],null]"#, "not an object"),
            (r#"{"data":[]}"#, "unknown field `data`"),
            ("{}", "missing field `events`"),
            (r#"{"events":[],"has_more":true}"#, "unknown field `has_more`"),
            (r#"{"events":["evt_1"]}"#, "not an object"),
            (r#"{"events":[],"next_cursor":3}"#, "invalid type"),
            (r#"{"events":[],"next_cursor":""}"#, "empty"),
        ] {
            let fault = Page::read(body.as_bytes()).err();
            assert!(
                fault.as_ref().is_some_and(|fault| fault.contains(says)),
                "{body}: {fault:?}"
            );
        }
    }
}
