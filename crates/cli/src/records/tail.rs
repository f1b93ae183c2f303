//! `tail`: the newest records, oldest first, and then the records that come.

use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use sonotheia_webhook::timestamp::{Parsed, Timestamp};

use super::listing::{Found, Listing, Query};
use super::reads::{Place, Reader};
use super::results::document;
use super::seen::Seen;
use crate::args::{note, print};
use crate::event_type;
use crate::failure::Failure;
use crate::interrupt;
use crate::remote::RemoteError;
use crate::show::{Row, Table, safe_json};

/// The number of times in a row that the receiver may fail to answer.
const MAX_FAILURES: u32 = 5;

/// Show the newest records, and with --follow the records that come
#[derive(Args)]
pub struct Tail {
    #[command(flatten)]
    place: Place,
    /// The number of records to begin with
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    lines: u32,
    /// Go on with the records that come, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Seconds between two reads
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=3600), requires = "follow")]
    interval: u16,
    /// Only this type. Records can have types that the receiver does not know
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only accepted or only rejected records
    #[arg(long, value_parser = PossibleValuesParser::new(["accepted", "rejected"]))]
    outcome: Option<String>,
    /// Only records with an alert
    #[arg(long)]
    alerts: bool,
    /// Print one JSON document; with --follow, one line of JSON for each record
    #[arg(long)]
    json: bool,
}

impl Tail {
    /// Prints the newest records, and with `--follow` the new ones until Ctrl-C, or until the reader of the output is gone.
    pub fn run(self) -> Result<(), Failure> {
        event_type::note_unknown(self.event_type.as_deref());
        interrupt::run(interrupt::while_read(self.show()))
    }

    async fn show(&self) -> Result<(), Failure> {
        let stop = interrupt::stop()?;
        let mut shown = 0;
        tokio::select! {
            done = self.read(&mut shown) => return done,
            () = stop => {}
        }
        if self.follow {
            // Ctrl-C is the usual end of --follow.
            note(&format!("{shown} records were shown"));
            return Ok(());
        }
        let done = format!("{shown} records were shown; run the command again");
        Err(RemoteError::Interrupted { done }.into())
    }

    /// Shows the records, and counts them.
    async fn read(&self, shown: &mut usize) -> Result<(), Failure> {
        let reader = self.place.open().await?;
        let query = Query {
            event_type: self.event_type.clone(),
            outcome: self.outcome.clone(),
            alerts: self.alerts,
            ..Query::default()
        };
        // This look comes first, so that a record that arrives between the two looks counts as new.
        let seen = if self.follow {
            Some(settle_all(&reader).await?)
        } else {
            None
        };
        let mut listing = match self.lines {
            0 => Listing::default(),
            lines => reader.list(&query, lines as usize).await?,
        };
        listing.found.reverse();
        if self.json && !self.follow {
            return print(&document(&listing)?);
        }
        let mut out = Out {
            json: self.json,
            table: Table::of(listing.found.iter().map(|found| &found.row)),
        };
        out.begin()?;
        for found in &listing.found {
            out.record(found)?;
            *shown += 1;
        }
        match seen {
            Some(mut seen) => {
                for found in &listing.found {
                    settle(&mut seen, &found.row);
                }
                self.follow(&reader, seen, out, shown).await
            }
            None => Ok(()),
        }
    }

    async fn follow(
        &self,
        reader: &Reader,
        mut seen: Seen,
        mut out: Out,
        shown: &mut usize,
    ) -> Result<(), Failure> {
        let interval = Duration::from_secs(self.interval.into());
        let mut failures = 0;
        loop {
            tokio::time::sleep(interval).await;
            match since(reader, &seen).await {
                Ok(listing) => {
                    failures = 0;
                    for found in listing.found.iter().rev() {
                        if settle(&mut seen, &found.row) && self.wants(&found.row) {
                            out.record(found)?;
                            *shown += 1;
                        }
                    }
                    seen.forget();
                }
                Err(failure) => {
                    failures += 1;
                    if failures == MAX_FAILURES {
                        return Err(failure);
                    }
                    note(&format!("no records for now: {failure}"));
                }
            }
        }
    }

    /// Returns true if the options ask for this record. A look at the new records asks for all of them, so that the next
    /// look begins at the newest record of any kind.
    fn wants(&self, row: &Row) -> bool {
        let is = |wanted: &Option<String>, is: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| is == Some(wanted))
        };
        is(&self.event_type, row.event_type.as_deref())
            && is(&self.outcome, Some(&row.outcome))
            && (!self.alerts || row.alert.is_some())
    }
}

/// Lines, for people or programs.
struct Out {
    json: bool,
    table: Table,
}

impl Out {
    fn begin(&self) -> Result<(), Failure> {
        if self.json {
            Ok(())
        } else {
            print(&self.table.head())
        }
    }

    fn record(&mut self, found: &Found) -> Result<(), Failure> {
        if self.json {
            print(&format!("{}\n", safe_json(found.raw.get())))
        } else {
            print(&self.table.row(&found.row))
        }
    }
}

/// Settles all records up to now, those of the last minute by their ids.
async fn settle_all(reader: &Reader) -> Result<Seen, Failure> {
    let mut seen = Seen::since(Timestamp::from_millis(0));
    for found in reader.list(&Query::default(), 1).await?.found {
        settle(&mut seen, &found.row);
    }
    for found in since(reader, &seen).await?.found.iter().rev() {
        settle(&mut seen, &found.row);
    }
    Ok(seen)
}

/// All records since the place where the next look begins, newest first.
async fn since(reader: &Reader, seen: &Seen) -> Result<Listing, Failure> {
    let query = Query {
        from: Some(seen.from()),
        ..Query::default()
    };
    reader.list(&query, usize::MAX).await
}

/// Settles a record. Returns true if it is new.
fn settle(seen: &mut Seen, row: &Row) -> bool {
    let is_new = seen.is_new(&row.event_id);
    let now = Timestamp::now();
    let received_at = match Timestamp::parse(&row.received_at) {
        Some(Parsed::Moment(time)) => time,
        _ => now,
    };
    seen.settle(row.event_id.clone(), received_at, now);
    is_new
}
