//! The bounded reads: a page of a session, and a page of a shard (contract, section 3).

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};

use super::record::{Item, Outcome, Record, text};
use super::schema::{BY_SESSION, BY_TIME, EVENT_ID, RECEIVED_AT, SESSION_ID, SHARD, TYPE, shard_name};
use super::{Store, StoreError};
use crate::timestamp::Timestamp;

/// The place in an index where a page ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The last record's time of receipt, as stored.
    pub received_at: String,
    /// The last record's key.
    pub event_id: String,
}

/// A page of an index, newest first.
#[derive(Debug)]
pub struct Page {
    /// The records.
    pub records: Vec<Record>,
    /// The place where the next page starts. `None` at the end.
    pub next: Option<Position>,
}

/// The records that a query over all of them should return.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only this type.
    pub event_type: Option<String>,
    /// Only this outcome.
    pub outcome: Option<Outcome>,
    /// Received at or after.
    pub from: Option<Timestamp>,
    /// Received at or before.
    pub to: Option<Timestamp>,
}

impl Filter {
    /// The bounds of the attribute `received_at`, both inclusive.
    pub fn bounds(&self) -> (String, String) {
        let bound =
            |time: Option<Timestamp>, open: &str| time.map_or(open.to_owned(), |time| time.to_string());
        (bound(self.from, "0"), bound(self.to, "9999-12-31T23:59:59.999Z"))
    }
}

impl Store {
    /// Returns the places of a session's records, newest first, without the records that have expired at `now`, and the
    /// place where the next page starts.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn by_session(
        &self,
        session_id: &str,
        limit: u8,
        start: Option<Position>,
        now: Timestamp,
    ) -> Result<(Vec<Position>, Option<Position>), StoreError> {
        let session = AttributeValue::S(session_id.to_owned());
        let start = start.map(|position| position.into_key(SESSION_ID, session.clone()));
        let query = self
            .newest_first(BY_SESSION, limit, start, now)
            .key_condition_expression("session_id = :session")
            .filter_expression("expires_at > :now")
            .expression_attribute_values(":session", session);
        let (items, next) = run(query).await?;
        let places = items.iter().map(Position::try_from).collect::<Result<_, _>>()?;
        Ok((places, next))
    }

    /// Returns a page of a shard's records without their bodies, newest first, without the records that have expired at
    /// `now`. `until` is the newest time of receipt on the page.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn by_time(
        &self,
        shard: u8,
        filter: &Filter,
        until: &str,
        limit: u8,
        start: Option<Position>,
        now: Timestamp,
    ) -> Result<Page, StoreError> {
        let shard = AttributeValue::S(shard_name(shard));
        let (from, _) = filter.bounds();
        // No record of the page is newer than the start, and BETWEEN includes its bounds. Without this bound, the embedded DynamoDB
        // would read all records between `until` and the start again for each page.
        let until = start
            .as_ref()
            .map_or(until, |start| until.min(&start.received_at))
            .to_owned();
        let start = start.map(|position| position.into_key(SHARD, shard.clone()));
        let mut conditions = vec!["expires_at > :now"];
        let mut query = self
            .newest_first(BY_TIME, limit, start, now)
            .key_condition_expression("#shard = :shard AND received_at BETWEEN :from AND :until")
            .expression_attribute_names("#shard", SHARD)
            .expression_attribute_values(":shard", shard)
            .expression_attribute_values(":from", AttributeValue::S(from))
            .expression_attribute_values(":until", AttributeValue::S(until));
        if let Some(event_type) = &filter.event_type {
            conditions.push("#type = :type");
            query = query
                .expression_attribute_names("#type", TYPE)
                .expression_attribute_values(":type", AttributeValue::S(event_type.clone()));
        }
        if let Some(outcome) = filter.outcome {
            conditions.push("outcome = :outcome");
            query =
                query.expression_attribute_values(":outcome", AttributeValue::S(outcome.as_str().to_owned()));
        }
        let query = query.filter_expression(conditions.join(" AND "));
        let (items, next) = run(query).await?;
        let records = items.into_iter().filter_map(own_record).collect();
        Ok(Page { records, next })
    }

    fn newest_first(
        &self,
        index: &str,
        limit: u8,
        start: Option<HashMap<String, AttributeValue>>,
        now: Timestamp,
    ) -> QueryFluentBuilder {
        let now = AttributeValue::N(now.as_seconds_rounded_down().to_string());
        self.client
            .query()
            .table_name(&self.table)
            .index_name(index)
            .limit(limit.into())
            .scan_index_forward(false)
            .set_exclusive_start_key(start)
            .expression_attribute_values(":now", now)
    }

    /// Reads the records at these places with their bodies, in one call. An item can have 400 KB, so the caller chooses a
    /// number of places that DynamoDB returns in time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn records(&self, places: &[Position]) -> Result<Records, StoreError> {
        // With an eventually consistent read, a replica that lags behind the index would make the page skip records.
        let mut keys = KeysAndAttributes::builder().consistent_read(true);
        for Position { event_id, .. } in places {
            let id = AttributeValue::S(event_id.clone());
            keys = keys.keys(HashMap::from([(EVENT_ID.to_owned(), id)]));
        }
        let Ok(keys) = keys.build() else {
            return Ok(Records::default());
        };
        let request = self.client.batch_get_item().request_items(&self.table, keys);
        let output = request.send().await.map_err(StoreError::of("BatchGetItem"))?;

        let mut records = Records::default();
        let items = output.responses.into_iter().flatten();
        for record in items.flat_map(|(_, items)| items).filter_map(own_record) {
            records.found.insert(record.event_id.clone(), record);
        }
        let unprocessed = output.unprocessed_keys.into_iter().flatten();
        for key in unprocessed.flat_map(|(_, unprocessed)| unprocessed.keys) {
            records.unprocessed.push(text(&key, EVENT_ID)?.to_owned());
        }
        Ok(records)
    }
}

/// The answer to [`Store::records`].
#[derive(Debug, Default)]
pub struct Records {
    found: HashMap<String, Record>,
    unprocessed: Vec<String>,
}

impl Records {
    /// Takes a record. `None` if DynamoDB has deleted the record that the index still lists, or if another program wrote
    /// the item.
    pub fn take(&mut self, event_id: &str) -> Option<Record> {
        self.found.remove(event_id)
    }

    /// Returns true if DynamoDB left this key for another call.
    pub fn is_unprocessed(&self, event_id: &str) -> bool {
        self.unprocessed.iter().any(|key| key == event_id)
    }
}

/// Runs a query: the items of its page, and the place where the next page starts.
async fn run(query: QueryFluentBuilder) -> Result<(Vec<Item>, Option<Position>), StoreError> {
    let output = query.send().await.map_err(StoreError::of("Query"))?;
    let next = output.last_evaluated_key().map(Position::try_from).transpose()?;
    Ok((output.items.unwrap_or_default(), next))
}

/// Reads an item of a list. The list leaves out an item that this program did not write, and the log names it.
fn own_record(item: Item) -> Option<Record> {
    let event_id = text(&item, EVENT_ID).map(str::to_owned).unwrap_or_default();
    Record::try_from(item)
        .inspect_err(|error| tracing::warn!(event_id, %error, "a list leaves out an item that is not a record of this receiver"))
        .ok()
}

impl Position {
    fn into_key(self, partition_key: &str, partition: AttributeValue) -> Item {
        HashMap::from([
            (partition_key.to_owned(), partition),
            (RECEIVED_AT.to_owned(), AttributeValue::S(self.received_at)),
            (EVENT_ID.to_owned(), AttributeValue::S(self.event_id)),
        ])
    }
}

impl TryFrom<&Item> for Position {
    type Error = StoreError;

    fn try_from(item: &Item) -> Result<Self, StoreError> {
        Ok(Self {
            received_at: text(item, RECEIVED_AT)?.to_owned(),
            event_id: text(item, EVENT_ID)?.to_owned(),
        })
    }
}
