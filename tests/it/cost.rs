//! The size of a record ("DynamoDB item sizes and formats"; "Read and write capacity units").

use aws_sdk_dynamodb::types::AttributeValue;
use emulators::sample_events::{self, Envelope};
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

#[tokio::test]
async fn a_record_is_the_body_and_less_than_400_other_bytes() {
    for name in event::types::known_types() {
        for envelope in [Envelope::Guide, Envelope::Schema] {
            let receiver = Receiver::start().await;
            let (id, session) = ("a1b2c3d4-0000-4000-8000-000000000001", "session-0000-0000-0001");
            let sample = sample_events::event(name, envelope, id, session, Timestamp::now()).expect(name);
            let body = sample.to_string();
            receiver.deliver(&body).await.received(false);
            let items = receiver.items().await;
            let bytes: usize = items[0]
                .iter()
                .map(|(name, value)| name.len() + size(value))
                .sum();
            let beside = bytes - body.len();
            assert!(
                beside < 400,
                "{name}: {bytes} bytes, and {beside} of them are not the body"
            );
            if name == "deepfake.completed" {
                assert!(bytes <= WRITE_UNIT, "{bytes} bytes are more than one write unit");
            }
        }
    }
}
