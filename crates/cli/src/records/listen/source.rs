//! The place of the events: a table, or a receiver with reads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use sonotheia_webhook::store::schema::SHARDS;
use sonotheia_webhook::store::{Filter, Outcome, Position, Record, Store, StoreError};
use sonotheia_webhook::timestamp::{Parsed, Timestamp};

use crate::client::encode;
use crate::failure::Failure;
use crate::records::listing::{Pages, Query};
use crate::records::reads::Reader;
use crate::records::seen::{LATE, Seen};
use crate::remote::RemoteError;

/// The number of shards, or of records, that are read at the same time.
const AT_ONCE: usize = 8;

/// The records in one call. A body has up to 350 KB, and DynamoDB returns 16 MB in a call.
pub const BATCH: usize = 8;

/// The pause before DynamoDB is asked for the rest of a batch again.
const PAUSE: Duration = Duration::from_millis(100);

/// The place of the events.
pub enum Source {
    /// A receiver with an address.
    Receiver(Reader),
    /// The table of a deployment.
    Table { store: Store, table: String },
}

/// An accepted event in a list, without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub event_id: String,
    pub event_type: String,
    pub received_at: Timestamp,
    pub is_erased: bool,
}

/// The events of a look.
#[derive(Debug, Default)]
pub struct Look {
    /// In order of receipt.
    pub events: Vec<Listed>,
    /// True if there are more events than the limit. Then only some of the newest events are here.
    pub is_cut: bool,
}

impl Source {
    /// The state of a listener that has settled nothing yet. Without `since` it begins with the events that come from now
    /// on, by the receiver's clock and not by this machine's.
    ///
    /// # Errors
    /// The place cannot be read.
    pub async fn begin(&self, since: Option<Timestamp>) -> Result<Seen, Failure> {
        let start = Timestamp::from_millis(0);
        if let Some(since) = since {
            return Ok(Seen::since(since.max(start)));
        }
        let mut seen = Seen::since(start);
        let now = Timestamp::now();
        let newest = self.look(start, None, |_| true, 1).await?;
        let Some(newest) = newest.events.last() else {
            return Ok(seen);
        };
        seen.pass(newest.received_at, now);
        let from = seen.newest().as_millis() - LATE.as_millis() as i64;
        let last = self
            .look(Timestamp::from_millis(from), None, |_| true, usize::MAX)
            .await?;
        for event in last.events {
            seen.settle(event.event_id, event.received_at, now);
        }
        Ok(seen)
    }

    /// Lists the accepted events from `from` to `to`, both inclusive, for which `is_new` holds. It gives up when there are
    /// more than `limit`.
    ///
    /// # Errors
    /// The place cannot be read.
    pub async fn look(
        &self,
        from: Timestamp,
        to: Option<Timestamp>,
        is_new: impl Fn(&str) -> bool,
        limit: usize,
    ) -> Result<Look, Failure> {
        let mut look = match self {
            Self::Receiver(reader) => of_receiver(reader, from, to, is_new, limit).await?,
            Self::Table { store, table } => {
                let look = of_table(store, from, to, is_new, limit).await;
                look.map_err(|source| Failure::table(table, source))?
            }
        };
        look.events
            .sort_by(|a, b| (a.received_at, &a.event_id).cmp(&(b.received_at, &b.event_id)));
        Ok(look)
    }

    /// Reads the bodies of at most [`BATCH`] events. An event that DynamoDB has deleted, or an operator has erased, is not
    /// in the answer.
    ///
    /// # Errors
    /// The place cannot be read.
    pub async fn bodies(&self, events: &[&Listed]) -> Result<HashMap<String, Bytes>, Failure> {
        match self {
            Self::Receiver(reader) => {
                let bodies = events.iter().map(|event| async move {
                    let body = body(reader, &event.event_id).await?;
                    Ok::<_, Failure>(body.map(|body| (event.event_id.clone(), body)))
                });
                let bodies = stream::iter(bodies).buffered(AT_ONCE);
                bodies
                    .try_filter_map(|body| async move { Ok(body) })
                    .try_collect()
                    .await
            }
            Self::Table { store, table } => {
                let bodies = bodies(store, events).await;
                bodies.map_err(|source| Failure::table(table, source))
            }
        }
    }
}

async fn of_receiver(
    reader: &Reader,
    from: Timestamp,
    to: Option<Timestamp>,
    is_new: impl Fn(&str) -> bool,
    limit: usize,
) -> Result<Look, Failure> {
    let query = Query {
        outcome: Some(Outcome::Accepted.as_str().to_owned()),
        from: Some(from),
        to,
        ..Query::default()
    };
    let mut look = Look::default();
    let mut pages = Pages::new(reader, &query, usize::MAX);
    while let Some(page) = pages.next().await? {
        for found in page {
            if !is_new(&found.row.event_id) {
                continue;
            }
            #[derive(Deserialize)]
            struct Erased {
                erased_at: Option<String>,
            }
            let erased: Erased = serde_json::from_str(found.raw.get()).map_err(|_| RemoteError::NotOurs)?;
            look.events.push(Listed {
                received_at: moment(&found.row.received_at).ok_or(RemoteError::NotOurs)?,
                event_id: found.row.event_id,
                event_type: found.row.event_type.unwrap_or_default(),
                is_erased: erased.erased_at.is_some(),
            });
        }
        if look.events.len() > limit {
            look.is_cut = true;
            break;
        }
    }
    Ok(look)
}

async fn of_table(
    store: &Store,
    from: Timestamp,
    to: Option<Timestamp>,
    is_new: impl Fn(&str) -> bool,
    limit: usize,
) -> Result<Look, StoreError> {
    let filter = Filter {
        outcome: Some(Outcome::Accepted),
        from: Some(from),
        to,
        ..Filter::default()
    };
    let ((_, until), now) = (filter.bounds(), Timestamp::now());
    let count = AtomicUsize::new(0);
    let shards = (0..SHARDS).map(|shard| {
        let (filter, until, count, is_new) = (&filter, &until, &count, &is_new);
        async move {
            let mut events = Vec::new();
            let mut start = None;
            loop {
                if count.load(Ordering::Relaxed) > limit {
                    return Ok::<_, StoreError>((events, true));
                }
                let page = store.by_time(shard, filter, until, 100, start, now).await?;
                let new = page.records.into_iter().filter(|record| is_new(&record.event_id));
                let before = events.len();
                events.extend(new.filter_map(listed));
                count.fetch_add(events.len() - before, Ordering::Relaxed);
                start = page.next;
                if start.is_none() {
                    return Ok((events, false));
                }
            }
        }
    });
    let shards: Vec<_> = stream::iter(shards).buffered(AT_ONCE).try_collect().await?;
    let mut look = Look::default();
    for (events, is_cut) in shards {
        look.events.extend(events);
        look.is_cut |= is_cut;
    }
    Ok(look)
}

fn listed(record: Record) -> Option<Listed> {
    Some(Listed {
        received_at: moment(&record.received_at)?,
        event_id: record.event_id,
        event_type: record.event_type.unwrap_or_default(),
        is_erased: record.erased_at.is_some(),
    })
}

fn moment(text: &str) -> Option<Timestamp> {
    match Timestamp::parse(text) {
        Some(Parsed::Moment(time)) => Some(time),
        _ => None,
    }
}

/// Reads one body from a receiver.
async fn body(reader: &Reader, event_id: &str) -> Result<Option<Bytes>, Failure> {
    #[derive(Deserialize)]
    struct Whole {
        body: Option<String>,
        body_base64: Option<String>,
    }
    let path = format!("/events/{}?include=body", encode(event_id));
    let Some(answer) = reader.get(&path).await? else {
        return Ok(None);
    };
    let whole: Whole = serde_json::from_slice(&answer).map_err(|_| RemoteError::NotOurs)?;
    Ok(match (whole.body, whole.body_base64) {
        (Some(text), _) => Some(text.into()),
        (None, Some(base64)) => Some(STANDARD.decode(base64).map_err(|_| RemoteError::NotOurs)?.into()),
        (None, None) => None,
    })
}

/// Reads bodies from the table.
async fn bodies(store: &Store, events: &[&Listed]) -> Result<HashMap<String, Bytes>, StoreError> {
    let place = |event: &&Listed| Position {
        received_at: event.received_at.to_string(),
        event_id: event.event_id.clone(),
    };
    let mut left: Vec<_> = events.iter().map(place).collect();
    let mut bodies = HashMap::new();
    loop {
        let mut records = store.records(&left).await?;
        for place in &left {
            if let Some(body) = records.take(&place.event_id).and_then(|record| record.body) {
                bodies.insert(place.event_id.clone(), body.into());
            }
        }
        left.retain(|place| records.is_unprocessed(&place.event_id));
        if left.is_empty() {
            return Ok(bodies);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
