//! The store: a DynamoDB that refuses a conditional write without returning the item (no `ALL_OLD`), and previews.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use sonotheia_webhook::config::{Config, SecretSource};
use sonotheia_webhook::ingest::{self, Ingested};
use sonotheia_webhook::timestamp::Timestamp;

use testkit::*;

#[tokio::test]
async fn a_dynamodb_that_does_not_return_the_old_item_still_dedupes() {
    let fault = Fault::Rewrite(|_, (status, answer)| {
        let Ok(mut answer) = serde_json::from_str::<Value>(&answer) else {
            return (status, answer);
        };
        let is_refusal = answer["__type"]
            .as_str()
            .is_some_and(|kind| kind.contains("ConditionalCheckFailed"));
        if is_refusal {
            answer.as_object_mut().unwrap().remove("Item");
        }
        (status, answer.to_string())
    });
    let config = Config::new(TABLE, SecretSource::Fixed(SECRET.into()));
    let receiver = Receiver::with(config, None, Some(fault.always())).await;
    let event = deepfake("event-1", "session-1", 0.5).to_string();
    receiver.deliver(&event).await.received(false);
    receiver.deliver(&event).await.received(true);
    let other = deepfake("event-1", "session-1", 0.6).to_string();
    receiver.deliver(&other).await.expect(409, "event_conflict");
    receiver.deliver(&other).await.expect(409, "event_conflict");
}

/// Removes the item from DynamoDB's refusal of a conditional write, as an emulator without `ALL_OLD` does.
fn without_item(answer: String) -> String {
    let Ok(mut json) = serde_json::from_str::<Value>(&answer) else {
        return answer;
    };
    json.as_object_mut().unwrap().remove("Item");
    json.to_string()
}

#[tokio::test]
async fn without_the_old_item_the_receiver_still_recognises_its_own_write() {
    static LOST: AtomicBool = AtomicBool::new(false);
    LOST.store(true, Ordering::SeqCst);
    // The first write lands and its answer is an error, so the SDK sends the same write again.
    let fault = Fault::Rewrite(|request, (status, answer)| {
        if !request.contains("PutItem") {
            return (status, answer);
        }
        if LOST.swap(false, Ordering::SeqCst) {
            let error =
                json!({"__type": "com.amazonaws.dynamodb.v20120810#InternalServerError", "message": ""});
            return (500, error.to_string());
        }
        (status, without_item(answer))
    });
    let config = Config::new(TABLE, SecretSource::Fixed(SECRET.into()));
    let receiver = Receiver::with(config, None, Some(fault.always())).await;
    let event = deepfake("event-1", "session-1", 0.5).to_string();
    receiver.deliver(&event).await.received(false);
    assert!(!LOST.load(Ordering::SeqCst), "the fault happened");
    assert_eq!(receiver.items().await.len(), 1);
    receiver.deliver(&event).await.received(true);
}

#[tokio::test]
async fn without_the_old_item_a_record_that_vanished_is_a_matter_for_a_retry() {
    let fault = Fault::Rewrite(|request, (status, answer)| {
        if request.contains("GetItem") {
            return (200, "{}".to_owned());
        }
        (status, without_item(answer))
    });
    let config = Config::new(TABLE, SecretSource::Fixed(SECRET.into()));
    let receiver = Receiver::with(config, None, Some(fault.always())).await;
    let event = deepfake("event-1", "session-1", 0.5).to_string();
    receiver.deliver(&event).await.received(false);
    let answer = receiver.deliver(&event).await.expect(503, "unavailable");
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn a_preview_says_what_a_delivery_would_get_and_stores_nothing() {
    let receiver = Receiver::start().await;
    let preview = async |body: &str| {
        let judged = ingest::judge(body.as_bytes(), &receiver.app.config.rules(), Timestamp::now());
        ingest::preview(&receiver.app.store, &judged).await.unwrap()
    };
    let event_id = "event-1".to_owned();
    let body = r#"{"id":"event-1","type":"t","data":{"a":1}}"#;
    let stored = Ingested::Stored {
        event_id: event_id.clone(),
    };
    assert_eq!(preview(body).await, stored);
    assert!(receiver.items().await.is_empty());
    receiver.deliver(body).await.received(false);
    assert_eq!(preview(body).await, Ingested::Duplicate { event_id });
    let other = body.replace(r#""a":1"#, r#""a":2"#);
    assert!(matches!(preview(&other).await, Ingested::Conflict(_)));
    assert!(matches!(preview("{}").await, Ingested::Invalid(_)));
    assert_eq!(receiver.items().await.len(), 1);
}
