//! The size of a record ("DynamoDB item sizes and formats"; "Read and write capacity units").

use aws_sdk_dynamodb::types::AttributeValue;
use emulators::sample_events::{self, Envelope};
use serde_json::json;
use sonotheia_webhook::event;
use sonotheia_webhook::timestamp::Timestamp;

use testkit::*;

/// The bytes of one write unit.
const WRITE_UNIT: usize = 1024;

fn size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        // Two digits for each byte, and one byte for the sign and the exponent.
        AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
        other => panic!("{other:?} in a record"),
    }
}

/// The largest body whose record is one write unit, with a UUID as its id, the guide's session, and an alert.
/// `docs/performance.md` names it.
const BODY_OF_A_WRITE_UNIT: usize = 700;

const ID: &str = "a1b2c3d4-0000-4000-8000-000000000001";
const SESSION: &str = "session-xyz789";

/// The bytes of the one record that this body becomes.
async fn record_size(body: &str) -> usize {
    let receiver = Receiver::start().await;
    receiver.deliver(body).await.received(false);
    let items = receiver.items().await;
    items[0]
        .iter()
        .map(|(name, value)| name.len() + size(value))
        .sum()
}

#[tokio::test]
async fn a_record_is_the_body_and_less_than_400_other_bytes() {
    for name in event::types::known_types() {
        for envelope in [Envelope::Guide, Envelope::Schema] {
            let sample = sample_events::event(name, envelope, ID, SESSION, Timestamp::now()).expect(name);
            let body = sample.to_string();
            let bytes = record_size(&body).await;
            let beside = bytes - body.len();
            assert!(
                beside < 400,
                "{name}: {bytes} bytes, and {beside} of them are not the body"
            );
        }
    }
}

#[tokio::test]
async fn an_event_of_700_bytes_is_one_write_unit() {
    let event = |pad: &str| {
        let mut event = deepfake(ID, SESSION, 0.9);
        event["data"]["analysis"] = json!({ "pad": pad });
        event.to_string()
    };
    let body = event(&"x".repeat(BODY_OF_A_WRITE_UNIT - event("").len()));
    assert_eq!(body.len(), BODY_OF_A_WRITE_UNIT);
    let bytes = record_size(&body).await;
    assert!(bytes <= WRITE_UNIT, "{bytes} bytes are more than one write unit");
    // The documents name a limit that is not far below the real one.
    assert!(bytes > WRITE_UNIT - 20, "{bytes} bytes");
}
