//! Invocations as API Gateway sends them: the event of a REST API, with a signed body in base64, since the template's API
//! treats every body as binary.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sonotheia_webhook::signature::Secret;
use sonotheia_webhook::timestamp::Timestamp;

const EVENT: &str = include_str!("../../../tests/events/rest.json");

/// The bytes of an event of usual size.
pub const SMALL: usize = 1024;

/// The bytes of the largest event that the receiver accepts by default.
pub const LARGE: usize = 262_144;

/// An event with this id, padded to `size` bytes.
pub fn body(id: &str, size: usize) -> String {
    let time = Timestamp::now();
    let event = |pad: &str| {
        format!(
            r#"{{"event_type":"deepfake.completed","event_id":"{id}","timestamp":"{time}","api_version":"v1","data":{{"session_id":"session-{id}","score":0.82,"label":"likely_synthetic","confidence":0.91,"recommended_action":"defer_to_review","latency_ms":640,"audio_metadata":{{"format":"wav","sample_rate_hz":16000,"channels":1,"duration_seconds":7.4}},"analysis":{{"note":"{pad}"}}}},"metadata":{{"environment":"sandbox"}}}}"#
        )
    };
    let bare = event("").len();
    event(&"x".repeat(size.saturating_sub(bare)))
}

/// An invocation with this body, signed with this secret.
pub fn invocation(body: &str, secret: &str) -> String {
    let secret = Secret::new(secret).expect("a secret that is not empty");
    let signature = format!("sha256={}", secret.sign(body.as_bytes()));
    EVENT
        .replace("SIGNATURE", &signature)
        .replace("\"BODY\"", &format!("\"{}\"", STANDARD.encode(body)))
        .replace("\"isBase64Encoded\": false", "\"isBase64Encoded\": true")
}
