//! Lists of records, page by page, newest first.

use serde::Deserialize;
use serde_json::value::RawValue;
use sonotheia_webhook::timestamp::Timestamp;

use super::reads::Reader;
use crate::client::encode;
use crate::failure::Failure;
use crate::remote::RemoteError;
use crate::show::Row;

/// The most records that a page holds.
pub const MAX_PAGE: usize = 100;

/// The records that a list should have.
#[derive(Clone, Default)]
pub struct Query {
    pub session: Option<String>,
    pub event_type: Option<String>,
    pub outcome: Option<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// Only records with an alert. The receiver has no such parameter, so the command leaves out the other records.
    pub alerts: bool,
}

impl Query {
    /// The query's parameters, to the place where the next parameter follows.
    fn parameters(&self) -> String {
        let parameters = [
            ("type", self.event_type.clone()),
            ("outcome", self.outcome.clone()),
            ("from", self.from.map(|time| time.to_string())),
            ("to", self.to.map(|time| time.to_string())),
        ];
        let set = parameters
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}&", encode(&value?))));
        set.collect()
    }
}

/// A record: the members that a line shows, and the whole as the receiver answered it.
pub struct Found {
    pub row: Row,
    pub raw: Box<RawValue>,
}

/// Records, newest first.
#[derive(Default)]
pub struct Listing {
    pub found: Vec<Found>,
    /// True if there may be more records behind these.
    pub more: bool,
}

/// A list in progress.
pub struct Pages<'a> {
    reader: &'a Reader,
    query: &'a Query,
    cursor: Option<String>,
    left: usize,
    is_done: bool,
    /// True if there may be more records behind those of the pages so far.
    pub more: bool,
}

#[derive(Deserialize)]
struct Page {
    results: Vec<Box<RawValue>>,
    next: Option<String>,
}

impl<'a> Pages<'a> {
    /// The list of a query, of at most `limit` records.
    pub fn new(reader: &'a Reader, query: &'a Query, limit: usize) -> Self {
        Self {
            reader,
            query,
            cursor: None,
            left: limit,
            is_done: limit == 0,
            more: false,
        }
    }

    /// Reads the next page, which may have no records. `None` at the end.
    ///
    /// # Errors
    /// As [`Reader::all`], and a page that is not the receiver's.
    pub async fn next(&mut self) -> Result<Option<Vec<Found>>, Failure> {
        if self.is_done {
            return Ok(None);
        }
        let Some(body) = self.ask().await? else {
            self.is_done = true;
            return Ok(None);
        };
        let page: Page = serde_json::from_slice(&body).map_err(|_| RemoteError::NotOurs)?;
        if page.next.is_some() && page.next == self.cursor {
            return Err(RemoteError::Endless.into());
        }
        let mut found = Vec::with_capacity(page.results.len());
        for raw in page.results {
            let row: Row = serde_json::from_str(raw.get()).map_err(|_| RemoteError::NotOurs)?;
            if !self.query.alerts || row.alert.is_some() {
                found.push(Found { row, raw });
            }
        }
        self.more = page.next.is_some() || found.len() > self.left;
        found.truncate(self.left);
        self.left -= found.len();
        self.is_done = page.next.is_none() || self.left == 0;
        self.cursor = page.next;
        Ok(Some(found))
    }

    async fn ask(&self) -> Result<Option<Vec<u8>>, Failure> {
        // Any number of a page's records may have an alert.
        let size = if self.query.alerts {
            MAX_PAGE
        } else {
            self.left.min(MAX_PAGE)
        };
        let mut rest = format!("limit={size}");
        if let Some(cursor) = &self.cursor {
            rest.push_str(&format!("&cursor={}", encode(cursor)));
        }
        match &self.query.session {
            Some(session) => {
                self.reader
                    .get(&format!("/results/{}?{rest}", encode(session)))
                    .await
            }
            None => {
                let query = self.query.parameters() + &rest;
                self.reader.all(&query).await.map(Some)
            }
        }
    }
}

impl Reader {
    /// Reads a list to its end, or to `limit` records.
    ///
    /// # Errors
    /// As [`Pages::next`], for any page. The caller then gets no records.
    pub async fn list(&self, query: &Query, limit: usize) -> Result<Listing, Failure> {
        let mut pages = Pages::new(self, query, limit);
        let mut listing = Listing::default();
        while let Some(found) = pages.next().await? {
            listing.found.extend(found);
        }
        listing.more = pages.more;
        Ok(listing)
    }
}
