//! `reconcile`: reads from Sonotheia the events that it could not deliver, and stores those that are missing.

mod report;

use std::collections::HashSet;

use clap::Args;
use futures_util::FutureExt;
use indicatif::ProgressBar;
use sonotheia_webhook::config::LARGEST_BODY;
use sonotheia_webhook::ingest::{self, Ingested, Rules};
use sonotheia_webhook::store::{DeliveryToken, Store};
use sonotheia_webhook::timestamp::Timestamp;

use self::report::{Line, Progress, Report, Verdict};
use super::api_list::Page;
use super::api_list::item::Item;
use super::api_list::next::Next;
use super::retention::Deployed;
use super::sonotheia_api::{Api, Session};
use crate::args::print;
use crate::client::encode;
use crate::failure::Failure;
use crate::interrupt::{self, Stop};
use crate::records::times;
use crate::remote::RemoteError;
use crate::table::Account;

/// The most pages that a list can have. A longer list is more likely a loop.
const MAX_PAGES: usize = 10_000;

/// Read the events that Sonotheia could not deliver, and with --apply store those that are missing
#[derive(Args)]
pub struct Reconcile {
    /// The table
    #[arg(long, value_name = "NAME")]
    table: String,
    #[command(flatten)]
    account: Account,
    #[command(flatten)]
    deployed: Deployed,
    /// The stack's parameter MaxBodyBytes; a larger event is not stored
    #[arg(long, value_name = "N", default_value_t = LARGEST_BODY, value_parser = body_bytes)]
    max_body_bytes: usize,
    #[command(flatten)]
    api: Api,
    /// Failed since this time: 2026-01-21T12:00:00Z, 2026-01-21 (UTC), or 90m, 24h, 7d before now
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = times::from)]
    since: Timestamp,
    /// Store the missing events; without it, write nothing
    #[arg(long)]
    apply: bool,
    /// Print the report as one JSON document
    #[arg(long)]
    json: bool,
}

fn body_bytes(text: &str) -> Result<usize, String> {
    let bytes = text
        .parse()
        .ok()
        .filter(|bytes| (1..=LARGEST_BODY).contains(bytes));
    bytes.ok_or_else(|| format!("it is not a number from 1 to {LARGEST_BODY}"))
}

impl Reconcile {
    /// Prints the report, also if the work ends early.
    pub fn run(self) -> Result<(), Failure> {
        interrupt::run(self.work())
    }

    async fn work(self) -> Result<(), Failure> {
        let stop = interrupt::stop()?;
        let session = self.api.session()?;
        let store = interrupt::unless(&stop, self.account.store(&self.table)).await?;
        let mut progress = Progress::default();
        let bar = ProgressBar::new_spinner();
        let read = self.read(&session, &store, &stop, &bar, &mut progress).await;
        bar.finish_and_clear();
        progress.is_complete = read.is_ok() && stop.peek().is_none();
        if read.is_ok() || !progress.lines.is_empty() {
            let report = Report {
                applied: self.apply,
                since: self.since,
                progress: &progress,
            };
            print(&if self.json { report.json() } else { report.text() })?;
        }
        let done = progress.lines.len();
        read.map_err(|source| RemoteError::Reconcile {
            done,
            applied: self.apply,
            source: source.into(),
        })?;
        if !progress.is_complete {
            let done = format!("{done} events were read; run the command again");
            return Err(RemoteError::Interrupted { done }.into());
        }
        match progress.count(Verdict::Refused) {
            0 => Ok(()),
            refused => Err(RemoteError::NotStored { refused }.into()),
        }
    }

    /// Reads the list page by page, and stores each event before it reads on. Ends without an error at an interrupt.
    async fn read(
        &self,
        session: &Session,
        store: &Store,
        stop: &Stop,
        bar: &ProgressBar,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let first = format!(
            "/v1/webhooks/events?status=failed&since={}",
            encode(&self.since.to_string())
        );
        let mut path = first.clone();
        let mut asked = HashSet::new();
        let mut rules = None;
        for number in 1..=MAX_PAGES {
            let fault = |fault: String| RemoteError::ListShape { page: number, fault };
            if !asked.insert(path.clone()) {
                return Err(fault("its next page is a page that was read before".into()).into());
            }
            let answer = tokio::select! {
                answer = session.get(&path) => answer?,
                () = stop.clone() => return Ok(()),
            };
            let page = Page::read(&answer.body, answer.link.as_deref()).map_err(fault)?;
            progress.note(&page).map_err(fault)?;
            for item in &page.items {
                if stop.clone().now_or_never().is_some() {
                    return Ok(());
                }
                let rules = match &rules {
                    Some(rules) => rules,
                    None => rules.insert(self.deployed.rules(&self.table, store).await?),
                };
                let line = self.reconcile(store, rules, item, &mut progress.missing).await?;
                progress.lines.push(line);
                bar.set_message(format!("{} events", progress.lines.len()));
                bar.tick();
            }
            path = match next_path(&page, &first, session, progress.lines.len()).map_err(fault)? {
                Some(path) => path,
                None => return Ok(()),
            };
        }
        let fault = "the list has no end; ask for less with --since".into();
        Err(RemoteError::ListShape {
            page: MAX_PAGES,
            fault,
        }
        .into())
    }

    /// Judges one event as the receiver judges a delivery, and with `--apply` stores it if it is missing.
    async fn reconcile(
        &self,
        store: &Store,
        rules: &Rules,
        item: &Item,
        missing: &mut HashSet<String>,
    ) -> Result<Line, Failure> {
        let judged = ingest::judge(&item.body, rules, Timestamp::now());
        let event = judged.event();
        let line = |verdict, message| Line {
            event_id: event.map(|_| judged.key().into_owned()),
            event_type: event.map(|event| event.event_type.clone().into_owned()),
            verdict,
            message,
        };
        let id = event.and_then(|event| event.id.as_deref());
        if let Some(message) = self.obstacle(item, id) {
            return Ok(line(Verdict::Refused, Some(message)));
        }
        let has_no_id = event.is_some() && id.is_none();
        let ingested = if self.apply && !has_no_id {
            ingest::accept(store, &judged, DeliveryToken::new()?).await
        } else {
            ingest::preview(store, &judged).await
        };
        let (verdict, message) = match ingested.map_err(RemoteError::Store)? {
            // The key is a hash of the delivery's bytes, and the list has other blanks or another order of members.
            Ingested::Stored { .. } if has_no_id => {
                let message = "has no id, so that nothing can tell whether the table has it already";
                (Verdict::Refused, Some(message.to_owned()))
            }
            // The list may have an event twice, and a dry run stores nothing that would show it.
            Ingested::Stored { event_id } => match missing.insert(event_id) {
                true => (Verdict::Missing, None),
                false => (Verdict::Present, None),
            },
            Ingested::Duplicate { .. } => (Verdict::Present, None),
            Ingested::Conflict(problem) | Ingested::TooOld(problem) | Ingested::Invalid(problem) => {
                (Verdict::Refused, Some(problem.to_string()))
            }
        };
        Ok(line(verdict, message))
    }

    /// The reason why an event cannot be stored, whatever the table has. `id` is the event's own id.
    fn obstacle(&self, item: &Item, id: Option<&str>) -> Option<String> {
        let (size, limit) = (item.body.len(), self.max_body_bytes);
        if size > limit {
            return Some(format!(
                "has {size} bytes, and the limit is {limit} (--max-body-bytes)"
            ));
        }
        match (item.outer_id.as_deref(), id) {
            (Some(outer), Some(id)) if outer != id => Some(format!(
                "the list names it {outer:?}, but the event's own id is {id:?}"
            )),
            _ => None,
        }
    }
}

/// Returns the path of the next page, or `None` after the last page. `first` is the path of the first page, and `read` is the
/// number of events that the command has read.
fn next_path(page: &Page, first: &str, session: &Session, read: usize) -> Result<Option<String>, String> {
    match &page.next {
        Next::Parameter { name, value, .. } => Ok(Some(format!("{first}&{name}={}", encode(value)))),
        Next::Address { address, .. } => session.own_path(address).map(Some).ok_or_else(|| {
            "it names a next page at another address, and the key goes to --base-url only".into()
        }),
        Next::Unnamed | Next::Last { .. } => match page.total {
            Some(total) if total > read as u64 => Err(format!(
                "the list has {total} events, its pages have {read}, and it names no further page"
            )),
            _ => Ok(None),
        },
    }
}
