//! Bodies on a real socket: broken chunks, and a client that closes its sending half.

use std::time::Duration;

use sonotheia_webhook::store::Outcome;
use testkit::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Serves the receiver on a socket, sends raw bytes, closes the sending half, and returns the answer's text.
async fn exchange(receiver: &Receiver, request: &[u8]) -> String {
    let listener = loopback().await;
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn({
        let router = receiver.router.clone();
        async move { axum::serve(listener, router).await }
    });
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(request).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let read = client.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(10), read)
        .await
        .expect("an answer in time")
        .unwrap();
    server.abort();
    String::from_utf8(answer).unwrap()
}

fn head(signature: &str, framing: &str) -> String {
    format!(
        "POST /webhook HTTP/1.1\r\nhost: receiver\r\nconnection: close\r\ncontent-type: application/json\r\n\
         x-sonotheia-signature: {signature}\r\n{framing}\r\n\r\n"
    )
}

#[tokio::test]
async fn broken_chunks_are_the_senders_fault_and_nothing_is_stored() {
    let receiver = Receiver::start().await;
    let body = deepfake("event-1", "session-1", 0.5).to_string();
    let signature = sign(&body, SECRET);
    for chunks in [
        "zz\r\n{}\r\n0\r\n\r\n".to_owned(),
        format!("{:x}\r\n{body}XX0\r\n\r\n", body.len()),
        "ffffffffffffffffff\r\n{}\r\n0\r\n\r\n".to_owned(),
        "-2\r\n{}\r\n0\r\n\r\n".to_owned(),
    ] {
        let request = head(&signature, "transfer-encoding: chunked") + &chunks;
        let answer = exchange(&receiver, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{chunks:?}: {answer}");
        assert!(
            answer.contains(r#""code":"invalid_request""#),
            "{chunks:?}: {answer}"
        );
    }
    assert!(receiver.items().await.is_empty());
}

/// `axum::serve` may drop a connection whose client closed its sending half, so the client may get no answer. Then it sends the
/// delivery again, as after any lost answer.
#[tokio::test]
async fn a_delivery_of_a_client_that_closes_its_sending_half_is_stored_once_after_the_retry() {
    let receiver = Receiver::start().await;
    let body = deepfake("event-1", "session-1", 0.5).to_string();
    let signature = sign(&body, SECRET);
    for request in [
        head(&signature, &format!("content-length: {}", body.len())) + &body,
        head(&signature, "transfer-encoding: chunked") + &format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
    ] {
        let answer = exchange(&receiver, request.as_bytes()).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 200 "),
            "{answer}"
        );
        assert_eq!(receiver.deliver(&body).await.status, 200);
        assert_eq!(receiver.items().await.len(), 1);
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_not_stored() {
    let receiver = Receiver::start().await;
    let body = deepfake("event-1", "session-1", 0.5).to_string();
    let signature = sign(&body, SECRET);
    for framing in [
        format!("content-length: {}", body.len() + 1),
        "transfer-encoding: chunked".to_owned(),
    ] {
        let chunk = if framing.starts_with('t') {
            format!("{:x}\r\n{body}\r\n", body.len())
        } else {
            body.clone()
        };
        let answer = exchange(&receiver, (head(&signature, &framing) + &chunk).as_bytes()).await;
        // The client has gone or waits: an answer is optional, and a success would be wrong.
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
            "{framing}: {answer}"
        );
    }
    let stored = receiver.app.store.get("event-1").await.unwrap();
    assert!(stored.is_none_or(|record| record.outcome != Outcome::Accepted));
    assert!(receiver.items().await.is_empty());
}
