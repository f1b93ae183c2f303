//! Signed bodies.

use std::collections::HashMap;

use crate::receiver::{percent, with_receiver};
use serde_json::value::RawValue;
use testkit::{Receiver, rejected_key};

/// The receiver stores every signed body, and shows the data of an event byte for byte.
///
/// The first byte of the input chooses whether the rest is a body or a value in the data of an event.
pub fn round_trip(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else {
        return;
    };
    let body = if choice % 2 == 0 {
        rest.to_vec()
    } else {
        [br#"{"type":"t","data":{"v":"#, rest, b"}}"].concat()
    };
    with_receiver(async |_| {}, async |receiver| check(receiver, &body).await);
}

async fn check(receiver: &Receiver, body: &[u8]) {
    let answer = receiver.deliver(body).await;
    let json = answer.body;
    match answer.status.as_u16() {
        200 => {
            let id = json["event_id"].as_str().expect("an id");
            if json["duplicate"] == false {
                assert_eq!(receiver.stored_body(id).await.as_deref(), Some(body));
            }
            read_back(receiver, id, body, json["duplicate"] == true).await;

            let again = receiver.deliver(body).await;
            assert_eq!(again.status, 200);
            let again = again.body;
            assert_eq!(
                (&again["duplicate"], &again["event_id"]),
                (&true.into(), &json["event_id"])
            );
        }
        // The receiver stores a rejected body, too.
        400 | 409 => {
            let kept = receiver.stored_body(&rejected_key(body)).await;
            assert_eq!(kept.as_deref(), Some(body), "{json}");
        }
        status => panic!("{status} {json}"),
    }
}

/// Checks that a reader gets the data byte for byte. The first delivery of a duplicate may have another spelling.
async fn read_back(receiver: &Receiver, id: &str, body: &[u8], duplicate: bool) {
    let answer = receiver
        .get_raw(&format!("/events/{}", percent(id.as_bytes())))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body.escape_ascii());
    let shown: HashMap<String, Box<RawValue>> = serde_json::from_slice(&answer.body).expect("an object");
    let sent: HashMap<String, Box<RawValue>> = serde_json::from_slice(body).expect("an object");
    if !duplicate {
        assert_eq!(shown["data"].get(), sent["data"].get());
    }
}
