//! The reads of the contract's section 3.

use std::collections::HashSet;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use sonotheia_webhook::config::{Config, SecretSource};
use sonotheia_webhook::timestamp::Timestamp;

use testkit::*;

/// Delivers as if it were another time.
pub(crate) async fn deliver_at(receiver: &Receiver, event: &Value, now: Timestamp) {
    receiver.ingest(event.to_string().as_bytes(), now).await;
}

pub(crate) fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_millis(Timestamp::now().as_millis() - seconds * 1000)
}

pub(crate) fn plain(id: &str, event_type: &str, session: &str) -> Value {
    json!({"id": id, "type": event_type, "data": {"session_id": session}})
}

pub(crate) fn ids(answer: &Answer) -> Vec<String> {
    let results = answer.body["results"].as_array().expect("results");
    assert_eq!(answer.body["count"], results.len());
    results
        .iter()
        .map(|result| result["event_id"].as_str().expect("an id").to_owned())
        .collect()
}

/// Follows `next` to the end; the ids of every page.
async fn pages(receiver: &Receiver, path: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = receiver.get(&format!("{path}{cursor}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        pages.push(ids(&answer));
        match answer.body["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => {
                assert_eq!(answer.body["next"], Value::Null);
                return pages;
            }
        }
        assert!(pages.len() < 500, "no end");
    }
}

#[tokio::test]
async fn health_says_ok_and_asks_nobody() {
    let receiver = Receiver::start().await;
    let answer = receiver.get("/health").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["status"], "ok");
    assert_eq!(answer.body["version"], env!("CARGO_PKG_VERSION"));
    assert!(answer.body["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn other_paths_are_not_found_and_other_methods_not_allowed() {
    let receiver = Receiver::start().await;
    for path in [
        "/",
        "/webhook//",
        "/webhooks",
        "/results//",
        "/events",
        "/events//",
        "/live/webhook",
        // No text once it is decoded, and so the id of nothing.
        "/events/%ff",
        "/results/%ff",
    ] {
        receiver.get(path).await.expect(404, "not_found");
    }
    for (method, path, allowed) in [
        (Method::GET, "/webhook", "POST"),
        (Method::PUT, "/webhook", "POST"),
        (Method::POST, "/health", "GET,HEAD"),
        (Method::DELETE, "/results", "GET,HEAD"),
        (Method::POST, "/results/session-1", "GET,HEAD"),
        (Method::PATCH, "/events/event-1", "GET,HEAD"),
    ] {
        let request = Request::builder()
            .method(&method)
            .uri(path)
            .body(Body::empty())
            .unwrap();
        let answer = receiver.send(request).await.expect(405, "method_not_allowed");
        assert_eq!(answer.headers["allow"], allowed, "{method} {path}");
    }
}

#[tokio::test]
async fn a_record_is_read_whole_by_its_id() {
    let receiver = Receiver::start().await;
    let mut event = deepfake("event-1", "session-1", 0.9);
    event["metadata"] = json!({"tenant": "a"});
    receiver.deliver(event.to_string()).await.received(false);
    let answer = receiver.get("/events/event-1").await;
    assert_eq!(answer.status, 200);
    let mut body = answer.body;
    let times: Vec<_> = ["occurred_at", "received_at", "expires_at"]
        .map(|key| {
            body.as_object_mut()
                .unwrap()
                .remove(key)
                .unwrap()
                .as_str()
                .unwrap()
                .to_owned()
        })
        .into();
    assert!(
        times.iter().all(|time| time.len() == 24 && time.ends_with('Z')),
        "{times:?}"
    );
    assert_eq!(times[0], event["data"]["timestamp"].as_str().unwrap());
    assert_eq!(
        body,
        json!({
            "event_id": "event-1", "type": "deepfake.completed", "session_id": "session-1", "outcome": "accepted",
            "alert": "high_deepfake_score", "data": event["data"], "metadata": {"tenant": "a"},
        })
    );
    receiver.get("/events/event-2").await.expect(404, "not_found");
    receiver
        .get(&format!("/events/{}", "x".repeat(3000)))
        .await
        .expect(404, "not_found");
}

#[tokio::test]
async fn a_session_is_read_newest_first_page_by_page() {
    let receiver = Receiver::start().await;
    for i in 0..7 {
        deliver_at(
            &receiver,
            &plain(&format!("event-{i}"), "t", "session-1"),
            ago(70 - i * 10),
        )
        .await;
    }
    deliver_at(&receiver, &plain("other", "t", "session-2"), ago(0)).await;
    let expected: Vec<_> = (0..7).rev().map(|i| format!("event-{i}")).collect();
    let whole = receiver.get("/results/session-1").await;
    assert_eq!(whole.body["session_id"], "session-1");
    assert_eq!(ids(&whole), expected);
    assert_eq!(
        whole.body["results"][0]["data"],
        json!({"session_id": "session-1"})
    );
    assert_eq!(whole.body["next"], Value::Null);
    let pages = pages(&receiver, "/results/session-1?limit=3").await;
    assert_eq!(pages.concat(), expected);
    assert!(pages.iter().all(|page| page.len() <= 3));
    receiver.get("/results/nobody").await.expect(404, "not_found");
    receiver
        .get(&format!("/results/{}", "x".repeat(3000)))
        .await
        .expect(404, "not_found");
}

#[tokio::test]
async fn a_page_of_large_payloads_ends_before_lambdas_limit() {
    let receiver = Receiver::start().await;
    let pad = "\\\"".repeat(100_000);
    for i in 0..16 {
        let event = format!(r#"{{"id":"event-{i}","type":"t","data":{{"session_id":"s","pad":"{pad}"}}}}"#);
        receiver.deliver(event).await.received(false);
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = receiver.get(&format!("/results/s?limit=100{cursor}")).await;
        let quoted = serde_json::to_string(&answer.body.to_string()).unwrap();
        assert!(quoted.len() < 6_000_000, "{}", quoted.len());
        seen.extend(ids(&answer));
        match answer.body["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 16);
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), 16);
}

#[tokio::test]
async fn all_records_are_read_newest_first_page_by_page() {
    let receiver = Receiver::start().await;
    for i in 0..60 {
        deliver_at(
            &receiver,
            &plain(&format!("event-{i:02}"), "t", "s"),
            ago(600 - i * 10),
        )
        .await;
    }
    let expected: Vec<_> = (0..60).rev().map(|i| format!("event-{i:02}")).collect();
    let first = receiver.get("/results").await;
    assert_eq!(ids(&first), expected[..25], "25 by default");
    assert_eq!(first.body["results"][0].get("data"), None);
    for limit in [1, 7, 59, 60, 100] {
        let pages = pages(&receiver, &format!("/results?limit={limit}")).await;
        assert!(pages.iter().all(|page| page.len() <= limit));
        assert_eq!(pages.concat(), expected, "limit {limit}");
    }
}

#[tokio::test]
async fn records_of_one_millisecond_are_all_read_once() {
    let receiver = Receiver::start().await;
    let now = Timestamp::now();
    for i in 0..40 {
        deliver_at(&receiver, &plain(&format!("event-{i:02}"), "t", "s"), now).await;
    }
    for path in ["/results?limit=3", "/results/s?limit=3"] {
        let mut all = pages(&receiver, path).await.concat();
        all.sort_unstable();
        let expected: Vec<_> = (0..40).map(|i| format!("event-{i:02}")).collect();
        assert_eq!(all, expected, "{path}");
    }
}

#[tokio::test]
async fn filters_choose_and_lose_nothing() {
    let receiver = Receiver::start().await;
    for i in 0..30 {
        let event_type = if i % 5 == 0 { "rare" } else { "common" };
        deliver_at(
            &receiver,
            &plain(&format!("event-{i:02}"), event_type, "s"),
            ago(300 - i * 10),
        )
        .await;
    }
    receiver.deliver("{}").await.expect(400, "invalid_event");
    let numbers = |pages: Vec<Vec<String>>| pages.concat();
    let rare: Vec<_> = [25, 20, 15, 10, 5, 0].map(|i| format!("event-{i:02}")).into();
    assert_eq!(
        numbers(pages(&receiver, "/results?type=rare&limit=2").await),
        rare
    );
    assert_eq!(
        numbers(pages(&receiver, "/results?type=none&limit=2").await),
        Vec::<String>::new()
    );
    assert_eq!(
        numbers(pages(&receiver, "/results?outcome=accepted&limit=9").await).len(),
        30
    );
    let rejected = pages(&receiver, "/results?outcome=rejected").await.concat();
    assert_eq!(rejected.len(), 1);
    assert!(rejected[0].starts_with("rejected:sha256:"));
    let (from, to) = (ago(300 - 105), ago(300 - 195));
    let between = pages(&receiver, &format!("/results?from={from}&to={to}&limit=4"))
        .await
        .concat();
    assert_eq!(
        between,
        (11..20).rev().map(|i| format!("event-{i}")).collect::<Vec<_>>()
    );
    let since = pages(&receiver, &format!("/results?from={}&type=common", ago(45)))
        .await
        .concat();
    assert_eq!(since, ["event-29", "event-28", "event-27", "event-26"]);
}

#[tokio::test]
async fn an_expired_record_that_is_still_there_is_not_shown_and_still_counts_for_dedupe() {
    let receiver = Receiver::start().await;
    let long_ago = Timestamp::now().minus_days(91);
    let event = plain("event-1", "t", "session-1");
    deliver_at(&receiver, &event, long_ago).await;
    assert_eq!(receiver.items().await.len(), 1);
    receiver.get("/events/event-1").await.expect(404, "not_found");
    receiver.get("/results/session-1").await.expect(404, "not_found");
    assert_eq!(receiver.get("/results").await.body["count"], 0);
    receiver.deliver(event.to_string()).await.received(true);
}

#[tokio::test]
async fn every_read_shows_a_record_until_the_moment_of_its_expiry() {
    let receiver = Receiver::start().await;
    deliver_at(&receiver, &plain("event-1", "t", "session-1"), Timestamp::now()).await;
    let record = receiver.app.store.get("event-1").await.unwrap().unwrap();
    let expiry = record.expires_at.as_millis();
    for (now, is_shown) in [(expiry - 1, true), (expiry, false)] {
        let receiver = receiver.at(Timestamp::from_millis(now));
        let status = if is_shown { 200 } else { 404 };
        assert_eq!(receiver.get("/events/event-1").await.status, status, "{now}");
        assert_eq!(receiver.get("/results/session-1").await.status, status, "{now}");
        let all = receiver.get("/results").await;
        assert_eq!(all.body["count"], u8::from(is_shown), "{now}");
    }
}

#[tokio::test]
async fn a_record_is_readable_right_after_its_answer_whatever_replica_is_asked() {
    // A replica that has seen nothing yet answers what is not asked of the leader.
    let lagging = Fault::Rewrite(|request, answer| {
        let reads_items = ["DynamoDB_20120810.GetItem", "DynamoDB_20120810.BatchGetItem"]
            .iter()
            .any(|operation| request.contains(operation));
        if reads_items && !request.contains(r#""ConsistentRead":true"#) {
            (200, "{}".to_owned())
        } else {
            answer
        }
    });
    let config = Config::new(TABLE, SecretSource::Fixed(SECRET.into()));
    let receiver = Receiver::with(config, None, Some(lagging.always())).await;
    let event = deepfake("event-1", "session-1", 0.5).to_string();
    receiver.deliver(event).await.received(false);
    assert_eq!(receiver.get("/events/event-1").await.status, 200);
    assert_eq!(ids(&receiver.get("/results/session-1").await), ["event-1"]);
}

#[tokio::test]
async fn a_record_that_is_not_ours_is_left_out_of_lists_and_told_of() {
    let receiver = Receiver::start().await;
    let _logged = tracing::subscriber::set_default(receiver.app.telemetry.subscriber(emulators::ERRORS_ONLY));
    for i in 0..3 {
        receiver
            .deliver(plain(&format!("event-{i}"), "t", "s").to_string())
            .await
            .received(false);
    }
    for (id, attribute, value) in [
        ("event-0", "outcome", "perhaps"),
        ("event-1", "problems", "not JSON"),
    ] {
        receiver
            .direct
            .update_item()
            .table_name(TABLE)
            .key("event_id", AttributeValue::S(id.into()))
            .update_expression("SET #attribute = :value")
            .expression_attribute_names("#attribute", attribute)
            .expression_attribute_values(":value", AttributeValue::S(value.into()))
            .send()
            .await
            .unwrap();
    }
    for path in ["/results?limit=1", "/results?limit=100", "/results/s?limit=1"] {
        assert_eq!(pages(&receiver, path).await.concat(), ["event-2"], "{path}");
    }
    let log = receiver.log.text();
    for (id, attribute) in [("event-0", "outcome"), ("event-1", "problems")] {
        let told = |line: &&str| line.contains("WARN") && line.contains(id) && line.contains(attribute);
        assert!(log.lines().any(|line| told(&line)), "{id} in {log}");
    }
}
