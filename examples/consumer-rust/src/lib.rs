//! Opens a case for each SAR event and each alert of Sonotheia, at most once for each event.

mod error;

use aws_lambda_events::eventbridge::EventBridgeEvent;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};
use aws_sdk_dynamodb::types::AttributeValue;
use lambda_runtime::LambdaEvent;
use serde::Deserialize;
use serde_json::{Map, Value};

pub use error::Error;

/// The published event. Every member is always there, and always a string; `""` means that the event has none.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the receiver documents the members")]
pub struct Detail {
    pub event_id: String,
    #[serde(rename = "type")]
    pub event_type: String,
    pub session_id: String,
    pub outcome: String,
    pub alert: String,
    pub occurred_at: String,
    pub received_at: String,
    pub body: String,
}

/// The signed text. Its two envelopes name the id and the type differently, and both have `data`.
#[derive(Deserialize)]
struct Body {
    data: Map<String, Value>,
}

/// How an event ended that needs no retry.
#[derive(Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Handled {
    CaseOpened,
    Repeated,
    NoCaseNeeded,
}

/// The consumer and its table.
#[derive(Debug)]
pub struct Consumer {
    /// The client of DynamoDB.
    pub dynamodb: Client,
    /// The table of cases.
    pub table: String,
    /// Days that a case is kept after the receipt of its event.
    pub days: u32,
}

impl Consumer {
    /// Handles one event of the bus.
    ///
    /// # Errors
    /// The event cannot become a case, or DynamoDB failed.
    pub async fn handle(&self, event: LambdaEvent<EventBridgeEvent<Value>>) -> Result<Handled, Error> {
        let detail: Detail = serde_json::from_value(event.payload.detail).map_err(Error::Detail)?;
        if detail.event_id.is_empty() {
            return Err(Error::NoId);
        }
        let handled = if is_case(&detail) {
            self.open_case(&detail).await?
        } else {
            Handled::NoCaseNeeded
        };
        tracing::info!(event_id = detail.event_id, r#type = detail.event_type, ?handled);
        Ok(handled)
    }

    /// Stores the case with one conditional write, so that a repeated event changes nothing.
    async fn open_case(&self, detail: &Detail) -> Result<Handled, Error> {
        let received = DateTime::from_str(&detail.received_at, DateTimeFormat::DateTime)
            .map_err(|_| Error::Time(detail.received_at.clone()))?;
        let expires = received.secs() + i64::from(self.days) * 86_400;
        let mut write = self.dynamodb.put_item().table_name(&self.table);
        for (name, text) in [
            ("event_id", &detail.event_id),
            ("status", &"open".to_owned()),
            ("subject", &subject(&detail.event_type, &data_of(detail)?)),
            ("type", &detail.event_type),
            ("alert", &detail.alert),
            ("session_id", &detail.session_id),
            ("occurred_at", &detail.occurred_at),
            ("received_at", &detail.received_at),
            ("body", &detail.body),
        ] {
            if !text.is_empty() {
                write = write.item(name, AttributeValue::S(text.clone()));
            }
        }
        let write = write
            .item("expires_at", AttributeValue::N(expires.to_string()))
            .condition_expression("attribute_not_exists(event_id)");
        match write.send().await {
            Ok(_) => Ok(Handled::CaseOpened),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(PutItemError::is_conditional_check_failed_exception) =>
            {
                Ok(Handled::Repeated)
            }
            Err(error) => Err(Box::new(error).into()),
        }
    }
}

/// A person must look at every SAR event and at every alert. New types of Sonotheia pass here, too.
fn is_case(detail: &Detail) -> bool {
    detail.event_type.starts_with("sar.") || !detail.alert.is_empty()
}

fn data_of(detail: &Detail) -> Result<Map<String, Value>, Error> {
    if detail.body.is_empty() {
        return Err(Error::NoBody(detail.event_id.clone()));
    }
    let body: Body =
        serde_json::from_str(&detail.body).map_err(|error| Error::Body(detail.event_id.clone(), error))?;
    Ok(body.data)
}

/// One line for the person. Any field can be missing: the receiver stores an event with problems, too.
fn subject(event_type: &str, data: &Map<String, Value>) -> String {
    let field = |name: &str, absent: &str| match data.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => absent.to_owned(),
    };
    match event_type {
        "deepfake.completed" => {
            format!(
                "Voice is {}, score {}",
                field("label", "unrated"),
                field("score", "unknown")
            )
        }
        "mfa.completed" | "mfa.failed" => {
            format!("Voice not verified: {}", field("reason", "no reason given"))
        }
        "sar.submitted" | "sar.filed" => {
            format!(
                "SAR {}: {}",
                field("case_id", "without a case id"),
                field("status", "no status")
            )
        }
        _ => format!("Event of type {event_type}"),
    }
}
