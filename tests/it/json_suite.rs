//! The cases on which JSON parsers disagree (JSONTestSuite). The receiver accepts or rejects each of them, and stores all
//! of them byte for byte.

mod cases;

use cases::{ACCEPTED, REFUSED, UNDECIDED};

use testkit::*;

/// An event with the case as a member of its data.
fn event(id: &str, case: &[u8]) -> Vec<u8> {
    let head = format!(r#"{{"id":"{id}","type":"t","data":{{"v":"#);
    [head.as_bytes(), case, b"}}"].concat()
}

/// The bytes of the answer. A parser could change them.
async fn read(receiver: &Receiver, id: &str) -> Vec<u8> {
    let reply = receiver.get_raw(&format!("/events/{id}")).await;
    assert_eq!(reply.status, 200, "{id}");
    reply.body.to_vec()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Checks that the receiver accepts the case, stores the body byte for byte, and shows the data byte for byte.
async fn accepted(receiver: &Receiver, id: &str, case: &[u8]) {
    let body = event(id, case);
    receiver.deliver(&body).await.received(false);
    receiver.deliver(&body).await.received(true);
    assert_eq!(receiver.stored_body(id).await.as_ref(), Some(&body), "{id}");
    let data = [br#""data":{"v":"#.as_slice(), case, b"}"].concat();
    let answer = read(receiver, id).await;
    assert!(contains(&answer, &data), "{id}: {}", answer.escape_ascii());
}

/// Checks that the receiver rejects the body, and stores it byte for byte.
async fn rejected(receiver: &Receiver, name: &str, body: &[u8]) {
    let answer = receiver.deliver(body).await;
    assert_eq!(answer.status, 400, "{name}: {answer:?}");
    assert_eq!(answer.body["code"], "invalid_event", "{name}: {answer:?}");
    let stored = receiver.stored_body(&rejected_key(body)).await;
    assert_eq!(stored.as_deref(), Some(body), "{name}");
}

#[tokio::test]
async fn json_that_every_parser_must_accept_is_read_back_byte_for_byte() {
    let receiver = Receiver::start().await;
    assert_eq!(ACCEPTED.len(), 95);
    for (name, case) in ACCEPTED {
        accepted(&receiver, name, case).await;
    }
}

#[tokio::test]
async fn text_that_every_parser_must_refuse_is_rejected_as_data_and_as_a_body() {
    let receiver = Receiver::start().await;
    assert_eq!(REFUSED.len(), 186);
    let unclosed = b"[".repeat(100_000);
    let unclosed_objects = br#"[{"":"#.repeat(50_000);
    let long = [
        ("n_structure_100000_opening_arrays", &*unclosed),
        ("n_structure_open_array_object", &*unclosed_objects),
    ];
    for (name, case) in REFUSED.iter().copied().chain(long) {
        rejected(&receiver, name, &event(name, case)).await;
        rejected(&receiver, name, case).await;
    }
}

#[tokio::test]
async fn numbers_of_any_size_are_accepted_and_text_that_readers_see_differently_is_rejected() {
    let receiver = Receiver::start().await;
    assert_eq!(UNDECIDED.len(), 34);
    let nested = [b"[".repeat(500), b"]".repeat(500)].concat();
    let long = [("i_structure_500_nested_arrays", &*nested)];
    for (name, case) in UNDECIDED.iter().copied().chain(long) {
        // The receiver keeps numbers as text, so no number is too large. Readers disagree about half surrogate pairs,
        // bytes that are not UTF-8, byte order marks and deep nesting.
        if name.starts_with("i_number") {
            accepted(&receiver, name, case).await;
        } else {
            rejected(&receiver, name, &event(name, case)).await;
        }
    }
}

#[tokio::test]
async fn nesting_is_accepted_up_to_128_levels() {
    let receiver = Receiver::start().await;
    // `data` itself is the first level.
    let nested = |levels: usize| [b"[".repeat(levels - 1), b"]".repeat(levels - 1)].concat();
    accepted(&receiver, "deep", &nested(128)).await;
    rejected(&receiver, "too deep", &event("too-deep", &nested(129))).await;
    // The receiver never compares `metadata`, so it stores `metadata` of any depth.
    let metadata = [
        br#"{"id":"metadata","type":"t","data":{},"metadata":{"v":"#.as_slice(),
        &nested(100_000),
        b"}}",
    ]
    .concat();
    receiver.deliver(&metadata).await.received(false);
    assert_eq!(receiver.stored_body("metadata").await, Some(metadata));
}

#[tokio::test]
async fn a_number_with_another_last_digit_is_a_conflict() {
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
        is_shown(&receiver, id, one).await;
    }
}

async fn is_shown(receiver: &Receiver, id: &str, number: &str) {
    let data = format!(r#""data":{{"v":{number}}}"#);
    assert!(contains(&read(receiver, id).await, data.as_bytes()), "{id}");
}
