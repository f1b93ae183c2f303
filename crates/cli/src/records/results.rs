//! `results`: the stored records.

use clap::Args;
use clap::builder::PossibleValuesParser;
use indicatif::ProgressBar;
use serde_json::value::RawValue;
use sonotheia_webhook::timestamp::Timestamp;

use super::listing::{Found, Listing, Pages, Query};
use super::reads::{Place, Reader};
use super::{prefix, times};
use crate::args::{note, print, usage};
use crate::event_type;
use crate::failure::Failure;
use crate::interrupt;
use crate::remote::RemoteError;
use crate::show::{Table, safe_json};

/// Show records, newest first; with a session's id, the records of this session
#[derive(Args)]
pub struct Results {
    #[command(flatten)]
    place: Place,
    /// Only this session's accepted events. The id may be a unique prefix of an id among the newest 2,000 records
    #[arg(conflicts_with_all = ["event_type", "outcome", "from", "to"])]
    session: Option<String>,
    /// Only this type. Records can have types that the receiver does not know
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only accepted or only rejected records
    #[arg(long, value_parser = PossibleValuesParser::new(["accepted", "rejected"]))]
    outcome: Option<String>,
    /// Only records with an alert
    #[arg(long)]
    alerts: bool,
    /// Received at or after this time: 2026-01-21T12:00:00Z, 2026-01-21 (UTC), or 15m, 2h, 7d before now
    #[arg(long, value_name = "TIME", value_parser = times::from)]
    from: Option<Timestamp>,
    /// Received at or before this time; a date counts to its end
    #[arg(long, value_name = "TIME", value_parser = times::to)]
    to: Option<Timestamp>,
    /// The most records to show
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Show all records, page by page
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Print one JSON document, at the end: {"count", "results", "more"}
    #[arg(long)]
    json: bool,
}

impl Results {
    /// Prints the records. A list that could not be read to its end is a failure.
    pub fn run(self) -> Result<(), Failure> {
        if self.from.zip(self.to).is_some_and(|(from, to)| from > to) {
            usage("--from is after --to");
        }
        if self.session.as_deref() == Some("") {
            usage("a session's id is not empty");
        }
        event_type::note_unknown(self.event_type.as_deref());
        interrupt::run(interrupt::while_read(self.show()))
    }

    async fn show(self) -> Result<(), Failure> {
        let stop = interrupt::stop()?;
        let mut query = Query {
            session: self.session.clone(),
            event_type: self.event_type.clone(),
            outcome: self.outcome.clone(),
            from: self.from,
            to: self.to,
            alerts: self.alerts,
        };
        let limit = if self.all { usize::MAX } else { self.limit as usize };
        let mut output = Output::new(self.json);
        let shown = async {
            let reader = self.place.open().await?;
            if !self.pages(&reader, &query, limit, &mut output).await?
                && let Some(session) = &self.session
                && let Some(whole) = prefix::find(&reader, session, |row| row.session_id.as_deref()).await?
            {
                query.session = Some(whole);
                self.pages(&reader, &query, limit, &mut output).await?;
            }
            Ok(())
        };
        let shown = tokio::select! {
            shown = shown => Some(shown),
            () = stop => None,
        };
        match shown {
            Some(shown) => shown.and_then(|()| output.end()),
            None => Err(output.interrupted()),
        }
    }

    /// Reads a list to its end. Returns false if the receiver knows no such session.
    async fn pages(
        &self,
        reader: &Reader,
        query: &Query,
        limit: usize,
        output: &mut Output,
    ) -> Result<bool, Failure> {
        let mut pages = Pages::new(reader, query, limit);
        let mut is_known = false;
        loop {
            let page = match pages.next().await {
                Ok(page) => page,
                Err(source) => return Err(output.cut(source)),
            };
            output.listing.more = pages.more;
            match page {
                Some(page) => {
                    is_known = true;
                    output.page(page)?;
                }
                None => return Ok(is_known),
            }
        }
    }
}

/// The output of a list: lines as the pages come, or one document at the end.
struct Output {
    is_json: bool,
    count: usize,
    table: Option<Table>,
    /// The records of the document. Empty for lines.
    listing: Listing,
    progress: ProgressBar,
}

impl Output {
    fn new(is_json: bool) -> Self {
        // The bar shows itself on a terminal only.
        let progress = if is_json {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        Self {
            is_json,
            count: 0,
            table: None,
            listing: Listing::default(),
            progress,
        }
    }

    fn page(&mut self, page: Vec<Found>) -> Result<(), Failure> {
        self.count += page.len();
        if self.is_json {
            self.listing.found.extend(page);
            self.progress.set_message(format!("{} records", self.count));
            self.progress.tick();
            return Ok(());
        }
        if page.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        let table = self.table.get_or_insert_with(|| {
            let table = Table::of(page.iter().map(|found| &found.row));
            text = table.head();
            table
        });
        for found in &page {
            text.push_str(&table.row(&found.row));
        }
        print(&text)
    }

    fn end(self) -> Result<(), Failure> {
        self.progress.finish_and_clear();
        if self.is_json {
            return print(&document(&self.listing)?);
        }
        if self.count == 0 {
            return print("No records.\n");
        }
        if self.listing.more {
            note("There are more records: --limit N or --all shows them.");
        }
        Ok(())
    }

    fn cut(&self, source: Failure) -> Failure {
        self.progress.finish_and_clear();
        if self.count == 0 || self.is_json {
            return source;
        }
        RemoteError::Cut {
            shown: self.count,
            source: source.into(),
        }
        .into()
    }

    fn interrupted(&self) -> Failure {
        self.progress.finish_and_clear();
        let done = if self.is_json {
            format!("{} records were read, and no document was printed", self.count)
        } else {
            format!("{} records were shown, and there may be more", self.count)
        };
        RemoteError::Interrupted { done }.into()
    }
}

/// A list as one JSON document, each record as the receiver answered it.
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
    let text = serde_json::to_string(&document).map_err(|_| RemoteError::NotOurs)?;
    Ok(safe_json(&text) + "\n")
}
