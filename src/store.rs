//! The record: one conditional write, and the bounded reads (contract, sections 3 and 4).
//! The only file that names DynamoDB attributes.
//!
//! [`Store::put`] is the whole of the receiver's idempotency. The item is written where no item has
//! its key; where one has, DynamoDB hands it back with the refusal, and a look at it tells what the
//! delivery was. No read goes before it and no second write after it, so there is no moment at which
//! an event is claimed and not stored.

use std::collections::HashMap;
use std::error::Error;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
    KeysAndAttributes, Projection, ProjectionType, ReturnValuesOnConditionCheckFailure, ScalarAttributeType,
    StreamSpecification, StreamViewType, TimeToLiveSpecification,
};

use crate::cause::CallError;
use crate::event::{Alert, Event, Problem};
use crate::timestamp::Timestamp;

const EVENT_ID: &str = "event_id";
const TYPE: &str = "type";
const SESSION_ID: &str = "session_id";
const OCCURRED_AT: &str = "occurred_at";
const RECEIVED_AT: &str = "received_at";
const EXPIRES_AT: &str = "expires_at";
const OUTCOME: &str = "outcome";
const REASON: &str = "reason";
const PROBLEMS: &str = "problems";
const ALERT: &str = "alert";
const BODY: &str = "body";
const CONTENT_HASH: &str = "hash";
const DELIVERY_TOKEN: &str = "delivery_token";
const SHARD: &str = "shard";

const BATCH_GET: &str = "BatchGetItem";

const BY_SESSION: &str = "by_session";
const BY_TIME: &str = "by_time";

/// How many partitions the index over all records is spread over. DynamoDB gives each 1,000 write
/// units a second ("Best practices for designing and using partition keys effectively").
pub const SHARDS: u8 = 16;

/// A table's index: name, partition key, sort key, and what is copied into it besides keys.
pub struct Index {
    /// The index's name.
    pub name: &'static str,
    /// Its partition key, a string.
    pub partition_key: &'static str,
    /// Its sort key, a string.
    pub sort_key: &'static str,
    /// The attributes projected. Never the body: it is stored, and paid for, once.
    pub includes: &'static [&'static str],
}

/// The table's partition key, a string.
pub const TABLE_KEY: &str = EVENT_ID;

/// The attribute by which DynamoDB deletes, in epoch seconds.
pub const TTL_ATTRIBUTE: &str = EXPIRES_AT;

/// The table's indexes. The template's are held equal to these by a test.
pub const INDEXES: [Index; 2] = [
    Index {
        name: BY_SESSION,
        partition_key: SESSION_ID,
        sort_key: RECEIVED_AT,
        includes: &[EXPIRES_AT],
    },
    Index {
        name: BY_TIME,
        partition_key: SHARD,
        sort_key: RECEIVED_AT,
        includes: &[
            TYPE,
            SESSION_ID,
            OCCURRED_AT,
            EXPIRES_AT,
            OUTCOME,
            REASON,
            PROBLEMS,
            ALERT,
        ],
    },
];

/// Whether a record is an event, or something signed that was not taken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An event.
    Accepted,
    /// Kept for a person to look at.
    Rejected,
}

impl Outcome {
    /// The contract's name for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
        }
    }

    /// The outcome of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Accepted, Self::Rejected]
            .into_iter()
            .find(|outcome| outcome.as_str() == name)
    }
}

/// 16 random bytes, new for each invocation: by them a write whose answer was lost knows itself again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryToken([u8; 16]);

impl DeliveryToken {
    /// A new one.
    ///
    /// # Errors
    /// The operating system's, where it has no randomness to give.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }
}

/// A record to be written.
#[derive(Debug)]
pub struct NewRecord<'a> {
    /// The key: the sender's id, `sha256:…` or `rejected:sha256:…`.
    pub event_id: &'a str,
    /// What it is.
    pub outcome: Outcome,
    /// Why it was rejected: the answer's code.
    pub reason: Option<&'static str>,
    /// The event, where the body is one.
    pub event: Option<&'a Event<'a>>,
    /// What is wrong with it.
    pub problems: &'a [Problem],
    /// The body, verbatim.
    pub body: &'a [u8],
    /// When it came.
    pub received_at: Timestamp,
    /// When it may be deleted.
    pub expires_at: Timestamp,
    /// This invocation's.
    pub token: DeliveryToken,
}

impl NewRecord<'_> {
    fn into_item(self) -> HashMap<String, AttributeValue> {
        let mut item = HashMap::with_capacity(14);
        let mut put = |name: &str, value| item.insert(name.to_owned(), value);
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let bytes = |bytes: &[u8]| AttributeValue::B(Blob::new(bytes));

        put(EVENT_ID, text(self.event_id));
        put(OUTCOME, text(self.outcome.as_str()));
        put(RECEIVED_AT, AttributeValue::S(self.received_at.to_string()));
        put(
            EXPIRES_AT,
            AttributeValue::N(self.expires_at.as_seconds_rounded_up().to_string()),
        );
        put(SHARD, AttributeValue::S(shard_name(self.token.0[0] % SHARDS)));
        put(DELIVERY_TOKEN, bytes(&self.token.0));
        // A string where it can be one, so that the stream's readers get it as it was sent.
        put(
            BODY,
            std::str::from_utf8(self.body).map_or_else(|_| bytes(self.body), text),
        );
        if let Some(reason) = self.reason {
            put(REASON, text(reason));
        }
        if let Ok(problems) = serde_json::to_string(self.problems)
            && !self.problems.is_empty()
        {
            put(PROBLEMS, AttributeValue::S(problems));
        }
        if let Some(event) = self.event {
            put(TYPE, text(&event.event_type));
            put(CONTENT_HASH, bytes(&event.content_hash));
            if let Some(time) = event.occurred_at {
                put(OCCURRED_AT, AttributeValue::S(time.to_string()));
            }
            // Who asks for a session's results wants what was accepted: a rejected record has no
            // place in that index, and raises no alert.
            if self.outcome == Outcome::Accepted {
                if let Some(session) = &event.session_id {
                    put(SESSION_ID, text(session));
                }
                if let Some(alert) = event.alert {
                    put(ALERT, text(Alert::as_str(alert)));
                }
            }
        }
        item
    }
}

fn shard_name(shard: u8) -> String {
    shard.to_string()
}

/// What a write found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// The record is new, and acknowledged.
    Stored,
    /// It was there, with the same type and data.
    Duplicate,
    /// It was there, with other type or data.
    Conflict,
}

/// A record as it is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The key.
    pub event_id: String,
    /// What it is.
    pub outcome: Outcome,
    /// Why it was rejected.
    pub reason: Option<String>,
    /// The event's type.
    pub event_type: Option<String>,
    /// The session it belongs to.
    pub session_id: Option<String>,
    /// The signed time, RFC 3339.
    pub occurred_at: Option<String>,
    /// When it came, RFC 3339.
    pub received_at: String,
    /// When it may be deleted.
    pub expires_at: Timestamp,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
    /// Why a person should look.
    pub alert: Option<String>,
    /// The body, verbatim; none where the index doesn't hold it.
    pub body: Option<Vec<u8>>,
}

/// Where a page of an index ended.
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
    /// Where the next page starts; none at the end.
    pub next: Option<Position>,
}

/// Which records a query over all of them wants.
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
    /// The bounds of `received_at`, as stored.
    pub fn bounds(&self) -> (String, String) {
        let bound =
            |time: Option<Timestamp>, open: &str| time.map_or(open.to_owned(), |time| time.to_string());
        (bound(self.from, "0"), bound(self.to, "9999-12-31T23:59:59.999Z"))
    }
}

/// DynamoDB did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It failed, refused, throttled or was slow: worth another try.
    #[error("DynamoDB: {operation} failed")]
    Unavailable {
        /// The operation.
        operation: &'static str,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// It does not understand the request: a defect of ours.
    #[error("DynamoDB: {operation} was not understood")]
    Misunderstood {
        /// The operation.
        operation: &'static str,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A record that this program did not write.
    #[error("the record has no usable attribute `{attribute}`")]
    Foreign {
        /// The attribute.
        attribute: &'static str,
    },
}

impl StoreError {
    fn of<E>(operation: &'static str) -> impl FnOnce(SdkError<E>) -> Self
    where
        E: Error + Send + Sync + 'static + ProvideErrorMetadata,
    {
        move |error| {
            let ours = matches!(error, SdkError::ConstructionFailure(_))
                || error.code() == Some("ValidationException");
            let source = CallError::from(error).into();
            if ours {
                Self::Misunderstood { operation, source }
            } else {
                Self::Unavailable { operation, source }
            }
        }
    }

    /// Whether another try may do.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// The table.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    table: String,
}

impl Store {
    /// The table of that name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        let table = table.into();
        Self { client, table }
    }

    /// Opens the connection ahead of the first delivery, with the cheapest read there is.
    ///
    /// # Errors
    /// [`StoreError`], which is worth a warning and no more.
    pub async fn prefetch(&self) -> Result<(), StoreError> {
        self.get("rejected:").await.map(drop)
    }

    /// The one conditional write.
    ///
    /// # Errors
    /// [`StoreError`]; whether the record is stored is then not known.
    pub async fn put(&self, record: NewRecord<'_>) -> Result<PutOutcome, StoreError> {
        const PUT: &str = "PutItem";
        let token = record.token;
        let content_hash = record.event.map(|event| event.content_hash);
        let sent = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(record.into_item()))
            .condition_expression("attribute_not_exists(event_id)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = sent else {
            return Ok(PutOutcome::Stored);
        };
        let Some(PutItemError::ConditionalCheckFailedException(refusal)) = error.as_service_error() else {
            return Err(StoreError::of(PUT)(error));
        };
        let there = refusal
            .item()
            .ok_or(StoreError::Foreign { attribute: EVENT_ID })?;
        let is = |attribute, bytes: &[u8]| {
            let value: Option<&AttributeValue> = there.get(attribute);
            value
                .and_then(|value| value.as_b().ok())
                .is_some_and(|b| b.as_ref() == bytes)
        };
        // The SDK sent it twice, and the first one landed.
        if is(DELIVERY_TOKEN, &token.0) {
            return Ok(PutOutcome::Stored);
        }
        Ok(match content_hash {
            Some(hash) if !is(CONTENT_HASH, &hash) => PutOutcome::Conflict,
            _ => PutOutcome::Duplicate,
        })
    }

    /// One record, expired or not; none where there is none. A strongly consistent read: what is
    /// acknowledged is there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, event_id: &str) -> Result<Option<Record>, StoreError> {
        let request = self.client.get_item().table_name(&self.table);
        let key = AttributeValue::S(event_id.to_owned());
        let output = request
            .key(EVENT_ID, key)
            .consistent_read(true)
            .send()
            .await
            .map_err(StoreError::of("GetItem"))?;
        output.item.map(Record::try_from).transpose()
    }

    /// A session's records with their bodies, newest first, those expired at `now` left out.
    ///
    /// A page ends early where its bodies add up to `max_bytes`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn by_session(
        &self,
        session_id: &str,
        limit: u8,
        start: Option<Position>,
        now: Timestamp,
        max_bytes: usize,
    ) -> Result<Page, StoreError> {
        let session = AttributeValue::S(session_id.to_owned());
        let start = start.map(|position| position.into_key(SESSION_ID, session.clone()));
        let query = self
            .newest_first(BY_SESSION, limit, start, now)
            .key_condition_expression("session_id = :session")
            .filter_expression("expires_at > :now")
            .expression_attribute_values(":session", session);
        let (items, next) = run(query).await?;
        let places: Vec<_> = items.iter().map(Position::try_from).collect::<Result<_, _>>()?;

        let mut bodies = self.batch_get(&places).await?;
        let mut page = Page {
            records: Vec::new(),
            next,
        };
        let mut bytes = 0;
        for (i, Position { event_id, .. }) in places.iter().enumerate() {
            let record = bodies.found.remove(event_id);
            bytes += record.as_ref().and_then(|r| r.body.as_ref()).map_or(0, Vec::len);
            let too_much = bytes > max_bytes && !page.records.is_empty();
            if too_much || bodies.unprocessed.contains(event_id) {
                let last = i.checked_sub(1).and_then(|i| places.get(i));
                let last = last.ok_or_else(|| StoreError::Unavailable {
                    operation: BATCH_GET,
                    source: "no key was processed".into(),
                })?;
                page.next = Some(last.clone());
                break;
            }
            // What the index holds and the table does not was deleted in between, or is not ours.
            page.records.extend(record);
        }
        Ok(page)
    }

    /// One shard's records without their bodies, newest first, those expired at `now` left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn by_time(
        &self,
        shard: u8,
        filter: &Filter,
        limit: u8,
        start: Option<Position>,
        now: Timestamp,
    ) -> Result<Page, StoreError> {
        let shard = AttributeValue::S(shard_name(shard));
        let start = start.map(|position| position.into_key(SHARD, shard.clone()));
        let (from, to) = filter.bounds();
        let mut conditions = vec!["expires_at > :now"];
        let mut query = self
            .newest_first(BY_TIME, limit, start, now)
            .key_condition_expression("#shard = :shard AND received_at BETWEEN :from AND :to")
            .expression_attribute_names("#shard", SHARD)
            .expression_attribute_values(":shard", shard)
            .expression_attribute_values(":from", AttributeValue::S(from))
            .expression_attribute_values(":to", AttributeValue::S(to));
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
        let records = items.into_iter().filter_map(ours).collect();
        Ok(Page { records, next })
    }

    fn newest_first(
        &self,
        index: &str,
        limit: u8,
        start: Option<HashMap<String, AttributeValue>>,
        now: Timestamp,
    ) -> QueryFluentBuilder {
        let now = AttributeValue::N(now.as_seconds_rounded_up().to_string());
        self.client
            .query()
            .table_name(&self.table)
            .index_name(index)
            .limit(limit.into())
            .scan_index_forward(false)
            .set_exclusive_start_key(start)
            .expression_attribute_values(":now", now)
    }

    async fn batch_get(&self, places: &[Position]) -> Result<Batch, StoreError> {
        // A replica that lags behind the index would make a page skip records.
        let mut keys = KeysAndAttributes::builder().consistent_read(true);
        for Position { event_id, .. } in places {
            let id = AttributeValue::S(event_id.clone());
            keys = keys.keys(HashMap::from([(EVENT_ID.to_owned(), id)]));
        }
        let Ok(keys) = keys.build() else {
            return Ok(Batch::default());
        };
        let request = self.client.batch_get_item().request_items(&self.table, keys);
        let output = request.send().await.map_err(StoreError::of(BATCH_GET))?;

        let mut batch = Batch::default();
        for item in output
            .responses
            .into_iter()
            .flatten()
            .flat_map(|(_, items)| items)
        {
            if let Some(record) = ours(item) {
                batch.found.insert(record.event_id.clone(), record);
            }
        }
        for left in output
            .unprocessed_keys
            .into_iter()
            .flatten()
            .flat_map(|(_, left)| left.keys)
        {
            batch.unprocessed.push(text(&left, EVENT_ID)?.to_owned());
        }
        Ok(batch)
    }

    /// Makes the table, as the template does it on AWS: for the embedded DynamoDB.
    /// One that is there is left as it is.
    ///
    /// # Errors
    /// The SDK's.
    pub async fn create_table(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let key = |name: &str, kind| {
            KeySchemaElement::builder()
                .attribute_name(name)
                .key_type(kind)
                .build()
        };
        let mut names = vec![TABLE_KEY];
        let mut request = self
            .client
            .create_table()
            .table_name(&self.table)
            .billing_mode(BillingMode::PayPerRequest)
            .key_schema(key(TABLE_KEY, KeyType::Hash)?)
            .stream_specification(
                StreamSpecification::builder()
                    .stream_enabled(true)
                    .stream_view_type(StreamViewType::NewImage)
                    .build()?,
            );
        for index in &INDEXES {
            names.extend([index.partition_key, index.sort_key]);
            let projection = Projection::builder()
                .projection_type(ProjectionType::Include)
                .set_non_key_attributes(Some(
                    index.includes.iter().map(|name| (*name).to_owned()).collect(),
                ))
                .build();
            request = request.global_secondary_indexes(
                GlobalSecondaryIndex::builder()
                    .index_name(index.name)
                    .key_schema(key(index.partition_key, KeyType::Hash)?)
                    .key_schema(key(index.sort_key, KeyType::Range)?)
                    .projection(projection)
                    .build()?,
            );
        }
        names.sort_unstable();
        names.dedup();
        for name in names {
            let definition = AttributeDefinition::builder().attribute_name(name);
            request =
                request.attribute_definitions(definition.attribute_type(ScalarAttributeType::S).build()?);
        }
        match request.send().await {
            Ok(_) => {}
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|e| e.is_resource_in_use_exception()) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        let ttl = TimeToLiveSpecification::builder()
            .attribute_name(TTL_ATTRIBUTE)
            .enabled(true)
            .build()?;
        let request = self.client.update_time_to_live().table_name(&self.table);
        request.time_to_live_specification(ttl).send().await?;
        Ok(())
    }
}

#[derive(Default)]
struct Batch {
    found: HashMap<String, Record>,
    unprocessed: Vec<String>,
}

type Item = HashMap<String, AttributeValue>;

/// A page of an index, and where the next one starts.
async fn run(query: QueryFluentBuilder) -> Result<(Vec<Item>, Option<Position>), StoreError> {
    let output = query.send().await.map_err(StoreError::of("Query"))?;
    let next = output.last_evaluated_key().map(Position::try_from).transpose()?;
    Ok((output.items.unwrap_or_default(), next))
}

/// A list's record. One that this program did not write is left out of it, and told of.
fn ours(item: Item) -> Option<Record> {
    let event_id = text(&item, EVENT_ID).map(str::to_owned).unwrap_or_default();
    Record::try_from(item)
        .inspect_err(|error| tracing::warn!(event_id, %error, "a record that is not ours is left out"))
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

fn text<'a>(item: &'a Item, attribute: &'static str) -> Result<&'a str, StoreError> {
    let value = item.get(attribute).and_then(|value| value.as_s().ok());
    value.map(String::as_str).ok_or(StoreError::Foreign { attribute })
}

impl TryFrom<Item> for Record {
    type Error = StoreError;

    fn try_from(mut item: Item) -> Result<Self, StoreError> {
        let mut optional = |attribute| match item.remove(attribute) {
            Some(AttributeValue::S(text)) => Some(text),
            _ => None,
        };
        let required = |value: Option<_>, attribute| value.ok_or(StoreError::Foreign { attribute });
        let problems = optional(PROBLEMS)
            .map(|json| serde_json::from_str(&json))
            .transpose();
        Ok(Self {
            event_id: required(optional(EVENT_ID), EVENT_ID)?,
            outcome: optional(OUTCOME)
                .and_then(|name| Outcome::from_name(&name))
                .ok_or(StoreError::Foreign { attribute: OUTCOME })?,
            reason: optional(REASON),
            event_type: optional(TYPE),
            session_id: optional(SESSION_ID),
            occurred_at: optional(OCCURRED_AT),
            received_at: required(optional(RECEIVED_AT), RECEIVED_AT)?,
            alert: optional(ALERT),
            problems: problems
                .map_err(|_| StoreError::Foreign { attribute: PROBLEMS })?
                .unwrap_or_default(),
            expires_at: match item.remove(EXPIRES_AT) {
                Some(AttributeValue::N(seconds)) => seconds.parse::<i64>().ok(),
                _ => None,
            }
            .map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1000)))
            .ok_or(StoreError::Foreign {
                attribute: EXPIRES_AT,
            })?,
            body: match item.remove(BODY) {
                Some(AttributeValue::S(text)) => Some(text.into_bytes()),
                Some(AttributeValue::B(bytes)) => Some(bytes.into_inner()),
                _ => None,
            },
        })
    }
}
