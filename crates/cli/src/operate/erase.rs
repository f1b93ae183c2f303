//! `erase`: removes a person's data from the records, and leaves the rest of each record in place (contract, section 4).
//!
//! A redelivery of an erased event is still a duplicate. A run that was interrupted can be run again, and does the rest.

mod find;
mod report;

use clap::Args;
use emulators::BoxError;
use sonotheia_webhook::event::{Event, MAX_SESSION_BYTES};
use sonotheia_webhook::store::{Erasure, Outcome, Record, Store};
use sonotheia_webhook::timestamp::{Parsed, Timestamp};

use self::report::{ErasureReport, Line, Verdict};
use super::walk;
use crate::args::print;
use crate::failure::Failure;
use crate::interrupt;
use crate::remote::RemoteError;
use crate::show::clean;
use crate::table::Account;

/// Show the records of a session or of an event, and with --apply remove the personal data from them
#[derive(Args)]
pub struct Erase {
    #[command(flatten)]
    subject: Subject,
    /// The table
    #[arg(long, value_name = "NAME")]
    table: String,
    #[command(flatten)]
    account: Account,
    /// Erase the records; without it, write nothing
    #[arg(long)]
    apply: bool,
    /// Also erase the records whose event asks for its own retention (compliance.retention_period_days) and whose retention
    /// has not ended
    #[arg(long)]
    despite_retention: bool,
    /// Do not search the rejected records. The search reads the whole index over time
    #[arg(long)]
    skip_rejected: bool,
    /// Print the report as one JSON document
    #[arg(long)]
    json: bool,
}

/// The records that the command is about.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Subject {
    /// The records of this session, and the rejected records that name it. An id is never a prefix here
    #[arg(long, value_name = "ID", value_parser = id)]
    session: Option<String>,
    /// The record with this key, and the rejected records that name this event id
    #[arg(long, value_name = "ID", value_parser = id)]
    event: Option<String>,
}

impl Subject {
    /// The id of the session or of the event: clap takes exactly one of them.
    fn id(&self) -> &str {
        let id = self.session.as_ref().or(self.event.as_ref());
        id.map_or("", String::as_str)
    }
}

fn id(text: &str) -> Result<String, &'static str> {
    // The limit of a session's id; no key is longer.
    match text.len() {
        1..=MAX_SESSION_BYTES => Ok(text.to_owned()),
        0 => Err("an id is not empty"),
        _ => Err("an id has at most 1024 bytes"),
    }
}

impl Erase {
    /// Prints the report, also if the work ends early.
    pub fn run(self) -> Result<(), Failure> {
        interrupt::run(self.work())
    }

    async fn work(self) -> Result<(), Failure> {
        let stop = interrupt::stop()?;
        let store = interrupt::unless(&stop, self.account.store(&self.table)).await?;
        let keys = interrupt::unless(&stop, self.find(&store)).await?;

        let total = keys.len();
        let mut lines = Vec::new();
        let done = walk::each(keys, |key| self.erase(&store, key), stop.clone(), &mut lines).await;
        let is_interrupted = stop.peek().is_some();
        if let (true, Some(event_id), false) = (done.is_ok(), &self.subject.event, is_interrupted)
            && lines.is_empty()
        {
            let event_id = clean(event_id);
            return Err(RemoteError::NoRecord { event_id }.into());
        }
        if done.is_ok() || !lines.is_empty() {
            print(&self.report(&lines).text(self.json))?;
        }
        done.map_err(|source| RemoteError::Erase {
            done: lines.len(),
            total,
            applied: self.apply,
            source,
        })?;
        if is_interrupted && lines.len() < total {
            let done = format!(
                "{} of {total} records were looked at; run the command again",
                lines.len()
            );
            return Err(RemoteError::Interrupted { done }.into());
        }
        match lines.iter().filter(|line| line.verdict == Verdict::Kept).count() {
            0 => Ok(()),
            kept => Err(RemoteError::Kept { kept }.into()),
        }
    }

    /// The keys of the records, each once.
    async fn find(&self, store: &Store) -> Result<Vec<String>, Failure> {
        let of_table = |source| Failure::table(&self.table, source);
        let mut keys = match (&self.subject.session, &self.subject.event) {
            (Some(session), _) => find::of_session(store, session).await.map_err(of_table)?,
            (None, event) => event.iter().cloned().collect(),
        };
        if !self.skip_rejected {
            for key in find::rejected(store, self.subject.id()).await.map_err(of_table)? {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        Ok(keys)
    }

    /// Erases one record with `--apply`, and otherwise finds out what `--apply` would do. `None` if there is no record.
    async fn erase(&self, store: &Store, key: String) -> Result<Option<Line>, BoxError> {
        let Some(record) = store.get(&key).await? else {
            return Ok(None);
        };
        let now = Timestamp::now();
        let verdict = |verdict, time| Ok(Some(Line::new(&record, verdict, time)));
        if let Some(erased_at) = &record.erased_at {
            return verdict(Verdict::AlreadyErased, Some(erased_at.clone()));
        }
        if !self.despite_retention
            && let Some(until) = asked_until(&record).filter(|until| *until > now)
        {
            return verdict(Verdict::Kept, Some(until.to_string()));
        }
        if !self.apply {
            return verdict(Verdict::Erased, None);
        }
        match store.erase(&record, now).await? {
            Erasure::Erased => verdict(Verdict::Erased, Some(now.to_string())),
            Erasure::AlreadyErased(erased_at) => verdict(Verdict::AlreadyErased, Some(erased_at)),
            Erasure::Gone => Ok(None),
        }
    }

    fn report<'a>(&'a self, lines: &'a [Line]) -> ErasureReport<'a> {
        ErasureReport {
            session_id: self.subject.session.as_deref(),
            event_id: self.subject.event.as_deref(),
            applied: self.apply,
            rejected_searched: !self.skip_rejected,
            lines,
        }
    }
}

/// The time until which a record asks to be kept. `None` if it does not ask.
fn asked_until(record: &Record) -> Option<Timestamp> {
    let moment = |text: &str| match Timestamp::parse(text) {
        Some(Parsed::Moment(time)) => Some(time),
        _ => None,
    };
    match Event::parse(record.body.as_deref()?, 1.0) {
        Ok(event) => {
            let days = event.retention_days?;
            let received = moment(&record.received_at);
            let begin = received.max(event.occurred_at);
            // No record is kept beyond its expiry: DynamoDB deletes it.
            let asked = begin.map_or(record.expires_at, |begin| begin.plus_days(days));
            Some(asked.min(record.expires_at))
        }
        // Today's rules cannot read this accepted event, so the retention that it asks for is unknown. The record counts as
        // kept until it expires.
        Err(_) if record.outcome == Outcome::Accepted => Some(record.expires_at),
        Err(_) => None,
    }
}
