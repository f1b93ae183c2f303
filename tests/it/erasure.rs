//! Erasure: a record without its payload still dedupes (contract, section 4).

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;
use sonotheia_webhook::config::{Config, SecretSource};
use sonotheia_webhook::store::Erasure;
use sonotheia_webhook::timestamp::Timestamp;
use testkit::*;

use crate::policies::text;

fn event() -> String {
    json!({"type": "deepfake.completed", "id": "event-1", "metadata": {"caller": "Ann"},
           "data": {"session_id": "session-1", "score": 0.9, "label": "no such label", "timestamp": at(0)}})
    .to_string()
}

async fn erase(receiver: &Receiver, key: &str) -> Erasure {
    let record = receiver.app.store.get(key).await.unwrap().expect("a record");
    receiver.app.store.erase(&record, Timestamp::now()).await.unwrap()
}

#[tokio::test]
async fn an_erased_record_has_no_payload_and_a_redelivery_is_a_duplicate() {
    let receiver = Receiver::start().await;
    let event = event();
    receiver.deliver(&event).await.received(false);
    let before = receiver.items().await.remove(0);
    assert_eq!(erase(&receiver, "event-1").await, Erasure::Erased);

    let record = receiver.get("/events/event-1?include=body").await.body;
    assert!(record["erased_at"].is_string(), "{record}");
    for member in [
        "data",
        "metadata",
        "body",
        "body_base64",
        "session_id",
        "alert",
        "problems",
    ] {
        assert!(record.get(member).is_none(), "{member}: {record}");
    }
    assert_eq!(record["type"], "deepfake.completed");
    let listed = receiver.get("/results").await.body["results"][0].clone();
    assert_eq!(listed["erased_at"], record["erased_at"]);
    assert!(
        listed.get("alert").is_none() && listed.get("session_id").is_none(),
        "{listed}"
    );
    receiver.get("/results/session-1").await.expect(404, "not_found");

    // The attributes that dedupe and expire stay, and those of the published event are there, empty.
    let after = receiver.items().await.remove(0);
    for attribute in [
        "event_id",
        "type",
        "hash",
        "outcome",
        "occurred_at",
        "received_at",
        "expires_at",
        "delivery_token",
        "shard",
    ] {
        assert_eq!(after[attribute], before[attribute], "{attribute}");
    }
    let fanout = text("infra/fanout.yaml");
    let published: BTreeSet<_> = fanout
        .split("<$.dynamodb.NewImage.")
        .skip(1)
        .filter_map(|rest| rest.split_once(".S>"))
        .map(|(attribute, _)| attribute)
        .collect();
    assert_eq!(published.len(), 8, "{published:?}");
    for attribute in published {
        assert!(after[attribute].as_s().is_ok(), "{attribute}");
    }
    assert!(!format!("{after:?}").contains("Ann") && !format!("{after:?}").contains("session-1"));

    receiver.deliver(&event).await.received(true);
    let other = deepfake("event-1", "session-1", 0.1).to_string();
    receiver.deliver(&other).await.expect(409, "event_conflict");
    let items = receiver.items().await;
    assert!(
        items.contains(&after),
        "a redelivery and a conflict change nothing"
    );
}

#[tokio::test]
async fn an_erased_rejected_record_stays_erased_when_the_delivery_comes_again() {
    let receiver = Receiver::start().await;
    let body = r#"{"id":"event-1","type":"t"}"#;
    receiver.deliver(body).await.expect(400, "invalid_event");
    let key = rejected_key(body);
    assert_eq!(erase(&receiver, &key).await, Erasure::Erased);
    receiver.deliver(body).await.expect(400, "invalid_event");
    let record = receiver.get(&format!("/events/{key}?include=body")).await.body;
    assert!(record["erased_at"].is_string(), "{record}");
    assert_eq!(record["reason"], "invalid_event");
    for member in [
        "body",
        "body_base64",
        "claimed_event_id",
        "claimed_type",
        "problems",
    ] {
        assert!(record.get(member).is_none(), "{member}: {record}");
    }
}

#[tokio::test]
async fn an_erasure_never_makes_a_record_and_never_hits_another_record() {
    let receiver = Receiver::start().await;
    let event = event();
    receiver.deliver(&event).await.received(false);
    let store = &receiver.app.store;
    let record = store.get("event-1").await.unwrap().expect("a record");
    let key = AttributeValue::S("event-1".into());
    let delete = receiver.direct.delete_item().table_name(TABLE);
    delete.key("event_id", key).send().await.unwrap();
    let now = Timestamp::now();
    assert_eq!(store.erase(&record, now).await.unwrap(), Erasure::Gone);
    assert!(
        receiver.items().await.is_empty(),
        "an update would have made an item"
    );

    // DynamoDB deleted the record, and the id came again. The operator has not seen that record.
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    receiver.deliver(&event).await.received(false);
    let error = store.erase(&record, now).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(receiver.stored_body("event-1").await.is_some());
}

#[tokio::test]
async fn a_second_erasure_keeps_the_time_of_the_first() {
    let receiver = Receiver::start().await;
    receiver.deliver(event()).await.received(false);
    let store = &receiver.app.store;
    let record = store.get("event-1").await.unwrap().expect("a record");
    let first = Timestamp::from_millis(1_769_000_400_123);
    assert_eq!(store.erase(&record, first).await.unwrap(), Erasure::Erased);
    let again = store.erase(&record, Timestamp::now()).await.unwrap();
    assert_eq!(again, Erasure::AlreadyErased("2026-01-21T13:00:00.123Z".into()));
}

#[tokio::test]
async fn an_erasure_whose_answer_was_lost_counts_as_erased() {
    let config = Config::new(TABLE, SecretSource::Fixed(SECRET.into()));
    let faults = Faults::new(|_, request| {
        // The first attempt of the SDK only.
        let is_first = request
            .header("amz-sdk-request")
            .is_some_and(|text| text.contains("attempt=1"));
        let is_update = request
            .header("x-amz-target")
            .is_some_and(|target| target.ends_with("UpdateItem"));
        if is_first && is_update {
            Fault::AnswerAfter(500, "InternalServerError")
        } else {
            Fault::None
        }
    });
    let receiver = Receiver::with(config, None, Some(faults)).await;
    receiver.deliver(event()).await.received(false);
    let before = receiver.calls();
    assert_eq!(erase(&receiver, "event-1").await, Erasure::Erased);
    assert!(receiver.calls() >= before + 3, "a read and two attempts");
}
