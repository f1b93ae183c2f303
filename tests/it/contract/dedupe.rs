//! New events, duplicates and conflicts.

use serde_json::json;
use sonotheia_webhook::deadline;
use sonotheia_webhook::ingest::Ingested;
use sonotheia_webhook::timestamp::Timestamp;

use testkit::*;

use super::config;

#[tokio::test]
async fn a_first_delivery_is_stored_and_a_redelivery_is_a_duplicate() {
    let receiver = Receiver::start().await;
    let event = deepfake("event-1", "session-1", 0.5);
    assert_eq!(
        receiver.deliver(event.to_string()).await.received(false),
        "event-1"
    );
    let before = receiver.items().await;
    assert_eq!(before.len(), 1);
    receiver.deliver(event.to_string()).await.received(true);
    // Other blanks, another order of members, another spelling of a number.
    let data = event["data"].as_object().unwrap();
    let members: Vec<_> = data
        .iter()
        .rev()
        .map(|(key, value)| format!("{key:?} : {value}"))
        .collect();
    // Not anywhere else: a time may hold these digits too.
    let members = members.join(" ,\n").replace(": 0.5", ": 5.0e-1");
    assert!(members.contains("5.0e-1"));
    let respelled = format!(r#"{{ "data": {{{members}}}, "id": "event-1", "type": "deepfake.completed" }}"#);
    receiver.deliver(respelled).await.received(true);
    assert_eq!(receiver.items().await, before, "a duplicate changes nothing");
}

#[tokio::test]
async fn another_event_with_the_same_id_is_a_conflict_and_leaves_the_first_untouched() {
    let receiver = Receiver::start().await;
    let event = deepfake("event-1", "session-1", 0.5);
    receiver.deliver(event.to_string()).await.received(false);
    let before = receiver.items().await;

    let mut other_data = event.clone();
    other_data["data"]["score"] = json!(0.6);
    let mut other_type = event.clone();
    other_type["type"] = json!("deepfake.other");
    for other in [other_data, other_type] {
        receiver
            .deliver(other.to_string())
            .await
            .expect(409, "event_conflict");
        // A repeat of it changes nothing.
        receiver
            .deliver(other.to_string())
            .await
            .expect(409, "event_conflict");
    }
    let after = receiver.items().await;
    assert!(after.contains(&before[0]));
    assert_eq!(after.len(), 3, "each conflicting body is kept, once");

    let listed = receiver.get("/results?outcome=rejected").await;
    assert_eq!(listed.body["count"], 2, "{listed:?}");
    for result in listed.body["results"].as_array().unwrap() {
        assert_eq!(result["reason"], "event_conflict");
        assert!(
            result["event_id"]
                .as_str()
                .unwrap()
                .starts_with("rejected:sha256:")
        );
        assert_eq!(result["problems"][0]["path"], "id");
    }
    let session = receiver.get("/results/session-1").await;
    assert_eq!(
        session.body["count"], 1,
        "a session's results are what was accepted: {session:?}"
    );
    // The first one is still the event, and still a duplicate.
    receiver.deliver(event.to_string()).await.received(true);
}

/// Deletes the table's one record, as DynamoDB does after the record's expiry.
async fn delete(receiver: &Receiver) {
    let item = &receiver.items().await[0];
    let request = receiver.direct.delete_item().table_name(TABLE);
    let request = request.key("event_id", item["event_id"].clone());
    request.send().await.unwrap();
}

#[tokio::test]
async fn an_accepted_event_can_never_be_replayed_as_new() {
    let receiver = Receiver::start().await;
    let body = deepfake("event-1", "session-1", 0.5).to_string();
    let start = Timestamp::now();
    let deliver = |now| receiver.ingest(body.as_bytes(), now);
    assert!(matches!(deliver(start).await, Ingested::Stored { .. }));
    // While the record lives.
    assert!(matches!(
        deliver(start.plus_days(89)).await,
        Ingested::Duplicate { .. }
    ));
    // After its time it may be gone, and what comes again is too old, whether it is or not.
    let gone = start.plus_days(91);
    let item = &receiver.items().await[0];
    let expires_at: i64 = item["expires_at"].as_n().unwrap().parse().unwrap();
    assert!(expires_at >= start.plus_days(90).as_millis() / 1000);
    assert!(expires_at * 1000 < gone.as_millis());
    delete(&receiver).await;
    assert!(matches!(deliver(gone).await, Ingested::TooOld(_)));
    // At no moment in between is the record gone and the event still young enough.
    let last = Timestamp::from_millis(expires_at * 1000 + 1);
    assert!(matches!(deliver(last).await, Ingested::TooOld(_)));
    // Nor does a replay that begins before that moment write after it.
    let deadline = i64::try_from(deadline::REQUEST.as_millis()).unwrap();
    let before = Timestamp::from_millis(start.plus_days(90).as_millis() - deadline);
    assert!(matches!(deliver(before).await, Ingested::TooOld(_)));
}

#[tokio::test]
async fn an_event_without_a_signed_time_is_new_again_after_dynamodb_has_deleted_its_record() {
    let receiver = Receiver::start().await;
    let body = json!({"id": "event-1", "type": "t", "data": {}}).to_string();
    let start = Timestamp::now();
    let deliver = |now| receiver.ingest(body.as_bytes(), now);
    assert!(matches!(deliver(start).await, Ingested::Stored { .. }));
    let later = start.plus_days(91);
    assert!(matches!(deliver(later).await, Ingested::Duplicate { .. }));
    delete(&receiver).await;
    // Nothing that is signed says that the event is old: the limit of invariant F.
    assert!(matches!(deliver(later).await, Ingested::Stored { .. }));
}

#[tokio::test]
async fn of_fifty_identical_deliveries_at_once_one_is_new() {
    let receiver = Receiver::start().await;
    for round in 0..3 {
        let body = deepfake(&format!("event-{round}"), "session-1", 0.5).to_string();
        let deliveries = (0..50).map(|_| receiver.deliver(&body));
        let answers = futures_util::future::join_all(deliveries).await;
        let new = answers
            .iter()
            .filter(|answer| answer.body["duplicate"] == false)
            .count();
        assert!(answers.iter().all(|answer| answer.status == 200));
        assert_eq!(new, 1);
    }
    assert_eq!(receiver.items().await.len(), 3);
}

#[tokio::test]
async fn an_event_costs_one_call_to_dynamodb_new_or_duplicate_and_a_conflict_two() {
    let receiver = Receiver::with(config(), None, Some(Faults::none())).await;
    let event = deepfake("event-1", "session-1", 0.5);
    for (event, cost) in [
        (event.clone(), 1),
        (event.clone(), 1),
        (deepfake("event-1", "session-2", 0.5), 2),
    ] {
        let before = receiver.calls();
        receiver.deliver(event.to_string()).await;
        assert_eq!(receiver.calls() - before, cost);
    }
}
