//! What keeps an event from becoming a case.

use aws_sdk_dynamodb::error::{DisplayErrorContext, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;

/// Why an event did not become a case. Lambda tries it again, then puts it into the dead-letter queue.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("the detail is not a published event: is this Sonotheia's bus?")]
    Detail(#[source] serde_json::Error),
    #[error("event_id is empty")]
    NoId,
    #[error("the bus had no room for the body: read it with GET /events/{0}")]
    NoBody(String),
    #[error("the body of event {0} is not an event")]
    Body(String, #[source] serde_json::Error),
    #[error("received_at is not a time: {0}")]
    Time(String),
    #[error("DynamoDB did not store the case: {}", DisplayErrorContext(.0))]
    Store(#[from] Box<SdkError<PutItemError>>),
}
