//! Cursors of the reads.

use std::collections::HashSet;

use crate::receiver::{percent, with_receiver};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use testkit::Receiver;

const RECORDS: usize = 12;

/// The receiver answers every cursor with a page or with 400. The pages come to an end, go from newer to older records, and
/// show no record twice. A session's pages show every record after the cursor.
///
/// The first byte of the input chooses the query, and whether the rest is the text of the cursor or its decoded bytes.
pub fn cursor(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else {
        return;
    };
    let cursor = if choice & 1 == 0 {
        URL_SAFE_NO_PAD.encode(rest).into_bytes()
    } else {
        rest.to_vec()
    };
    let query = match choice >> 1 & 3 {
        0 => "/results?limit=2",
        1 => "/results?limit=2&type=t",
        2 => "/results?limit=2&from=2026-01-21T12:00:00Z",
        _ => "/results/session?limit=2",
    };
    with_receiver(prepare, async |receiver| follow(receiver, query, &cursor).await);
}

/// Two cursors that the receiver gives: of a session, and of all records. The first byte is the choice that [`cursor`] needs.
pub fn cursors() -> [Vec<u8>; 2] {
    [(7, "/results/session?limit=2"), (1, "/results?limit=11")].map(|(choice, query)| {
        let mut input = vec![choice];
        with_receiver(prepare, async |receiver| {
            let page = receiver.get(query).await.body;
            input.extend(page["next"].as_str().expect("a next page").as_bytes());
        });
        input
    })
}

async fn prepare(receiver: &Receiver) {
    for n in 0..RECORDS {
        let body = format!(r#"{{"id":"e{n}","type":"t","data":{{"session_id":"session"}}}}"#);
        receiver.deliver(body).await.received(false);
    }
}

/// Follows the pages to the end. A page may be empty.
async fn follow(receiver: &Receiver, query: &str, first: &[u8]) {
    let mut cursor = percent(first);
    let mut shown: Vec<Place> = Vec::new();
    for page in 0..4 * RECORDS {
        let answer = receiver.get(&format!("{query}&cursor={cursor}")).await;
        let json = answer.body;
        if answer.status == 400 {
            assert_eq!((page, &json["code"]), (0, &"invalid_query".into()), "{json}");
            return;
        }
        assert_eq!(answer.status, 200, "{json}");
        let results = json["results"].as_array().expect("an array");
        assert!(results.len() <= 2 && json["count"] == results.len(), "{json}");
        shown.extend(results.iter().map(place));
        match json["next"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return check(receiver, query, first, &shown).await,
        }
    }
    panic!("{query} does not end");
}

/// The time of receipt, and the id.
type Place = (String, String);

fn place(result: &Value) -> Place {
    let text = |name| result[name].as_str().expect("a string").to_owned();
    (text("received_at"), text("event_id"))
}

/// Checks the records of all pages. DynamoDB chooses the order of records with the same time.
async fn check(receiver: &Receiver, query: &str, cursor: &[u8], shown: &[Place]) {
    assert!(shown.windows(2).all(|pair| pair[0].0 >= pair[1].0), "{shown:?}");
    let ids: HashSet<_> = shown.iter().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), shown.len(), "{shown:?}");
    if !query.starts_with("/results/session") {
        return;
    }
    let start = URL_SAFE_NO_PAD.decode(cursor).expect("the receiver read it");
    let start = String::from_utf8(start).expect("the receiver read it");
    let (time, _) = start.split_once(' ').expect("a time and an id");
    let all = receiver.get("/results/session?limit=100").await.body;
    let older = all["results"].as_array().expect("an array").iter().map(place);
    let older: Vec<_> = older
        .filter(|(received_at, _)| received_at.as_str() < time)
        .collect();
    assert!(shown.ends_with(&older), "{shown:?} after {start}");
    assert!(
        shown.iter().all(|(received_at, _)| received_at.as_str() <= time),
        "{shown:?} after {start}"
    );
}
