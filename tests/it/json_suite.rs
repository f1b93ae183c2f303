//! What parsers disagree about (JSONTestSuite): taken to the byte, or refused, and kept either way.

mod cases;

use axum::body::Body;
use axum::http::Request;
use cases::{ACCEPTED, REFUSED, UNDECIDED};
use sha2::{Digest, Sha256};
use tower::ServiceExt;

use testkit::*;

/// An event that has the case as a member of its data.
fn event(id: &str, case: &[u8]) -> Vec<u8> {
    let head = format!(r#"{{"id":"{id}","type":"t","data":{{"v":"#);
    [head.as_bytes(), case, b"}}"].concat()
}

/// The answer's bytes: what is read back must not have been through a parser on the way here.
async fn read(receiver: &Receiver, id: &str) -> Vec<u8> {
    let request = Request::get(format!("/events/{id}")).body(Body::empty()).unwrap();
    let response = receiver.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200, "{id}");
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
    body.unwrap().to_vec()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Delivers, reads back, compares: the body in the table to the byte, and the data in the answer too.
async fn taken(receiver: &Receiver, id: &str, case: &[u8]) {
    let body = event(id, case);
    receiver.deliver(&body).await.received(false);
    receiver.deliver(&body).await.received(true);
    assert_eq!(body_in_table(receiver, id).await, body, "{id}");
    let data = [br#""data":{"v":"#.as_slice(), case, b"}"].concat();
    let answer = read(receiver, id).await;
    assert!(contains(&answer, &data), "{id}: {}", answer.escape_ascii());
}

/// Delivers; the body is refused, and kept to the byte.
async fn refused(receiver: &Receiver, name: &str, body: &[u8]) {
    let answer = receiver.deliver(body).await;
    assert_eq!(answer.status, 400, "{name}: {answer:?}");
    assert_eq!(answer.body["code"], "invalid_event", "{name}: {answer:?}");
    let digest = Sha256::digest(body);
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let key = format!("rejected:sha256:{digits}");
    assert_eq!(body_in_table(receiver, &key).await, body, "{name}");
}

async fn body_in_table(receiver: &Receiver, id: &str) -> Vec<u8> {
    let record = receiver.app.store.get(id).await.unwrap();
    record
        .unwrap_or_else(|| panic!("{id} is not stored"))
        .body
        .unwrap()
}

#[tokio::test]
async fn what_every_parser_has_to_accept_is_read_back_to_the_byte() {
    let receiver = Receiver::start().await;
    assert_eq!(ACCEPTED.len(), 95);
    for (name, case) in ACCEPTED {
        taken(&receiver, name, case).await;
    }
}

#[tokio::test]
async fn what_every_parser_has_to_refuse_is_refused_in_data_and_alone() {
    let receiver = Receiver::start().await;
    assert_eq!(REFUSED.len(), 186);
    let unclosed = b"[".repeat(100_000);
    let unclosed_objects = br#"[{"":"#.repeat(50_000);
    let long = [
        ("n_structure_100000_opening_arrays", &*unclosed),
        ("n_structure_open_array_object", &*unclosed_objects),
    ];
    for (name, case) in REFUSED.iter().copied().chain(long) {
        refused(&receiver, name, &event(name, case)).await;
        refused(&receiver, name, case).await;
    }
}

#[tokio::test]
async fn numbers_of_any_size_are_taken_and_what_readers_would_garble_is_refused() {
    let receiver = Receiver::start().await;
    assert_eq!(UNDECIDED.len(), 34);
    let nested = [b"[".repeat(500), b"]".repeat(500)].concat();
    let long = [("i_structure_500_nested_arrays", &*nested)];
    for (name, case) in UNDECIDED.iter().copied().chain(long) {
        // Numbers are kept as text, so none is too large. Half surrogate pairs, bytes that are not
        // UTF-8, byte order marks and deep nesting are read differently by different readers.
        if name.starts_with("i_number") {
            taken(&receiver, name, case).await;
        } else {
            refused(&receiver, name, &event(name, case)).await;
        }
    }
}

#[tokio::test]
async fn nesting_is_taken_to_128_levels_and_refused_beyond() {
    let receiver = Receiver::start().await;
    // `data` itself is the first level.
    let nested = |levels: usize| [b"[".repeat(levels - 1), b"]".repeat(levels - 1)].concat();
    taken(&receiver, "deep", &nested(128)).await;
    refused(&receiver, "too deep", &event("too-deep", &nested(129))).await;
    // What is not compared is not followed down, and is kept however deep it is.
    let metadata = [
        br#"{"id":"metadata","type":"t","data":{},"metadata":{"v":"#.as_slice(),
        &nested(100_000),
        b"}}",
    ]
    .concat();
    receiver.deliver(&metadata).await.received(false);
    assert_eq!(body_in_table(&receiver, "metadata").await, metadata);
}

#[tokio::test]
async fn a_number_that_differs_in_its_last_digit_is_another_event() {
    let receiver = Receiver::start().await;
    for (id, one, same, other) in [
        (
            "long",
            "9007199254740993",
            "9007199254740993.0",
            "9007199254740992",
        ),
        ("fraction", "0.1", "1e-1", "0.1000000000000000055511151231257827"),
        ("huge", "1e400", "10E+399", "1e401"),
        ("tiny", "1e-400", "0.1e-399", "0"),
        ("minus", "-0", "0.0e5", "-1"),
    ] {
        receiver.deliver(event(id, one.as_bytes())).await.received(false);
        receiver.deliver(event(id, same.as_bytes())).await.received(true);
        receiver
            .deliver(event(id, other.as_bytes()))
            .await
            .expect(409, "event_conflict");
        taken_as(&receiver, id, one).await;
    }
}

async fn taken_as(receiver: &Receiver, id: &str, number: &str) {
    let data = format!(r#""data":{{"v":{number}}}"#);
    assert!(contains(&read(receiver, id).await, data.as_bytes()), "{id}");
}
