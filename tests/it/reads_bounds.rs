//! The bounds of a page: what one call may ask for, and how new a record may be.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use sonotheia_webhook::config::{Config, SecretSource};
use sonotheia_webhook::timestamp::Timestamp;
use testkit::*;

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_millis(Timestamp::now().as_millis() - seconds * 1000)
}

fn ids(answer: &Answer) -> Vec<String> {
    let results = answer.body["results"].as_array().unwrap();
    let id = |result: &Value| result["event_id"].as_str().unwrap().to_owned();
    results.iter().map(id).collect()
}

#[tokio::test]
async fn one_call_asks_for_few_records_even_if_the_first_records_of_the_session_are_small() {
    static MOST: AtomicUsize = AtomicUsize::new(0);
    MOST.store(0, Ordering::SeqCst);
    let watch = Fault::Rewrite(|request, answer| {
        if request.contains("BatchGetItem") {
            let asked: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
            let keys = asked["RequestItems"][TABLE]["Keys"].as_array().unwrap().len();
            MOST.fetch_max(keys, Ordering::SeqCst);
        }
        answer
    });
    let config = Config::new(TABLE, SecretSource::Fixed(SECRET.into()));
    let receiver = Receiver::with(config, None, Some(watch.always())).await;
    let large = "p".repeat(200_000);
    for i in 0..40 {
        let pad = if i < 10 { "" } else { &large };
        let event =
            json!({"id": format!("event-{i:02}"), "type": "t", "data": {"session_id": "s", "pad": pad}});
        receiver.ingest(event.to_string().as_bytes(), ago(i)).await;
    }
    let (mut read, mut next) = (Vec::new(), String::new());
    loop {
        let answer = receiver.get(&format!("/results/s?limit=100{next}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        read.extend(ids(&answer));
        match answer.body["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(read, (0..40).map(|i| format!("event-{i:02}")).collect::<Vec<_>>());
    // An item has 400 KB at most, and one attempt has 1.2 s.
    let most = MOST.load(Ordering::SeqCst);
    assert!(most * 400_000 <= 4_000_000, "{most} records in one call");
}

#[tokio::test]
async fn after_an_empty_page_no_page_shows_a_record_that_came_later() {
    let receiver = Receiver::start().await;
    let store = async |id: String, event_type: &str, seconds| {
        let event = json!({"id": id, "type": event_type, "data": {}}).to_string();
        receiver.ingest(event.as_bytes(), ago(seconds)).await;
    };
    // The first query ends before the rare records in a full shard, and reaches them in a shard with fewer records. That
    // shard keeps its start for the next page.
    for i in 0..1600 {
        store(format!("common-{i}"), "common", 1000).await;
    }
    for i in 0..64 {
        store(format!("rare-{i}"), "rare", 2000).await;
    }
    let first = receiver.get("/results?type=rare").await;
    assert_eq!(first.body["count"], 0, "{first:?}");
    let next = first.body["next"].as_str().unwrap().to_owned();
    for i in 0..64 {
        store(format!("later-{i}"), "rare", 0).await;
    }
    let page = receiver
        .get(&format!("/results?type=rare&limit=100&cursor={next}"))
        .await;
    assert!(
        ids(&page).iter().all(|id| id.starts_with("rare-")),
        "{:?}",
        ids(&page)
    );
}

/// The largest `Limit` of a query since it was last set to 0. Only one test uses it.
static MOST: AtomicUsize = AtomicUsize::new(0);

/// A receiver whose queries note their `Limit` in [`MOST`].
async fn with_noted_limits() -> Receiver {
    let note = Fault::Rewrite(|request, answer| {
        if request.contains("DynamoDB_20120810.Query") {
            let asked: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
            MOST.fetch_max(asked["Limit"].as_u64().unwrap() as usize, Ordering::SeqCst);
        }
        answer
    });
    let config = Config::new(TABLE, SecretSource::Fixed(SECRET.into()));
    Receiver::with(config, None, Some(note.always())).await
}

#[tokio::test]
async fn a_page_reads_few_records_of_each_shard_and_is_full_and_a_filtered_page_reads_100() {
    let receiver = with_noted_limits().await;
    for i in 0..250 {
        let event = json!({"id": format!("event-{i:03}"), "type": "t", "data": {}});
        receiver.ingest(event.to_string().as_bytes(), ago(i)).await;
    }
    let (mut seen, mut counts, mut next) = (Vec::new(), Vec::new(), String::new());
    loop {
        let answer = receiver.get(&format!("/results?limit=100{next}")).await;
        let page = ids(&answer);
        counts.push(page.len());
        seen.extend(page);
        match answer.body["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(counts, [100, 100, 50]);
    let newest_first: Vec<_> = (0..250).map(|i| format!("event-{i:03}")).collect();
    assert_eq!(seen, newest_first);
    assert!(MOST.swap(0, Ordering::SeqCst) < 40);

    for filter in ["type=t", "outcome=accepted", "type=t&outcome=accepted"] {
        receiver.get(&format!("/results?{filter}&limit=10")).await;
        assert_eq!(MOST.swap(0, Ordering::SeqCst), 100, "{filter}");
    }
}
