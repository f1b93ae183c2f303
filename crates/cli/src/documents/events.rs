//! The JSON Schemas of the sender's events, made from the table that validates them.
//!
//! An event that holds to its schema gets no problem. The receiver also accepts an event that does not, and notes a
//! problem for each fault.

use serde_json::{Map, Value, json};
use sonotheia_webhook::event::types::{EVENT_TYPES, EventType, Field, Shape};
use sonotheia_webhook::event::{MAX_NAME_BYTES, MAX_RETENTION_DAYS, MAX_SESSION_BYTES};

/// The schema of each event type, by the type's name.
pub fn all() -> impl Iterator<Item = (&'static str, Value)> {
    EVENT_TYPES
        .iter()
        .map(|event_type| (event_type.name, of(event_type)))
}

/// The schema of an event of a type, in both envelopes.
pub fn of(event_type: &EventType) -> Value {
    json!({
        "title": event_type.name,
        "type": "object",
        "properties": {
            "id": id(),
            "event_id": id(),
            "type": {"const": event_type.name},
            "event_type": {"const": event_type.name},
            "timestamp": time(),
            "api_version": {},
            "metadata": {"type": ["object", "null"]},
            "data": data(event_type),
        },
        "required": ["data"],
        "allOf": [
            {"anyOf": [{"required": ["id"]}, {"required": ["event_id"]}]},
            {"anyOf": [{"required": ["type"]}, {"required": ["event_type"]}]},
        ],
    })
}

/// The schema of `data`.
fn data(event_type: &EventType) -> Value {
    let mut data = object(event_type.fields);
    let required = event_type.has_session;
    let session = json!({
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_SESSION_BYTES,
        "description": at_most(MAX_SESSION_BYTES),
    });
    add(&mut data, "session_id", session, required);
    add(&mut data, "timestamp", time(), false);
    let retention = json!({"type": ["number", "null"], "minimum": 0, "maximum": MAX_RETENTION_DAYS});
    // Every type may ask for a retention, also a type whose table has no `compliance`.
    data["properties"]["compliance"]["properties"] = json!({"retention_period_days": retention});
    data
}

/// The schema of an object with these members, and any others.
fn object(fields: &[Field]) -> Value {
    let mut schema = json!({"type": "object", "properties": {}, "required": []});
    for field in fields {
        add(&mut schema, field.name, shape(&field.shape), field.required);
    }
    schema
}

/// Adds a member. The receiver treats `null` like an absent member, so an optional member may be `null`.
fn add(object: &mut Value, name: &str, mut schema: Value, required: bool) {
    if required {
        if let Some(names) = object["required"].as_array_mut() {
            names.push(name.into());
        }
    } else {
        if let Some(kind) = schema.get("type").filter(|kind| kind.is_string()).cloned() {
            schema["type"] = json!([kind, "null"]);
        }
        if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
            values.push(Value::Null);
        }
    }
    object["properties"][name] = schema;
}

fn shape(shape: &Shape) -> Value {
    match shape {
        Shape::Text => json!({"type": "string"}),
        Shape::Amount => json!({"type": "number", "minimum": 0}),
        Shape::Share => json!({"type": "number", "minimum": 0, "maximum": 1}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Object => json!({"type": "object"}),
        Shape::OneOf(values) => json!({"type": "string", "enum": values}),
        Shape::With(fields) => object(fields),
    }
}

fn id() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_NAME_BYTES,
        "description": at_most(MAX_NAME_BYTES),
        "pattern": "^(?!sha256:|rejected:)[^\\u0000-\\u001f\\u007f-\\u009f]+$",
    })
}

fn time() -> Value {
    json!({
        "type": ["string", "null"],
        "format": "date-time",
        "description": "RFC 3339. The receiver also reads the other forms of ISO 8601.",
    })
}

/// JSON Schema counts characters, and the receiver counts bytes.
fn at_most(bytes: usize) -> String {
    format!("At most {bytes} bytes of UTF-8.")
}

/// The place where a document keeps its schemas, as the start of a `$ref`.
#[derive(Clone, Copy)]
pub enum Place {
    /// A JSON Schema.
    Definitions,
    /// An OpenAPI document.
    Components,
}

impl Place {
    /// A reference to a schema of the document.
    pub fn refer(self, name: &str) -> Value {
        let start = match self {
            Self::Definitions => "#/$defs/",
            Self::Components => "#/components/schemas/",
        };
        json!({"$ref": format!("{start}{name}")})
    }

    /// The schema of an event of any type that the contract lists.
    pub fn any_event(self) -> Value {
        let types: Vec<_> = EVENT_TYPES.iter().map(|known| self.refer(known.name)).collect();
        json!({
            "description": "An event of a listed type. The receiver accepts other types too, with a problem.",
            "anyOf": types,
        })
    }
}

/// The schemas of all event types as members of one object.
pub fn by_name() -> Map<String, Value> {
    all().map(|(name, schema)| (name.to_owned(), schema)).collect()
}
