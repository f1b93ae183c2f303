//! The reads at their edges: large records, rejected bodies, late index entries, half answers of DynamoDB.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sonotheia_webhook::config::{Config, SecretSource};
use sonotheia_webhook::timestamp::Timestamp;
use testkit::*;

/// The limit of a load balancer for Lambda's response, which holds the answer as a string.
const LIMIT: usize = 1_000_000;

fn response_bytes(answer: &Value) -> usize {
    serde_json::to_string(&answer.to_string()).unwrap().len()
}

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_millis(Timestamp::now().as_millis() - seconds * 1000)
}

fn ids(answer: &Answer) -> Vec<&str> {
    let results = answer.body["results"].as_array().unwrap();
    results
        .iter()
        .map(|result| result["event_id"].as_str().unwrap())
        .collect()
}

async fn rejected_keys(receiver: &Receiver) -> Vec<String> {
    let list = receiver.get("/results?outcome=rejected&limit=100").await;
    ids(&list).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_rejected_record_has_its_body_as_text_and_the_names_that_the_body_claims() {
    let deep = format!(
        r#"{{"id":"deep","type":"t","data":{}{}}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    let cases: [(&[u8], Value, Value); 5] = [
        (br#"{"id":"event-1","type":"t"}"#, json!("event-1"), json!("t")),
        (
            br#"{"event_id":"event-2","event_type":"u","data":1}"#,
            json!("event-2"),
            json!("u"),
        ),
        (br#"{"id":7,"type":["t"],"data":1}"#, Value::Null, Value::Null),
        (b"not JSON", Value::Null, Value::Null),
        (deep.as_bytes(), json!("deep"), json!("t")),
    ];
    for (body, id, event_type) in cases {
        let receiver = Receiver::start().await;
        receiver.deliver(body).await.expect(400, "invalid_event");
        let key = &rejected_keys(&receiver).await[0];
        let record = receiver.get(&format!("/events/{key}")).await.body;
        assert_eq!(record["body"], std::str::from_utf8(body).unwrap(), "{record}");
        assert_eq!(
            (&record["claimed_event_id"], &record["claimed_type"]),
            (&id, &event_type),
            "{record}"
        );
        assert!(
            record.get("data").is_none() && record.get("metadata").is_none(),
            "{record}"
        );
    }
}

#[tokio::test]
async fn a_rejected_body_that_is_not_utf_8_is_shown_in_base64() {
    let receiver = Receiver::start().await;
    receiver
        .deliver(b"{\"id\":\"\xff\"}")
        .await
        .expect(400, "invalid_event");
    let key = &rejected_keys(&receiver).await[0];
    let record = receiver.get(&format!("/events/{key}")).await.body;
    assert_eq!(
        record["body_base64"],
        STANDARD.encode(b"{\"id\":\"\xff\"}"),
        "{record}"
    );
    assert!(record.get("body").is_none(), "{record}");
}

#[tokio::test]
async fn include_body_shows_the_text_that_was_signed() {
    let receiver = Receiver::start().await;
    let body = format!(" {} ", deepfake("event-1", "session-1", 0.5));
    receiver.deliver(&body).await.received(false);
    let plain = receiver.get("/events/event-1").await.body;
    assert!(plain.get("body").is_none(), "{plain}");
    let whole = receiver.get("/events/event-1?include=body").await.body;
    assert_eq!(whole["body"], body);
    assert_eq!(whole["data"], plain["data"]);
    for query in [
        "include=data",
        "include=",
        "include=body&include=body",
        "body=true",
    ] {
        receiver
            .get(&format!("/events/event-1?{query}"))
            .await
            .expect(400, "invalid_query");
    }
}

#[tokio::test]
async fn an_answer_fits_a_load_balancer_whatever_the_records_hold() {
    let receiver = Receiver::start().await;
    let event = |id: usize, pad: &str| {
        format!(r#"{{"id":"event-{id}","type":"t","data":{{"session_id":"s","pad":{pad}}}}}"#)
    };
    // The worst texts: quotes, escapes, and blanks that a string has to escape.
    let pads = [
        format!("[{}0]", r#""","#.repeat(80_000)),
        format!(r#""{}""#, r"\\".repeat(100_000)),
        format!("[{}0]", "0,\n\t".repeat(60_000)),
    ];
    for id in 0..9 {
        receiver.deliver(event(id, &pads[id % 3])).await.received(false);
    }
    let (mut read, mut next) = (Vec::new(), String::new());
    loop {
        let answer = receiver.get(&format!("/results/s?limit=100{next}")).await;
        assert_eq!(answer.status, 200, "{:?}", answer.status);
        assert!(response_bytes(&answer.body) < LIMIT);
        read.extend(ids(&answer).into_iter().map(str::to_owned));
        // Each of these records fits into an answer with its data.
        let results = answer.body["results"].as_array().unwrap();
        assert!(results.iter().all(|result| result["data"].is_object()));
        match answer.body["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    read.sort();
    assert_eq!(read, (0..9).map(|id| format!("event-{id}")).collect::<Vec<_>>());

    for (id, pad) in pads.iter().enumerate() {
        let whole = receiver
            .get(&format!("/events/event-{id}?include=body"))
            .await
            .body;
        assert!(response_bytes(&whole) < LIMIT);
        let shown = whole["body"].as_str().map(str::to_owned);
        let decoded = || STANDARD.decode(whole["body_base64"].as_str().unwrap()).unwrap();
        let body = shown.unwrap_or_else(|| String::from_utf8(decoded()).unwrap());
        assert_eq!(body, event(id, pad));
    }
    // Each control character takes seven bytes.
    let control = vec![1; 262_144];
    receiver.deliver(&control).await.expect(400, "invalid_event");
    let key = &rejected_keys(&receiver).await[0];
    let record = receiver.get(&format!("/events/{key}")).await.body;
    assert!(response_bytes(&record) < LIMIT);
    assert_eq!(record["body_base64"], STANDARD.encode(&control));
}

#[tokio::test]
async fn an_answer_that_cannot_hold_the_data_and_the_body_has_the_body() {
    let mut config = Config::new(TABLE, SecretSource::Fixed(SECRET.into()));
    config.max_body_bytes = 358_400;
    let receiver = Receiver::with(config, None, None).await;
    let event = format!(
        r#"{{"id":"event-1","type":"t","data":{{"pad":"{}"}}}}"#,
        r#"\""#.repeat(175_000)
    );
    receiver.deliver(&event).await.received(false);
    let plain = receiver.get("/events/event-1").await.body;
    assert!(plain["data"].is_object() && response_bytes(&plain) < LIMIT);
    let whole = receiver.get("/events/event-1?include=body").await.body;
    assert!(whole.get("data").is_none() && response_bytes(&whole) < LIMIT);
    assert_eq!(whole["body_base64"], STANDARD.encode(&event));
}

#[tokio::test]
async fn a_list_fits_a_load_balancer_whatever_the_ids_hold() {
    let receiver = Receiver::start().await;
    for i in 0..100 {
        let session = format!("{}{i:03}", "\u{1}".repeat(1000));
        let event = json!({"id": format!("\"{i:03}{}", "\\".repeat(250)), "type": "\"".repeat(256), "data": {"session_id": session}, "metadata": {}});
        // The path of this problem has 120 control characters.
        let metadata = format!(r#""metadata":{{"{}":"\ud800"}}"#, r"\u0001".repeat(120));
        let event = event.to_string().replace(r#""metadata":{}"#, &metadata);
        receiver.deliver(event).await.received(false);
    }
    let (mut counts, mut next) = (Vec::new(), String::new());
    loop {
        let answer = receiver.get(&format!("/results?limit=100{next}")).await.body;
        assert!(response_bytes(&answer) < LIMIT);
        counts.push(answer["count"].as_u64().unwrap());
        match answer["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    // All of them would take more than the limit, and the first page holds as many as fit.
    assert!((80..100).contains(&counts[0]), "{counts:?}");
    assert_eq!(counts.iter().sum::<u64>(), 100);
}

#[tokio::test]
async fn a_later_page_never_shows_a_record_that_is_newer_than_the_first_page() {
    let receiver = Receiver::start().await;
    let store = async |id: String, seconds| {
        let event = json!({"id": id, "type": "t", "data": {"session_id": "s"}}).to_string();
        receiver.ingest(event.as_bytes(), ago(seconds)).await;
    };
    for i in 0..30 {
        store(format!("event-{i:02}"), 100 + i).await;
    }
    let first = receiver.get("/results?limit=5").await;
    let mut shown: Vec<String> = ids(&first).into_iter().map(str::to_owned).collect();
    // New events, and events that reach the index late, spread over all shards.
    for i in 0..64 {
        store(format!("new-{i}"), 0).await;
        store(format!("late-{i}"), 101).await;
    }
    let mut next = first.body["next"].as_str().map(str::to_owned);
    while let Some(cursor) = next {
        let page = receiver.get(&format!("/results?limit=5&cursor={cursor}")).await;
        shown.extend(ids(&page).into_iter().map(str::to_owned));
        next = page.body["next"].as_str().map(str::to_owned);
    }
    assert_eq!(
        shown,
        (0..30).map(|i| format!("event-{i:02}")).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn keys_that_dynamodb_leaves_unprocessed_are_asked_for_again_after_a_pause() {
    static CALLS: Mutex<Vec<Instant>> = Mutex::new(Vec::new());
    let fault = Fault::Rewrite(|request, (status, answer)| {
        if !request.contains("BatchGetItem") {
            return (status, answer);
        }
        let mut calls = CALLS.lock().unwrap();
        calls.push(Instant::now());
        if calls.len() > 1 {
            return (status, answer);
        }
        let asked: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
        let nothing = json!({"Responses": {TABLE: []}, "UnprocessedKeys": asked["RequestItems"]});
        (status, nothing.to_string())
    });
    let config = Config::new(TABLE, SecretSource::Fixed(SECRET.into()));
    let receiver = Receiver::with(config, None, Some(fault.always())).await;
    receiver
        .deliver(deepfake("event-1", "session-1", 0.5).to_string())
        .await
        .received(false);
    let answer = receiver.get("/results/session-1").await;
    assert_eq!(ids(&answer), ["event-1"]);
    let calls = CALLS.lock().unwrap();
    assert_eq!(calls.len(), 2);
    assert!(calls[1] - calls[0] >= Duration::from_millis(50), "{calls:?}");
}
