//! Signed bodies that the receiver rejects and stores.

use serde_json::json;
use sonotheia_webhook::config::Config;

use testkit::*;

use super::config;

#[tokio::test]
async fn what_is_signed_and_no_event_is_refused_with_the_place_and_kept() {
    let long = "x".repeat(257);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"".to_vec(), "the body is not JSON"),
        (b"{".to_vec(), "the body is not JSON"),
        (b"{} {}".to_vec(), "the body is not JSON"),
        (b"\xef\xbb\xbf{}".to_vec(), "the body is not"),
        (
            b"{\"type\":\"\xff\"}".to_vec(),
            "the body is not UTF-8 from byte 9 on",
        ),
        (b"[1]".to_vec(), "the body is not a JSON object"),
        (b"\"text\"".to_vec(), "the body is not a JSON object"),
        (
            br#"{"id":"a","id":"a","type":"t","data":{}}"#.to_vec(),
            "id is there more than once",
        ),
        (
            br#"{"id":null,"id":"a","type":"t","data":{}}"#.to_vec(),
            "id is there more than once",
        ),
        (
            br#"{"event_id":"a","event_id":"a","type":"t","data":{}}"#.to_vec(),
            "event_id is there more than once",
        ),
        (
            br#"{"id":"a","type":"t","type":"t","data":{}}"#.to_vec(),
            "type is there more than once",
        ),
        (
            br#"{"id":"a","event_type":"t","event_type":"t","data":{}}"#.to_vec(),
            "event_type is there more",
        ),
        (
            br#"{"id":"a","type":"t","data":{},"data":{}}"#.to_vec(),
            "data is there more than once",
        ),
        (
            br#"{"id":"a","type":"t","data":{},"d\u0061ta":{}}"#.to_vec(),
            "data is there more than once",
        ),
        (
            br#"{"id":"a","event_id":"b","type":"t","data":{}}"#.to_vec(),
            "id and `event_id` are both there and differ",
        ),
        (
            br#"{"id":"a","type":"t","event_type":"u","data":{}}"#.to_vec(),
            "type and `event_type` are both",
        ),
        (br#"{"id":"a","data":{}}"#.to_vec(), "type is missing"),
        (br#"{"id":"a","type":null,"data":{}}"#.to_vec(), "type is missing"),
        (br#"{"id":"a","type":"t"}"#.to_vec(), "data is missing"),
        (
            br#"{"id":"a","type":"t","data":null}"#.to_vec(),
            "data is missing",
        ),
        (
            br#"{"id":"a","type":"t","data":[]}"#.to_vec(),
            "data is not an object",
        ),
        (br#"{"id":"a","type":"","data":{}}"#.to_vec(), "type is missing"),
        (
            br#"{"id":"a","type":"","event_type":null,"data":{}}"#.to_vec(),
            "type is missing",
        ),
        (br#"{"id":7,"type":"t","data":{}}"#.to_vec(), "id is not a string"),
        (
            br#"{"id":"a","type":{},"data":{}}"#.to_vec(),
            "type is not a string",
        ),
        (
            format!(r#"{{"id":"{long}","type":"t","data":{{}}}}"#).into(),
            "id is longer than 256 bytes",
        ),
        (
            format!(r#"{{"id":"a","event_type":"{long}","data":{{}}}}"#).into(),
            "event_type is longer than 256",
        ),
        (
            br#"{"id":"a\n","type":"t","data":{}}"#.to_vec(),
            "id has control characters",
        ),
        (
            br#"{"event_id":"\u007f","type":"t","data":{}}"#.to_vec(),
            "event_id has control characters",
        ),
        (
            br#"{"id":"sha256:a","type":"t","data":{}}"#.to_vec(),
            "id begins with",
        ),
        (
            br#"{"event_id":"rejected:a","type":"t","data":{}}"#.to_vec(),
            "event_id begins with",
        ),
        (
            br#"{"id":"a","type":"t","data":{"b":["\ud800"]}}"#.to_vec(),
            "data.b[0] has a string with half",
        ),
        (
            format!(
                r#"{{"id":"a","type":"t","timestamp":"{}","data":{{}}}}"#,
                at(86_400 + 60)
            )
            .into(),
            "more than 24 h ahead",
        ),
    ];
    let receiver = Receiver::start().await;
    let count = cases.len();
    for (body, message) in cases {
        let shown = String::from_utf8_lossy(&body).into_owned();
        let answer = receiver.deliver(&body).await.expect(400, "invalid_event");
        let got = answer.body["message"].as_str().unwrap();
        assert!(got.contains(message), "{shown}: {got}");
        receiver.deliver(&body).await.expect(400, "invalid_event");
        let kept = receiver.items().await.into_iter().filter(|item| {
            let stored = &item["body"];
            stored
                .as_s()
                .map(String::as_bytes)
                .or(stored.as_b().map(|b| b.as_ref()))
                == Ok(body.as_slice())
        });
        assert_eq!(kept.count(), 1, "kept verbatim, once: {shown}");
    }
    let items = receiver.items().await;
    assert_eq!(items.len(), count);
    for item in items {
        assert_eq!(item["outcome"].as_s().unwrap(), "rejected");
        assert_eq!(item["reason"].as_s().unwrap(), "invalid_event");
        assert!(item["event_id"].as_s().unwrap().starts_with("rejected:sha256:"));
    }
}

#[tokio::test]
async fn the_good_event_can_still_come_after_a_rejected_one_with_its_id() {
    let receiver = Receiver::start().await;
    let broken = r#"{"id":"event-1","type":"deepfake.completed"}"#;
    receiver.deliver(broken).await.expect(400, "invalid_event");
    receiver
        .deliver(deepfake("event-1", "session-1", 0.5).to_string())
        .await
        .received(false);
}

#[tokio::test]
async fn a_signed_time_older_than_the_retention_is_too_old() {
    let receiver = Receiver::with(
        Config {
            retention_days: 7,
            ..config()
        },
        None,
        None,
    )
    .await;
    let day = 86_400;
    let mut event = deepfake("event-1", "session-1", 0.5);
    event["data"]["timestamp"] = json!(at(-7 * day - 60));
    receiver
        .deliver(event.to_string())
        .await
        .expect(400, "event_too_old");
    // The top-level time goes before that of the data.
    event["timestamp"] = json!(at(-7 * day + 60));
    receiver.deliver(event.to_string()).await.received(false);
    let old = receiver.get("/results?outcome=rejected").await;
    assert_eq!(old.body["results"][0]["reason"], "event_too_old", "{old:?}");
    assert_eq!(old.body["results"][0]["type"], "deepfake.completed", "{old:?}");
}
