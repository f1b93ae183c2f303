//! The schemas of what the stack publishes (contract, section 8).

use serde_json::{Value, json};
use sonotheia_webhook::event::Alert;
use sonotheia_webhook::store::Outcome;

/// EventBridge's `source` of a published event.
pub const SOURCE: &str = "sonotheia.webhook";
/// EventBridge's `detail-type` of a published event.
pub const DETAIL_TYPE: &str = "Sonotheia event accepted";

/// The members of the detail: name, description, and the values that the member may have (all strings without a list).
fn members() -> [(&'static str, &'static str, Option<Vec<&'static str>>); 8] {
    let alerts = [""].into_iter().chain(Alert::ALL.map(Alert::as_str)).collect();
    [
        ("event_id", "The key of the record. Dedupe by it.", None),
        (
            "type",
            "The event's type. It may be a type that no document lists.",
            None,
        ),
        ("session_id", "The session, or the empty string.", None),
        (
            "outcome",
            "The stack publishes accepted events only.",
            Some(vec![Outcome::Accepted.as_str()]),
        ),
        (
            "alert",
            "Why a person should see the event, or the empty string.",
            Some(alerts),
        ),
        (
            "occurred_at",
            "The signed time in RFC 3339 UTC with milliseconds, or the empty string.",
            None,
        ),
        (
            "received_at",
            "The time of receipt in RFC 3339 UTC with milliseconds.",
            None,
        ),
        (
            "body",
            "The text that was signed, verbatim: the event as JSON. It is the empty string if the event is too large for the \
             bus; `GET /events/{event_id}?include=body` has it then.",
            None,
        ),
    ]
}

/// The schema of the detail. Every member is always there and is always a string.
pub fn detail() -> Value {
    let mut schema = json!({
        "title": DETAIL_TYPE,
        "type": "object",
        "properties": {},
        "required": members().map(|(name, ..)| name),
    });
    for (name, description, values) in members() {
        let mut member = json!({"type": "string", "description": description});
        if let Some(values) = values {
            member["enum"] = json!(values);
        }
        schema["properties"][name] = member;
    }
    schema
}

/// The document for EventBridge's schema registry, in the format of its code bindings: OpenAPI 3.0 with the component
/// `AWSEvent` ("Creating an event schema in Amazon EventBridge").
pub fn for_registry() -> Value {
    const DETAIL: &str = "SonotheiaEventAccepted";
    let text = json!({"type": "string"});
    json!({
        "openapi": "3.0.0",
        "info": {"version": "1.0.0", "title": DETAIL},
        "paths": {},
        "components": {"schemas": {
            "AWSEvent": {
                "type": "object",
                "required": ["detail-type", "resources", "detail", "id", "source", "time", "region", "version", "account"],
                "x-amazon-events-detail-type": DETAIL_TYPE,
                "x-amazon-events-source": SOURCE,
                "properties": {
                    "detail": {"$ref": format!("#/components/schemas/{DETAIL}")},
                    "account": text,
                    "detail-type": text,
                    "id": text,
                    "region": text,
                    "resources": {"type": "array", "items": {"type": "string"}},
                    "source": text,
                    "time": {"type": "string", "format": "date-time"},
                    "version": text,
                },
            },
            DETAIL: detail(),
        }},
    })
}
