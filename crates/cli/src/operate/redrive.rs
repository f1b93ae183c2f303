//! `redrive`: judges rejected records again, by today's rules.
//!
//! The code that stores a delivery stores these events too: under the event's own id, and never in the place of another
//! record. So a command that was interrupted can be run again, and does the rest.

use clap::Args;
use emulators::BoxError;
use serde::Serialize;
use sonotheia_webhook::ingest::{self, Ingested, Rules};
use sonotheia_webhook::store::{DeliveryToken, Filter, Outcome, Record, Store};
use sonotheia_webhook::timestamp::Timestamp;

use super::retention::Deployed;
use super::walk;
use crate::args::{json, print, usage};
use crate::failure::Failure;
use crate::index;
use crate::interrupt;
use crate::records::times;
use crate::remote::RemoteError;
use crate::show::clean;
use crate::table::Account;

/// Judge rejected records again, and with --apply store those that pass now
#[derive(Args)]
pub struct Redrive {
    /// The table
    #[arg(long, value_name = "NAME")]
    table: String,
    #[command(flatten)]
    account: Account,
    #[command(flatten)]
    deployed: Deployed,
    /// Store the events that pass; without it, write nothing
    #[arg(long)]
    apply: bool,
    /// Received at or after this time: 2026-01-21T12:00:00Z, 2026-01-21 (UTC), or 15m, 2h, 7d before now
    #[arg(long, value_name = "TIME", value_parser = times::from)]
    from: Option<Timestamp>,
    /// Received at or before this time; a date counts to its end
    #[arg(long, value_name = "TIME", value_parser = times::to)]
    to: Option<Timestamp>,
    /// Print the report as one JSON document
    #[arg(long)]
    json: bool,
}

/// The new judgement of a record.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// It passes. With `--apply` it is stored as accepted.
    Accepted,
    /// The table has the same event as accepted.
    AlreadyAccepted,
    /// The table has an event with its id, and with another type or other data.
    Conflict,
    /// Its signed time is too old, now or when it was delivered.
    TooOld,
    /// It is not an event.
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
    /// Prints the report, also if the work ends early.
    pub fn run(self) -> Result<(), Failure> {
        if self.from.zip(self.to).is_some_and(|(from, to)| from > to) {
            usage("--from is after --to");
        }
        interrupt::run(self.work())
    }

    async fn work(self) -> Result<(), Failure> {
        let stop = interrupt::stop()?;
        let (store, rejected) = interrupt::unless(&stop, self.list()).await?;
        if rejected.is_empty() {
            return print(&self.report(&[], None));
        }
        let rules = interrupt::unless(&stop, self.deployed.rules(&self.table, &store)).await?;

        let total = rejected.len();
        let mut lines = Vec::new();
        let judge = |record| self.judge(&store, &rules, record);
        let done = walk::each(rejected, judge, stop.clone(), &mut lines).await;
        let is_interrupted = stop.peek().is_some();
        if done.is_ok() || !lines.is_empty() {
            print(&self.report(&lines, Some(&rules)))?;
        }
        done.map_err(|source| RemoteError::Redrive {
            done: lines.len(),
            total,
            applied: self.apply,
            source,
        })?;
        if is_interrupted && lines.len() < total {
            let done = format!(
                "{} of {total} rejected records were judged; run the command again",
                lines.len()
            );
            return Err(RemoteError::Interrupted { done }.into());
        }
        Ok(())
    }

    /// The table, and its rejected records.
    async fn list(&self) -> Result<(Store, Vec<Record>), Failure> {
        let store = self.account.store(&self.table).await?;
        let filter = Filter {
            outcome: Some(Outcome::Rejected),
            from: self.from,
            to: self.to,
            ..Filter::default()
        };
        let rejected = index::all(&store, &filter, Timestamp::now()).await;
        let rejected = rejected.map_err(|source| Failure::table(&self.table, source))?;
        Ok((store, rejected))
    }

    /// Judges one record at the present time, and with `--apply` stores it if it passes. `None` if DynamoDB has deleted the
    /// record.
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
        // An earlier delivery may have been accepted, and its record deleted since. So this event may be a replay,
        // whatever the retention is today.
        if listed.reason.as_deref() == Some(ingest::EVENT_TOO_OLD) {
            return line(Verdict::TooOld, None, None);
        }
        // DynamoDB may have deleted a record that the index still lists, and erasure removes bodies.
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

    fn report(&self, lines: &[Line], rules: Option<&Rules>) -> String {
        if self.json {
            return self.document(lines, rules);
        }
        let count = |verdict| lines.iter().filter(|line| line.verdict == verdict).count();
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
        if let Some(rules) = rules
            && !self.apply
            && count(Verdict::Accepted) > 0
        {
            text.push_str(&format!(
                "Nothing was written; --apply stores these events for {} days, with an alert from the score {} on.\n",
                rules.retention_days, rules.alert_threshold
            ));
        }
        text
    }

    fn document(&self, lines: &[Line], rules: Option<&Rules>) -> String {
        #[derive(Serialize)]
        struct Redriven<'a> {
            applied: bool,
            retention_days: Option<u32>,
            count: usize,
            accepted: usize,
            already_accepted: usize,
            conflict: usize,
            too_old: usize,
            invalid: usize,
            records: &'a [Line],
        }
        let count = |verdict| lines.iter().filter(|line| line.verdict == verdict).count();
        let [accepted, already_accepted, conflict, too_old, invalid] = Verdict::ALL.map(count);
        let report = Redriven {
            applied: self.apply,
            retention_days: rules.map(|rules| rules.retention_days),
            count: lines.len(),
            accepted,
            already_accepted,
            conflict,
            too_old,
            invalid,
            records: lines,
        };
        json(&report) + "\n"
    }
}
