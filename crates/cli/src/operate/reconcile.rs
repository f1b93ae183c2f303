//! `reconcile`: reads from Sonotheia the events that it could not deliver, and stores those that are missing.

use std::collections::HashSet;

use clap::Args;
use futures_util::FutureExt;
use indicatif::ProgressBar;
use serde::Serialize;
use sonotheia_webhook::config::LARGEST_BODY;
use sonotheia_webhook::ingest::{self, Ingested, Rules};
use sonotheia_webhook::store::{DeliveryToken, Store};
use sonotheia_webhook::timestamp::Timestamp;

use super::api_list::Page;
use super::api_list::item::{Item, Wrapping};
use super::api_list::next::Next;
use super::retention::Deployed;
use super::sonotheia_api::{Api, Session};
use crate::args::{json, print};
use crate::client::encode;
use crate::failure::Failure;
use crate::interrupt::{self, Stop};
use crate::records::times;
use crate::remote::RemoteError;
use crate::show::clean;
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

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// The table does not have it. With `--apply` it is stored.
    Missing,
    /// The table has it.
    Present,
    /// It cannot be stored.
    Refused,
}

/// An event of the report.
#[derive(Serialize)]
struct Line {
    /// The event's id, or the record's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    event_type: Option<String>,
    verdict: Verdict,
    /// Why it cannot be stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// The work so far.
#[derive(Default)]
struct Progress {
    lines: Vec<Line>,
    /// The keys that a dry run would have stored.
    missing: HashSet<String>,
    /// The shape of the list, for a person: the list, the items, the next page.
    list: Option<String>,
    wrapping: Option<Wrapping>,
    next: Option<String>,
    is_complete: bool,
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
            print(&self.report(&progress))?;
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
                let line = self.take(store, rules, item, &mut progress.missing).await?;
                progress.lines.push(line);
                bar.set_message(format!("{} events", progress.lines.len()));
                bar.tick();
            }
            path = match &page.next {
                Next::Parameter { name, value, .. } => format!("{first}&{name}={}", encode(value)),
                Next::Address { address, .. } => session.own_path(address).ok_or_else(|| {
                    fault(
                        "it names a next page at another address, and the key goes to --base-url only".into(),
                    )
                })?,
                Next::Unnamed | Next::Last { .. } => {
                    let read = progress.lines.len() as u64;
                    return match page.total {
                        Some(total) if total > read => Err(fault(format!(
                            "the list has {total} events, its pages have {read}, and it names no further page"
                        ))
                        .into()),
                        _ => Ok(()),
                    };
                }
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
    async fn take(
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
        let size = item.body.len();
        if size > self.max_body_bytes {
            let limit = self.max_body_bytes;
            let message = format!("has {size} bytes, and the limit is {limit} (--max-body-bytes)");
            return Ok(line(Verdict::Refused, Some(message)));
        }
        let id = event.and_then(|event| event.id.as_deref());
        if let (Some(outer), Some(id)) = (&item.outer_id, id)
            && outer != id
        {
            let message = format!("the list names it {outer:?}, but the event's own id is {id:?}");
            return Ok(line(Verdict::Refused, Some(message)));
        }
        let has_no_id = event.is_some() && id.is_none();
        let ingested = if self.apply && !has_no_id {
            ingest::accept(store, &judged, DeliveryToken::new()?).await
        } else {
            ingest::preview(store, &judged).await
        };
        Ok(match ingested.map_err(RemoteError::Store)? {
            // The key is a hash of the delivery's bytes, and the list has other blanks or another order of members.
            Ingested::Stored { .. } if has_no_id => {
                let message = "has no id, so that nothing can tell whether the table has it already";
                line(Verdict::Refused, Some(message.to_owned()))
            }
            // The list may have an event twice, and a dry run stores nothing that would show it.
            Ingested::Stored { event_id } => {
                let is_first = missing.insert(event_id);
                line(
                    if is_first {
                        Verdict::Missing
                    } else {
                        Verdict::Present
                    },
                    None,
                )
            }
            Ingested::Duplicate { .. } => line(Verdict::Present, None),
            Ingested::Conflict(problem) | Ingested::TooOld(problem) | Ingested::Invalid(problem) => {
                line(Verdict::Refused, Some(problem.to_string()))
            }
        })
    }

    fn report(&self, progress: &Progress) -> String {
        let counts =
            [Verdict::Missing, Verdict::Present, Verdict::Refused].map(|verdict| progress.count(verdict));
        let [missing, present, refused] = counts;
        if self.json {
            #[derive(Serialize)]
            struct Reconciled<'a> {
                applied: bool,
                complete: bool,
                since: String,
                shape: String,
                count: usize,
                missing: usize,
                present: usize,
                refused: usize,
                events: &'a [Line],
            }
            let report = Reconciled {
                applied: self.apply,
                complete: progress.is_complete,
                since: self.since.to_string(),
                shape: progress.shape(),
                count: progress.lines.len(),
                missing,
                present,
                refused,
                events: &progress.lines,
            };
            return json(&report) + "\n";
        }
        let mut text = format!("Sonotheia's list: {}\n", progress.shape());
        for line in &progress.lines {
            let verdict = match line.verdict {
                Verdict::Missing if self.apply => "stored",
                Verdict::Missing => "missing",
                // The summary counts these events; they get no line.
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
        let stored = if self.apply {
            "were missing and are stored"
        } else {
            "missing"
        };
        text.push_str(&format!(
            "{} undelivered since {}: {missing} {stored}, {present} here already, {refused} refused\n",
            progress.lines.len(),
            self.since,
        ));
        if !self.apply && missing > 0 {
            text.push_str("Nothing was written; --apply stores the missing events.\n");
        }
        text
    }
}

impl Progress {
    fn count(&self, verdict: Verdict) -> usize {
        self.lines.iter().filter(|line| line.verdict == verdict).count()
    }

    /// Notes the shape of a page. All pages have the same shape.
    fn note(&mut self, page: &Page) -> Result<(), String> {
        let list = self.list.get_or_insert_with(|| page.list.clone());
        if *list != page.list {
            return Err(format!("it has {}, and an earlier page had {list}", page.list));
        }
        if let (Some(was), Some(is)) = (self.wrapping, page.wrapping)
            && was != is
        {
            return Err(format!(
                "{}, and on an earlier page, {}",
                is.describe(),
                was.describe()
            ));
        }
        self.wrapping = self.wrapping.or(page.wrapping);
        self.next.get_or_insert_with(|| page.next.describe());
        Ok(())
    }

    fn shape(&self) -> String {
        let wrapping = self.wrapping.map(Wrapping::describe);
        let parts = [self.list.clone(), wrapping, self.next.clone()];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}
