//! The deliveries. All of them follow from the seed.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use emulators::sample_events::{self, Envelope};
use fastrand::Rng;
use serde_json::json;
use sonotheia_webhook::event::types::known_types;
use sonotheia_webhook::signature::{EmptySecret, Secret};
use sonotheia_webhook::timestamp::Timestamp;

/// A mark in every body. No log may have it.
pub const MARK: &str = "never-in-a-log";

/// The generator for the `n`-th of a series of values.
pub fn rng(seed: u64, n: u64) -> Rng {
    Rng::with_seed(seed ^ n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// An event.
pub struct PlannedEvent {
    /// The event id.
    pub id: String,
    /// The body of its delivery.
    pub body: String,
    /// The text of its `data`.
    pub data: String,
}

impl PlannedEvent {
    /// An event with a random type, envelope and size, and with members that some parsers change.
    pub fn new(id: String, rng: &mut Rng, now: Timestamp) -> Self {
        let types: Vec<_> = known_types().collect();
        let event_type = types[rng.usize(0..types.len())];
        let session = format!("session-{}", rng.u32(0..5000));
        let sample =
            sample_events::event(event_type, Envelope::Schema, &id, &session, now).unwrap_or_default();
        let mut data = sample["data"].to_string();
        data.pop();
        let _ = write!(data, r#","mark":"{MARK}","n":{},"extra":"#, rng.u64(..));
        value(rng, 3, &mut data);
        let filler = match rng.u32(0..100) {
            0 => rng.usize(10_000..60_000),
            1..10 => rng.usize(1000..8000),
            _ => rng.usize(0..200),
        };
        let _ = write!(data, r#","filler":"{}"}}"#, "x".repeat(filler));
        let body = if rng.bool() {
            format!(r#"{{"type":"{event_type}","id":"{id}","data":{data}}}"#)
        } else {
            format!(
                r#"{{"event_type":"{event_type}","event_id":"{id}","timestamp":"{now}","data":{data},"metadata":{{"a": 1.50}}}}"#
            )
        };
        Self { id, body, data }
    }
}

/// A JSON value in an unusual spelling.
fn value(rng: &mut Rng, depth: u32, out: &mut String) {
    const SCALARS: [&str; 12] = [
        "null",
        "true",
        "-0",
        "1.0",
        "9007199254740993",
        "0.1000000000000000055511151231257827",
        "1E400",
        "-1.5e-400",
        r#""\u00e9\ud83d\ude39\u0000""#,
        r#""é😹\/""#,
        r#""""#,
        "123456789012345678901234567890.10",
    ];
    match rng.u32(0..5) {
        0 if depth > 0 => {
            out.push_str("[ ");
            for i in 0..rng.u32(0..4) {
                out.push_str(if i == 0 { "" } else { " ,\t" });
                value(rng, depth - 1, out);
            }
            out.push(']');
        }
        1 if depth > 0 => {
            out.push('{');
            for i in 0..rng.u32(0..4) {
                // A name can come twice. The receiver has to keep both.
                let _ = write!(out, r#"{}"k{}" : "#, if i == 0 { "" } else { "," }, rng.u32(0..3));
                value(rng, depth - 1, out);
            }
            out.push('}');
        }
        _ => out.push_str(SCALARS[rng.usize(0..SCALARS.len())]),
    }
}

/// A kind of forgery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    NoSignature,
    /// The right signature with one wrong bit.
    FlippedBit,
    AnotherSecret,
    /// The signature of another body.
    AnotherBody,
    /// The right signature and another one.
    TwoSignatures,
    NotHex,
}

impl Forgery {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::NoSignature,
        Self::FlippedBit,
        Self::AnotherSecret,
        Self::AnotherBody,
        Self::TwoSignatures,
        Self::NotHex,
    ];

    /// The signature headers of a forged `body`. The forger has seen the body `genuine` with its signature.
    pub fn signatures(self, secret: &str, body: &str, genuine: &str, rng: &mut Rng) -> Vec<String> {
        match self {
            Self::NoSignature => vec![],
            Self::FlippedBit => {
                let mut digits = sign(secret, body).into_bytes();
                let at = rng.usize(0..digits.len());
                let digit = char::from(digits[at]).to_digit(16).unwrap_or_default() ^ (1 << rng.u32(0..4));
                digits[at] = char::from_digit(digit, 16).unwrap_or('0') as u8;
                vec![String::from_utf8_lossy(&digits).into_owned()]
            }
            Self::AnotherSecret => vec![sign("another secret", body)],
            Self::AnotherBody => vec![sign(secret, genuine)],
            Self::TwoSignatures => vec![sign(secret, body), sign("another secret", body)],
            Self::NotHex => vec![format!("sha256={}", "z".repeat(64))],
        }
    }
}

/// The hex digits of a signature.
pub fn sign(secret: &str, body: &str) -> String {
    let signed = Secret::new(secret).map(|secret| secret.sign(body.as_bytes()).to_string());
    signed.unwrap_or_else(|EmptySecret| String::new())
}

/// The event of a REST API for a delivery. An API sends bodies as text or in base64, by its settings.
pub fn rest(body: &str, signatures: &[String], base64: bool) -> String {
    let mut multi = json!({"content-type": ["application/json"], "user-agent": ["Sonotheia-Webhook/1.0"]});
    let mut single = json!({"content-type": "application/json", "user-agent": "Sonotheia-Webhook/1.0"});
    if let Some(last) = signatures.last() {
        multi["x-sonotheia-signature"] = json!(signatures);
        single["x-sonotheia-signature"] = json!(last);
    }
    let sent = if base64 {
        STANDARD.encode(body)
    } else {
        body.to_owned()
    };
    gateway("POST", "/webhook", single, multi, json!(sent), base64)
}

/// The event of a REST API for a read.
pub fn rest_get(path: &str) -> String {
    gateway("GET", path, json!({}), json!({}), json!(null), false)
}

fn gateway(
    method: &str,
    path: &str,
    single: serde_json::Value,
    multi: serde_json::Value,
    body: serde_json::Value,
    base64: bool,
) -> String {
    json!({
        "resource": path, "path": path, "httpMethod": method,
        "headers": single, "multiValueHeaders": multi,
        "queryStringParameters": null, "multiValueQueryStringParameters": null,
        "pathParameters": null, "stageVariables": null,
        "requestContext": {
            "resourceId": "r", "resourcePath": path, "httpMethod": method, "path": format!("/live{path}"),
            "accountId": "123456789012", "protocol": "HTTP/1.1", "stage": "live", "requestId": "gateway",
            "requestTimeEpoch": 1_769_000_400_000_u64, "apiId": "api", "identity": {"sourceIp": "203.0.113.7"},
        },
        "body": body, "isBase64Encoded": base64,
    })
    .to_string()
}
