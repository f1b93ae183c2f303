//! Signed bytes, delivered, stored, read back and compared: an event to the byte, and so what is none.
//!
//! The first byte chooses between a body as it is and a value within the data of an event.
#![no_main]

use std::collections::HashMap;

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use sonotheia_webhook_fuzz::{Receiver, percent, rejected_key, with_receiver};

fuzz_target!(|input: &[u8]| {
    let Some((choice, rest)) = input.split_first() else {
        return;
    };
    let body = if choice % 2 == 0 {
        rest.to_vec()
    } else {
        [br#"{"type":"t","data":{"v":"#, rest, b"}}"].concat()
    };
    with_receiver(async |_| {}, async |receiver| check(receiver, &body).await);
});

async fn check(receiver: &Receiver, body: &[u8]) {
    let answer = receiver.deliver(body).await;
    let json = answer.json();
    match answer.status {
        200 => {
            let id = json["event_id"].as_str().expect("an id");
            if json["duplicate"] == false {
                assert_eq!(receiver.body_in_table(id).await.as_deref(), Some(body));
            }
            read_back(receiver, id, body, json["duplicate"] == true).await;

            let again = receiver.deliver(body).await;
            assert_eq!(again.status, 200);
            let again = again.json();
            assert_eq!(
                (&again["duplicate"], &again["event_id"]),
                (&true.into(), &json["event_id"])
            );
        }
        // Too old, too far ahead, not an event, or other data under a known id: kept all the same.
        400 | 409 => {
            let kept = receiver.body_in_table(&rejected_key(body)).await;
            assert_eq!(kept.as_deref(), Some(body), "{json}");
        }
        status => panic!("{status} {json}"),
    }
}

/// What a reader gets is what was sent; a duplicate's may be written in another way.
async fn read_back(receiver: &Receiver, id: &str, body: &[u8], duplicate: bool) {
    let answer = receiver.get(&format!("/events/{}", percent(id.as_bytes()))).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let shown: HashMap<String, Box<RawValue>> = serde_json::from_slice(&answer.body).expect("an object");
    let sent: HashMap<String, Box<RawValue>> = serde_json::from_slice(body).expect("an object");
    if !duplicate {
        assert_eq!(shown["data"].get(), sent["data"].get());
    }
}
