//! `redrive`: what was rejected, judged again by today's rules.
//!
//! A record is stored by the code that stores a delivery, under its event's id, and never in the place
//! of another one: to interrupt this and run it again changes nothing but what is left to do.

use clap::Args;
use emulators::BoxError;
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use sonotheia_webhook::ingest::{self, Ingested, Rules};
use sonotheia_webhook::store::schema::SHARDS;
use sonotheia_webhook::store::{DeliveryToken, Filter, Outcome, Record, Store, StoreError};
use sonotheia_webhook::timestamp::Timestamp;

use crate::args::{json, print};
use crate::failure::Failure;
use crate::records::reads;
use crate::show::clean;
use crate::table::{Account, rules};

/// How many records are looked at at once.
const AT_ONCE: usize = 8;

/// Judge rejected records again, and store those that now pass
#[derive(Args)]
pub struct Redrive {
    /// The table
    #[arg(long, value_name = "NAME")]
    table: String,
    #[command(flatten)]
    account: Account,
    /// Store those that pass; without it nothing is written
    #[arg(long)]
    apply: bool,
    /// Received at or after: an RFC 3339 time, or so long ago (15m, 2h, 7d)
    #[arg(long, value_name = "TIME", value_parser = reads::time)]
    from: Option<Timestamp>,
    /// Received at or before
    #[arg(long, value_name = "TIME", value_parser = reads::time)]
    to: Option<Timestamp>,
    /// The report as one JSON document
    #[arg(long)]
    json: bool,
}

/// What became of a record.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// It passes; stored as accepted, or would be.
    Accepted,
    /// The same event is there as accepted.
    AlreadyAccepted,
    /// An accepted event has its id, and another type or other data.
    Conflict,
    /// A signed time that is too old, now or when it came.
    TooOld,
    /// Still no event.
    Invalid,
}

impl Verdict {
    const ALL: [Self; 5] = [
        Self::Accepted,
        Self::AlreadyAccepted,
        Self::Conflict,
        Self::TooOld,
        Self::Invalid,
    ];

    fn name(self, applied: bool) -> &'static str {
        match self {
            Self::Accepted if applied => "accepted",
            Self::Accepted => "would be accepted",
            Self::AlreadyAccepted => "accepted before",
            Self::Conflict => "conflict",
            Self::TooOld => "too old",
            Self::Invalid => "still invalid",
        }
    }
}

/// A record of the report.
#[derive(Serialize)]
struct Line {
    /// The rejected record's key.
    event_id: String,
    received_at: String,
    verdict: Verdict,
    /// The accepted record's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_as: Option<String>,
    /// Why it does not pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl Redrive {
    /// Prints the whole report, or fails.
    #[tokio::main(flavor = "current_thread")]
    pub async fn run(self) -> Result<(), Failure> {
        let rules = rules(&self.table)?;
        let store = self.account.store(&self.table).await?;
        let now = Timestamp::now();
        let filter = Filter {
            outcome: Some(Outcome::Rejected),
            from: self.from,
            to: self.to,
            ..Filter::default()
        };
        let rejected = rejected(&store, &filter, now)
            .await
            .map_err(|source| Failure::table(&self.table, source))?;

        let bar = ProgressBar::new(rejected.len() as u64);
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len}, {per_sec}, {eta} left") {
            bar.set_style(style);
        }
        let total = rejected.len();
        let judged = stream::iter(rejected)
            .map(|record| self.judge(&store, &rules, record))
            .buffered(AT_ONCE)
            .inspect_ok(|_| bar.inc(1))
            .try_filter_map(|line| async { Ok(line) })
            .try_collect::<Vec<Line>>()
            .await;
        bar.finish_and_clear();
        let lines = judged.map_err(|source| Failure::Redrive {
            done: bar.position(),
            total,
            applied: self.apply,
            source,
        })?;
        print(&self.report(&lines, rules.retention_days)?)
    }

    /// Judges one, and stores it where it passes and that was asked for; none where it is gone.
    async fn judge(&self, store: &Store, rules: &Rules, listed: Record) -> Result<Option<Line>, BoxError> {
        let line = |verdict, accepted_as, message| {
            Ok(Some(Line {
                event_id: listed.event_id.clone(),
                received_at: listed.received_at.clone(),
                verdict,
                accepted_as,
                message,
            }))
        };
        // Its first delivery may have been taken, and that record deleted since: it might be a replay,
        // however old events may be today.
        if listed.reason.as_deref() == Some("event_too_old") {
            return line(Verdict::TooOld, None, None);
        }
        // What the index shows can be deleted any time.
        let Some(body) = store.get(&listed.event_id).await?.and_then(|record| record.body) else {
            return Ok(None);
        };
        let judged = ingest::judge(&body, rules, Timestamp::now());
        let ingested = if self.apply {
            ingest::accept(store, &judged, DeliveryToken::new()?).await?
        } else {
            ingest::preview(store, &judged).await?
        };
        match ingested {
            Ingested::Stored { event_id } => line(Verdict::Accepted, Some(event_id), None),
            Ingested::Duplicate { event_id } => line(Verdict::AlreadyAccepted, Some(event_id), None),
            Ingested::Conflict(problem) => line(Verdict::Conflict, None, Some(problem.to_string())),
            Ingested::TooOld(problem) => line(Verdict::TooOld, None, Some(problem.to_string())),
            Ingested::Invalid(problem) => line(Verdict::Invalid, None, Some(problem.to_string())),
        }
    }

    fn report(&self, lines: &[Line], retention_days: u32) -> Result<String, Failure> {
        let count = |verdict| lines.iter().filter(|line| line.verdict == verdict).count();
        if self.json {
            #[derive(Serialize)]
            struct Report<'a> {
                applied: bool,
                retention_days: u32,
                count: usize,
                accepted: usize,
                already_accepted: usize,
                conflict: usize,
                too_old: usize,
                invalid: usize,
                records: &'a [Line],
            }
            let [accepted, already_accepted, conflict, too_old, invalid] = Verdict::ALL.map(count);
            let report = Report {
                applied: self.apply,
                retention_days,
                count: lines.len(),
                accepted,
                already_accepted,
                conflict,
                too_old,
                invalid,
                records: lines,
            };
            return Ok(json(&report) + "\n");
        }
        let mut text = String::new();
        for line in lines {
            let what = match (&line.accepted_as, &line.message) {
                (Some(id), _) => format!("as {}", clean(id)),
                (None, Some(message)) => clean(message),
                (None, None) => String::new(),
            };
            let verdict = line.verdict.name(self.apply);
            let row = format!(
                "{}  {}  {verdict:<17}  {what}",
                line.received_at,
                clean(&line.event_id)
            );
            text.push_str(row.trim_end());
            text.push('\n');
        }
        let counts = Verdict::ALL
            .into_iter()
            .map(|verdict| (verdict, count(verdict)))
            .filter(|(_, count)| *count > 0)
            .map(|(verdict, count)| format!("{count} {}", verdict.name(self.apply)))
            .collect::<Vec<_>>()
            .join(", ");
        let separator = if counts.is_empty() { "" } else { ": " };
        text.push_str(&format!("{} rejected{separator}{counts}\n", lines.len()));
        if !self.apply && count(Verdict::Accepted) > 0 {
            text.push_str(&format!(
                "Nothing was written; --apply stores them, to be kept {retention_days} days \
                 (RETENTION_DAYS, which should be the deployment's).\n"
            ));
        }
        Ok(text)
    }
}

/// Every rejected record, oldest first, without its body: each shard's pages to their end.
async fn rejected(store: &Store, filter: &Filter, now: Timestamp) -> Result<Vec<Record>, StoreError> {
    let shards = (0..SHARDS).map(|shard| async move {
        let mut records = Vec::new();
        let mut start = None;
        loop {
            let (_, until) = filter.bounds();
            let page = store.by_time(shard, filter, &until, 100, start, now).await?;
            records.extend(page.records);
            start = page.next;
            if start.is_none() {
                return Ok::<_, StoreError>(records);
            }
        }
    });
    let shards: Vec<_> = stream::iter(shards).buffered(AT_ONCE).try_collect().await?;
    let mut records = shards.concat();
    records.sort_by(|a, b| (&a.received_at, &a.event_id).cmp(&(&b.received_at, &b.event_id)));
    Ok(records)
}
