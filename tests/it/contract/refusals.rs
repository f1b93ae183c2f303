//! Deliveries that the receiver refuses before it parses them.

use sonotheia_webhook::config::Config;

use testkit::*;

use super::config;

#[tokio::test]
async fn a_body_over_the_limit_is_too_large_before_anything_else_is_looked_at() {
    let receiver = Receiver::with(
        Config {
            max_body_bytes: 100,
            ..config()
        },
        None,
        None,
    )
    .await;
    let unsigned = post([b' '; 101], &[]);
    receiver.send(unsigned).await.expect(413, "payload_too_large");
    receiver
        .deliver([b' '; 101])
        .await
        .expect(413, "payload_too_large");
    assert!(receiver.items().await.is_empty());
    // At the limit it is read.
    receiver.deliver([b' '; 100]).await.expect(400, "invalid_event");
}

#[tokio::test]
async fn every_cause_of_a_bad_signature_gets_the_same_answer_and_stores_nothing() {
    let receiver = Receiver::with(config(), None, Some(Faults::none())).await;
    let body = deepfake("event-1", "session-1", 0.5).to_string();
    let good = sign(&body, SECRET);
    let mut flipped = good.clone().into_bytes();
    flipped[63] = if flipped[63] == b'0' { b'1' } else { b'0' };
    let flipped = String::from_utf8(flipped).unwrap();
    let cases: Vec<Vec<&str>> = vec![
        vec![],
        vec![""],
        vec![&good, &good],
        vec![&good[1..]],
        vec!["not hex"],
        vec![&flipped],
    ];
    let mut answers = Vec::new();
    for signatures in cases {
        answers.push(
            receiver
                .send(post(&body, &signatures))
                .await
                .expect(401, "invalid_signature"),
        );
    }
    let other_secret = sign(&body, "another secret");
    answers.push(
        receiver
            .send(post(&body, &[&other_secret]))
            .await
            .expect(401, "invalid_signature"),
    );
    let other_body = sign(format!("{body} "), SECRET);
    answers.push(
        receiver
            .send(post(&body, &[&other_body]))
            .await
            .expect(401, "invalid_signature"),
    );

    let without_id = |answer: &Answer| {
        let mut body = answer.body.clone();
        body.as_object_mut().unwrap().remove("request_id");
        let mut headers = answer.headers.clone();
        headers.remove("x-request-id");
        (body, headers, answer.body.to_string().len())
    };
    for answer in &answers {
        assert_eq!(without_id(answer), without_id(&answers[0]));
    }
    assert_eq!(
        receiver.calls(),
        0,
        "an unsigned request costs no call to DynamoDB"
    );
    assert!(receiver.items().await.is_empty());
}

#[tokio::test]
async fn both_spellings_of_the_signature_are_taken() {
    let receiver = Receiver::start().await;
    let body = deepfake("event-1", "session-1", 0.5).to_string();
    let hex = sign(&body, SECRET);
    receiver.send(post(&body, &[&hex])).await.received(false);
    receiver
        .send(post(&body, &[&format!("  sha256={} ", hex.to_uppercase())]))
        .await
        .received(true);
}
