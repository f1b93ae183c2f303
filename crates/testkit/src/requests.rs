//! Signed requests and events.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sonotheia_webhook::signature::Secret;
use sonotheia_webhook::timestamp::Timestamp;

/// The signing secret of the tests.
pub const SECRET: &str = "the shared secret of these tests";

/// The table of the tests.
pub const TABLE: &str = "events";

/// A request with these signature headers.
pub fn post(body: impl AsRef<[u8]>, signatures: &[&str]) -> Request<Body> {
    let mut request = Request::post("/webhook").header("content-type", "application/json");
    for signature in signatures {
        request = request.header("x-sonotheia-signature", *signature);
    }
    request
        .body(Body::from(body.as_ref().to_vec()))
        .expect("a request")
}

/// Signs a body.
pub fn sign(body: impl AsRef<[u8]>, secret: &str) -> String {
    Secret::new(secret)
        .expect("not empty")
        .sign(body.as_ref())
        .to_string()
}

/// A request with the right signature.
pub fn signed(body: impl AsRef<[u8]>, secret: &str) -> Request<Body> {
    let signature = sign(&body, secret);
    post(body, &[&signature])
}

/// The time `seconds` from now, RFC 3339.
pub fn at(seconds: i64) -> String {
    Timestamp::from_millis(Timestamp::now().as_millis() + seconds * 1000).to_string()
}

/// A deepfake result without problems, in the guide's envelope.
pub fn deepfake(id: &str, session: &str, score: f64) -> Value {
    json!({
        "type": "deepfake.completed",
        "id": id,
        "data": {
            "session_id": session, "score": score, "label": "uncertain", "latency_ms": 640, "timestamp": at(0),
        },
    })
}

/// The key of the record of a rejected body.
pub fn rejected_key(body: impl AsRef<[u8]>) -> String {
    format!("rejected:sha256:{}", hex::encode(Sha256::digest(body)))
}
