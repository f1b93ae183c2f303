//! The table: one conditional write, the reads, and the erasure (contract, sections 3 and 4).
//!
//! [`Store::put`] is the whole of the receiver's idempotency. DynamoDB writes the item if no item has its key. Otherwise
//! DynamoDB returns the existing item, and [`Store::put`] compares the two: the same content is a redelivery, other content
//! is a conflict. No read precedes the write, so an event is never claimed without being stored.

mod erase;
mod reads;
mod record;
pub mod schema;

use std::error::Error;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};

pub use erase::Erasure;
pub use reads::{Filter, Page, Position, Records};
use record::Item;
pub use record::{DeliveryToken, NewRecord, Outcome, Record};

use crate::cause::CallError;
use schema::{CONTENT_HASH, DELIVERY_TOKEN, EVENT_ID};

/// The result of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// DynamoDB has acknowledged the record, which is new.
    Stored,
    /// The table has a record with this key, with the same type and data.
    Duplicate,
    /// The table has a record with this key, with another type or other data.
    Conflict,
}

/// A call to DynamoDB failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// DynamoDB failed, throttled, denied access or was slow. A retry may succeed.
    #[error("DynamoDB: {operation} failed")]
    Unavailable {
        /// The operation's name.
        operation: &'static str,
        /// The cause, without any text of the request.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// DynamoDB does not understand the request, which is a defect of the receiver.
    #[error("DynamoDB: {operation} was not understood")]
    Misunderstood {
        /// The operation's name.
        operation: &'static str,
        /// The cause, without any text of the request.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// DynamoDB deleted the record between the conditional write and the read of the item that was in its way. A retry
    /// succeeds.
    #[error("DynamoDB deleted the record with the same key at this moment")]
    Vanished,
    /// The item was not written by this program.
    #[error("the record has no usable attribute `{attribute}`")]
    Foreign {
        /// The attribute that is missing or has another type.
        attribute: &'static str,
    },
}

impl StoreError {
    fn of<E>(operation: &'static str) -> impl FnOnce(SdkError<E>) -> Self
    where
        E: Error + Send + Sync + 'static + ProvideErrorMetadata,
    {
        move |error| {
            let is_defect = matches!(error, SdkError::ConstructionFailure(_))
                || error.code() == Some("ValidationException");
            let source = CallError::from(error).into();
            if is_defect {
                Self::Misunderstood { operation, source }
            } else {
                Self::Unavailable { operation, source }
            }
        }
    }

    /// Returns true if a retry may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Vanished)
    }
}

/// The table.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    table: String,
}

impl Store {
    /// The table with this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        let table = table.into();
        Self { client, table }
    }

    /// Opens the connection before the first delivery, with the cheapest read.
    ///
    /// # Errors
    /// [`StoreError`]. The first delivery then opens the connection.
    pub async fn prefetch(&self) -> Result<(), StoreError> {
        self.get("rejected:").await.map(drop)
    }

    /// Makes the one conditional write.
    ///
    /// # Errors
    /// [`StoreError`]. Nobody knows then whether the record is stored.
    pub async fn put(&self, record: NewRecord<'_>) -> Result<PutOutcome, StoreError> {
        const PUT: &str = "PutItem";
        let token = record.token;
        let event_id = record.event_id.to_string();
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
        // Older DynamoDB emulators refuse the write without returning the item.
        let read;
        let existing = match refusal.item() {
            Some(item) => item,
            None => {
                read = self.item(&event_id).await?.ok_or(StoreError::Vanished)?;
                &read
            }
        };
        let is = |attribute, bytes: &[u8]| {
            let value: Option<&AttributeValue> = existing.get(attribute);
            value
                .and_then(|value| value.as_b().ok())
                .is_some_and(|b| b.as_ref() == bytes)
        };
        // The SDK sent the write twice, and the first one landed.
        if is(DELIVERY_TOKEN, &token.0) {
            return Ok(PutOutcome::Stored);
        }
        Ok(match content_hash {
            Some(hash) if !is(CONTENT_HASH, &hash) => PutOutcome::Conflict,
            _ => PutOutcome::Duplicate,
        })
    }

    /// Reads one record, even if it has expired. The read is strongly consistent, so it finds every acknowledged record.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, event_id: &str) -> Result<Option<Record>, StoreError> {
        self.item(event_id).await?.map(Record::try_from).transpose()
    }

    async fn item(&self, event_id: &str) -> Result<Option<Item>, StoreError> {
        let request = self.client.get_item().table_name(&self.table);
        let key = AttributeValue::S(event_id.to_owned());
        let sent = request.key(EVENT_ID, key).consistent_read(true).send().await;
        Ok(sent.map_err(StoreError::of("GetItem"))?.item)
    }
}
