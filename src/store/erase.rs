//! Erasure: the only change that a record ever sees (contract, section 4). The function never erases; an operator's command
//! does.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};

use super::record::text;
use super::schema::{ALERT, BODY, ERASED_AT, EVENT_ID, PROBLEMS, RECEIVED_AT, SESSION, SESSION_ID};
use super::{Record, Store, StoreError};
use crate::timestamp::Timestamp;

/// The result of [`Store::erase`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// The record has no payload from now on.
    Erased,
    /// The record was erased before, at this time (RFC 3339).
    AlreadyErased(String),
    /// DynamoDB has deleted the record.
    Gone,
}

impl Store {
    /// Removes body, problems, session and alert from a record. The key, the type, the hash, the outcome and the times stay,
    /// so that a redelivery is still a duplicate, and another event with this id is still a conflict.
    ///
    /// `record` is the record as it was read: the write fails if the table has another record with this key by now.
    ///
    /// # Errors
    /// [`StoreError`]. Nobody knows then whether the record is erased; a second call does the rest.
    pub async fn erase(&self, record: &Record, now: Timestamp) -> Result<Erasure, StoreError> {
        const UPDATE: &str = "UpdateItem";
        let now = now.to_string();
        let string = |text: &str| AttributeValue::S(text.to_owned());
        // The published event has a member for body, session and alert. Each of these attributes stays, as an empty string,
        // so that no reader of the stream finds one missing. `session_id` is an index key, which cannot be empty.
        let sent = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(EVENT_ID, string(&record.event_id))
            .update_expression(
                "SET #erased_at = :now, #body = :empty, #session = :empty, #alert = :empty \
                 REMOVE #problems, #session_id",
            )
            // Without an item of this key, an update would make a new item, and open the door to a replay.
            .condition_expression("#received_at = :received_at AND attribute_not_exists(#erased_at)")
            .expression_attribute_names("#erased_at", ERASED_AT)
            .expression_attribute_names("#body", BODY)
            .expression_attribute_names("#session", SESSION)
            .expression_attribute_names("#session_id", SESSION_ID)
            .expression_attribute_names("#alert", ALERT)
            .expression_attribute_names("#problems", PROBLEMS)
            .expression_attribute_names("#received_at", RECEIVED_AT)
            .expression_attribute_values(":now", string(&now))
            .expression_attribute_values(":empty", string(""))
            .expression_attribute_values(":received_at", string(&record.received_at))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(Erasure::Erased),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refusal)) => {
                    self.refused(&record.event_id, refusal, &now).await
                }
                _ => Err(StoreError::of(UPDATE)(error)),
            },
        }
    }

    /// Finds out why the condition of an erasure at `now` failed.
    async fn refused(
        &self,
        event_id: &str,
        refusal: &ConditionalCheckFailedException,
        now: &str,
    ) -> Result<Erasure, StoreError> {
        // Older DynamoDB emulators refuse the write without returning the item.
        let read;
        let existing = match refusal.item() {
            Some(item) => Some(item),
            None => {
                read = self.item(event_id).await?;
                read.as_ref()
            }
        };
        let Some(existing) = existing else {
            return Ok(Erasure::Gone);
        };
        match text(existing, ERASED_AT) {
            // The SDK sent the write twice, and the first write landed.
            Ok(erased_at) if erased_at == now => Ok(Erasure::Erased),
            Ok(erased_at) => Ok(Erasure::AlreadyErased(erased_at.to_owned())),
            Err(_) => Err(StoreError::Vanished),
        }
    }
}
