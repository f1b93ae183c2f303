//! The routes and their parameters.

use serde_json::{Value, json};
use sonotheia_webhook::event::MAX_NAME_BYTES;
use sonotheia_webhook::results::{
    ALL_PARAMETERS, DEFAULT_LIMIT, EVENT_PARAMETERS, MAX_LIMIT, SESSION_PARAMETERS,
};
use sonotheia_webhook::router::{EVENT, HEALTH, RESULTS, SESSION_RESULTS, WEBHOOK};
use sonotheia_webhook::store::Outcome;

use super::answers::{Route, failures, success};
use super::events::Place;

/// The paths of the receiver.
pub fn paths() -> Value {
    json!({
        WEBHOOK: {"post": webhook()},
        HEALTH: {"get": read("health", "Tell that the process runs", Route::Health, "Health", vec![])},
        RESULTS: {"get": read("listResults", "List all records, newest first", Route::List, "Results", query(ALL_PARAMETERS))},
        SESSION_RESULTS: {"get": read(
            "listSessionResults",
            "List the records of a session, newest first",
            Route::One,
            "SessionResults",
            with_id("session_id", SESSION_PARAMETERS),
        )},
        EVENT: {"get": read("getEvent", "Read one record", Route::One, "Result", with_id("event_id", EVENT_PARAMETERS))},
    })
}

fn webhook() -> Value {
    let mut responses = failures(Route::Webhook);
    responses.insert("200".into(), success("The event is stored.", "Receipt"));
    json!({
        "operationId": "receiveEvent",
        "summary": "Deliver one event",
        "description": "Every signed body of any content type is stored; the document lists the bodies that get a 200.",
        "security": [{"signature": []}],
        "requestBody": {
            "required": true,
            "content": {"application/json": {"schema": Place::Components.refer("Event")}},
        },
        "responses": responses,
    })
}

fn read(id: &str, summary: &str, route: Route, schema: &str, parameters: Vec<Value>) -> Value {
    let mut responses = failures(route);
    responses.insert("200".into(), success("", schema));
    responses["200"]["description"] = summary.into();
    let security = if route == Route::Health {
        json!([])
    } else {
        json!([{"iam": []}])
    };
    json!({
        "operationId": id,
        "summary": summary,
        "security": security,
        "parameters": parameters,
        "responses": responses,
    })
}

fn with_id(name: &str, names: &[&str]) -> Vec<Value> {
    let mut parameters = vec![json!({
        "name": name,
        "in": "path",
        "required": true,
        "description": "Percent-encoded.",
        "schema": {"type": "string", "minLength": 1},
    })];
    parameters.extend(query(names));
    parameters
}

/// The query parameters with these names.
fn query(names: &[&str]) -> Vec<Value> {
    let parameter = |name: &&str| {
        let (description, schema) = parameter(name);
        json!({"name": name, "in": "query", "required": false, "description": description, "schema": schema})
    };
    names.iter().map(parameter).collect()
}

fn parameter(name: &str) -> (&'static str, Value) {
    let time = || json!({"type": "string", "format": "date-time"});
    match name {
        "type" => (
            "Only events of this type.",
            json!({"type": "string", "minLength": 1, "maxLength": MAX_NAME_BYTES}),
        ),
        "outcome" => (
            "Only records with this outcome.",
            json!({"type": "string", "enum": [Outcome::Accepted.as_str(), Outcome::Rejected.as_str()]}),
        ),
        "from" => ("The earliest time of receipt.", time()),
        "to" => ("The latest time of receipt.", time()),
        "limit" => (
            "The largest number of records.",
            json!({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}),
        ),
        "cursor" => ("The `next` of the page before.", json!({"type": "string"})),
        "include" => (
            "`body` adds the signed text.",
            json!({"type": "string", "enum": ["body"]}),
        ),
        // A parameter that is new in the receiver is a string, until this table describes it.
        _ => ("", json!({"type": "string"})),
    }
}
