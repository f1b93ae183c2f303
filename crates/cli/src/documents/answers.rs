//! The answers of the routes: bodies, headers and error codes.

use serde_json::{Map, Value, json};
use sonotheia_webhook::error::HttpError;
use sonotheia_webhook::event::{Alert, Problem};
use sonotheia_webhook::results::MAX_LIMIT;
use sonotheia_webhook::store::Outcome;

use super::events::Place;

/// Every error of the receiver, one of each variant.
fn errors() -> Vec<HttpError> {
    let problem = || Problem::new("data", "is missing");
    vec![
        HttpError::PayloadTooLarge { limit: 0 },
        HttpError::UnreadableBody("".into()),
        HttpError::NotHttp,
        HttpError::InvalidSignature,
        HttpError::InvalidEvent(problem()),
        HttpError::EventTooOld(problem()),
        HttpError::EventConflict(problem()),
        HttpError::NotFound { what: "" },
        HttpError::MethodNotAllowed,
        HttpError::InvalidQuery {
            parameter: String::new(),
            fault: String::new(),
        },
        HttpError::Unavailable("".into()),
        HttpError::Internal("".into()),
    ]
}

/// The routes that answer with an error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `POST /webhook`
    Webhook,
    /// `GET /health`
    Health,
    /// `GET /results`
    List,
    /// `GET /results/{session_id}` and `GET /events/{event_id}`
    One,
}

impl Route {
    /// True if the route can end with this error. The match has no wildcard, so that a new error needs a place here.
    fn has(self, error: &HttpError) -> bool {
        match error {
            HttpError::PayloadTooLarge { .. }
            | HttpError::UnreadableBody(_)
            | HttpError::InvalidSignature
            | HttpError::InvalidEvent(_)
            | HttpError::EventTooOld(_)
            | HttpError::EventConflict(_) => self == Self::Webhook,
            // An invocation that is no request reaches no route.
            HttpError::NotHttp => false,
            HttpError::NotFound { .. } => self == Self::One,
            HttpError::InvalidQuery { .. } => matches!(self, Self::List | Self::One),
            HttpError::Unavailable(_) => self != Self::Health,
            HttpError::MethodNotAllowed | HttpError::Internal(_) => true,
        }
    }
}

/// The answers of a route that are errors, by status.
pub fn failures(route: Route) -> Map<String, Value> {
    let mut answers = Map::new();
    for error in errors().iter().filter(|error| route.has(error)) {
        let (status, code, text) = error.kind();
        let answer = answers
            .entry(status.as_str())
            .or_insert_with(|| failure(status.as_u16()));
        let codes =
            &mut answer["content"]["application/json"]["schema"]["allOf"][1]["properties"]["code"]["enum"];
        let codes = codes.as_array_mut().expect("`failure` makes a list");
        if !codes.iter().any(|known| known == code) {
            codes.push(code.into());
            let description = answer["description"].as_str().unwrap_or_default();
            let joint = if description.is_empty() { "" } else { "; " };
            answer["description"] = format!("{description}{joint}{text}").into();
        }
    }
    if matches!(route, Route::List | Route::One) {
        answers.insert(
            "403".into(),
            gateway("IAM refuses the request. The receiver does not see it."),
        );
    }
    if route != Route::Webhook {
        answers.insert(
            "429".into(),
            gateway("The stage or the firewall refuses the request because of its rate."),
        );
    }
    answers
}

fn failure(status: u16) -> Value {
    let mut headers = headers();
    let extra = match status {
        401 => Some((
            "WWW-Authenticate",
            "The way to sign. A REST API renames it to x-amzn-Remapped-WWW-Authenticate.",
        )),
        405 => Some(("Allow", "The methods of the path.")),
        503 => Some(("Retry-After", "Seconds to wait before the same request.")),
        _ => None,
    };
    if let Some((name, description)) = extra {
        let required = status != 401;
        headers[name] =
            json!({"description": description, "required": required, "schema": {"type": "string"}});
    }
    let code = json!({"properties": {"code": {"enum": []}}});
    json!({
        "description": "",
        "headers": headers,
        "content": {"application/json": {"schema": {"allOf": [Place::Components.refer("Error"), code]}}},
    })
}

/// An answer that a part before the receiver makes.
fn gateway(description: &str) -> Value {
    json!({"description": description, "content": {"application/json": {"schema": {"type": "object"}}}})
}

/// An answer with status 200.
pub fn success(description: &str, schema: &str) -> Value {
    json!({
        "description": description,
        "headers": headers(),
        "content": {"application/json": {"schema": Place::Components.refer(schema)}},
    })
}

/// The headers of every answer of the receiver.
fn headers() -> Value {
    json!({
        "X-Request-Id": {
            "description": "The id of the request. The log has it too.",
            "required": true,
            "schema": {"type": "string"},
        },
        "Cache-Control": {"required": true, "schema": {"const": "no-store"}},
    })
}

/// The schemas of the bodies.
pub fn bodies() -> [(&'static str, Value); 10] {
    let refer = |name| Place::Components.refer(name);
    let text = || json!({"type": "string"});
    let results = json!({"type": "array", "items": refer("Result"), "maxItems": MAX_LIMIT});
    let count = json!({"type": "integer", "minimum": 0, "maximum": MAX_LIMIT});
    let next = json!({
        "type": ["string", "null"],
        "description": "The `cursor` of the next page, or null at the end. An empty page may have a next page.",
    });
    [
        (
            "Receipt",
            object(
                json!({"received": {"const": true}, "duplicate": {"type": "boolean"}, "event_id": text()}),
                &[],
            ),
        ),
        (
            "Error",
            object(
                json!({"error": text(), "code": text(), "message": text(), "request_id": text()}),
                &[],
            ),
        ),
        (
            "Health",
            object(
                json!({"status": {"const": "ok"}, "version": text(), "timestamp": time()}),
                &[],
            ),
        ),
        (
            "Results",
            object(json!({"count": count, "results": results, "next": next}), &[]),
        ),
        (
            "SessionResults",
            object(
                json!({"session_id": text(), "count": count, "results": results, "next": next}),
                &[],
            ),
        ),
        ("Problem", object(json!({"path": text(), "message": text()}), &[])),
        (
            "Result",
            json!({"anyOf": [refer("Accepted"), refer("Rejected"), refer("Erased")]}),
        ),
        ("Accepted", accepted()),
        ("Rejected", rejected()),
        ("Erased", erased()),
    ]
}

/// An object whose members are all required, except for `optional`.
fn object(properties: Value, optional: &[&str]) -> Value {
    let names = properties.as_object().into_iter().flatten().map(|(name, _)| name);
    let required: Vec<_> = names
        .filter(|name| !optional.contains(&name.as_str()))
        .cloned()
        .collect();
    json!({"type": "object", "properties": properties, "required": required})
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

/// The members that every record may have.
fn common(outcome: Value) -> Value {
    json!({
        "event_id": {"type": "string"},
        "received_at": time(),
        "expires_at": time(),
        "outcome": outcome,
    })
}

fn accepted() -> Value {
    let mut members = common(json!({"const": Outcome::Accepted.as_str()}));
    members["type"] = json!({"type": "string"});
    members["session_id"] = json!({"type": "string"});
    members["occurred_at"] = time();
    members["problems"] = json!({"type": "array", "items": Place::Components.refer("Problem")});
    members["alert"] = json!({"enum": Alert::ALL.map(Alert::as_str)});
    members["data"] =
        json!({"type": "object", "description": "As the sender sent it. `GET /results` leaves it out."});
    members["metadata"] = json!({"type": "object", "description": "As the sender sent it."});
    members["body"] = json!({"type": "string", "description": "The signed text, with `include=body`."});
    members["body_base64"] =
        json!({"type": "string", "description": "The signed text, if it does not fit as a string."});
    let optional = [
        "session_id",
        "occurred_at",
        "problems",
        "alert",
        "data",
        "metadata",
        "body",
        "body_base64",
    ];
    let mut schema = object(members, &optional);
    schema["description"] = json!("A stored event.");
    schema["not"] = json!({"required": ["erased_at"]});
    schema
}

fn rejected() -> Value {
    let mut members = common(json!({"const": Outcome::Rejected.as_str()}));
    for name in [
        "type",
        "session_id",
        "reason",
        "claimed_event_id",
        "claimed_type",
        "body",
        "body_base64",
    ] {
        members[name] = json!({"type": "string"});
    }
    members["occurred_at"] = time();
    members["problems"] = json!({"type": "array", "items": Place::Components.refer("Problem")});
    let optional = [
        "type",
        "session_id",
        "occurred_at",
        "problems",
        "claimed_event_id",
        "claimed_type",
        "body",
        "body_base64",
    ];
    let mut schema = object(members, &optional);
    schema["description"] = json!(
        "A signed delivery that is not a new event. The claimed names come from a body that the receiver did not accept."
    );
    schema["not"] = json!({"required": ["erased_at"]});
    schema
}

fn erased() -> Value {
    let mut members = common(json!({"enum": [Outcome::Accepted.as_str(), Outcome::Rejected.as_str()]}));
    members["type"] = json!({"type": "string"});
    members["reason"] = json!({"type": "string"});
    members["occurred_at"] = time();
    members["erased_at"] = time();
    let mut schema = object(members, &["type", "reason", "occurred_at"]);
    schema["description"] = json!("A record whose payload an operator erased.");
    schema
}
