//! The two envelopes, their names, and numbers as they were sent.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use testkit::*;

#[tokio::test]
async fn an_event_without_an_id_is_keyed_by_its_body() {
    let receiver = Receiver::start().await;
    let mut event = deepfake("", "session-1", 0.5);
    event.as_object_mut().unwrap().remove("id");
    let id = receiver.deliver(event.to_string()).await.received(false);
    assert_eq!(id.strip_prefix("sha256:").map(str::len), Some(64));
    assert_eq!(receiver.deliver(event.to_string()).await.received(true), id);
    let stored = receiver.get(&format!("/events/{id}")).await;
    assert_eq!(stored.body["problems"][0]["path"], "id", "{stored:?}");
}

#[tokio::test]
async fn an_empty_or_null_name_counts_as_absent() {
    let receiver = Receiver::start().await;
    for (body, id) in [
        (
            json!({"id": "", "event_id": "event-1", "type": "", "event_type": "t", "data": {}}),
            "event-1",
        ),
        (
            json!({"id": "event-2", "event_id": "", "type": "t", "event_type": "", "data": {}}),
            "event-2",
        ),
        (
            json!({"id": null, "event_id": "event-3", "type": "t", "data": {}}),
            "event-3",
        ),
    ] {
        assert_eq!(receiver.deliver(body.to_string()).await.received(false), id);
    }
    let nameless = json!({"id": "", "event_id": null, "type": "t", "data": {}});
    let id = receiver.deliver(nameless.to_string()).await.received(false);
    assert!(id.starts_with("sha256:"), "{id}");
}

#[tokio::test]
async fn both_envelopes_work_and_null_counts_as_absent() {
    let receiver = Receiver::start().await;
    let schema = json!({
        "event_id": "event-1", "id": null, "event_type": "sar.filed", "type": null, "api_version": "2026-01",
        "timestamp": at(-5), "metadata": {"tenant": "a"}, "data": {"case_id": "case-1"},
    });
    receiver.deliver(schema.to_string()).await.received(false);
    let stored = receiver.get("/events/event-1").await;
    assert_eq!(stored.body["type"], "sar.filed");
    assert_eq!(stored.body["occurred_at"], schema["timestamp"]);
    assert_eq!(stored.body["metadata"], json!({"tenant": "a"}));
    assert_eq!(stored.body.get("problems"), None, "{stored:?}");
    // The guide's envelope of the same event is the same event.
    let guide = json!({"id": "event-1", "type": "sar.filed", "data": {"case_id": "case-1"}});
    receiver.deliver(guide.to_string()).await.received(true);
    let both = json!({
        "id": "event-1", "event_id": "event-1", "type": "sar.filed", "event_type": "sar.filed", "data": {"case_id": "case-1"},
    });
    receiver.deliver(both.to_string()).await.received(true);
}

#[tokio::test]
async fn numbers_reach_the_reader_as_they_were_sent() {
    let receiver = Receiver::start().await;
    let data = r#"{"a":1.0,"b":0.1000000000000000055511151231257827,"c":12345678901234567890123,"d":1E400,"e":-0.0,"s":"\u00e9\/"}"#;
    receiver
        .deliver(format!(r#"{{"id":"event-1","type":"t","data": {data} }}"#))
        .await
        .received(false);
    let request = Request::get("/events/event-1").body(Body::empty()).unwrap();
    let response = tower::ServiceExt::oneshot(receiver.router.clone(), request)
        .await
        .unwrap();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    let text = std::str::from_utf8(&body).unwrap();
    assert!(text.contains(&format!(r#""data":{data}"#)), "{text}");
}
