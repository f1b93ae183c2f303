//! `docs/applications.md` against the schemas.

use serde_json::Value;
use sonotheia_webhook::event::types::known_types;

use super::{document, file};

/// The values that a member may have, in the words of the reference.
fn values(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        let values = values.iter().filter_map(Value::as_str);
        return values
            .map(|value| {
                if value.is_empty() {
                    "empty".into()
                } else {
                    format!("`{value}`")
                }
            })
            .collect::<Vec<_>>()
            .join(", ");
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds[0].clone(),
        kind => kind.clone(),
    };
    let bound = |name: &str| schema[name].as_f64().map(|bound| bound.to_string());
    match (kind.as_str(), bound("minimum"), bound("maximum")) {
        (Some(kind), Some(from), Some(to)) => format!("{kind} {from} to {to}"),
        (Some(kind), Some(from), None) => format!("{kind} from {from}"),
        (Some("string"), ..) if schema["format"] == "date-time" => "time".into(),
        (Some(kind), ..) => kind.into(),
        (None, ..) => "any".into(),
    }
}

/// The rows of an object's members, nested members included.
fn rows(object: &Value, prefix: &str, rows: &mut Vec<String>) {
    let required = object["required"].as_array();
    for (name, schema) in object["properties"].as_object().into_iter().flatten() {
        let is_required = required.is_some_and(|names| names.iter().any(|one| one == name));
        let must = if is_required { "yes" } else { "" };
        rows.push(format!("| `{prefix}{name}` | {} | {must} |", values(schema)));
        self::rows(schema, &format!("{prefix}{name}."), rows);
    }
}

/// The reference of all event types and of the published detail, as Markdown.
fn reference() -> String {
    let mut text = String::new();
    let mut table = |title: &str, object: &Value| {
        let mut lines = Vec::new();
        rows(object, "", &mut lines);
        text += &format!(
            "### `{title}`\n\n| Field | Value | Required |\n|---|---|---|\n{}\n\n",
            lines.join("\n")
        );
    };
    for name in known_types() {
        table(name, &document(&["schema", name])["properties"]["data"]);
    }
    text
}

#[test]
fn the_reference_of_the_fields_is_made_from_the_table() {
    let page = file("docs/applications.md");
    let reference = reference();
    assert!(
        page.contains(&reference),
        "docs/applications.md has another reference of the fields; replace its tables by these:\n{reference}"
    );
}

#[test]
fn the_page_names_every_member_of_the_published_detail() {
    let page = file("docs/applications.md");
    let detail = document(&["schema", "published"]);
    for (name, member) in detail["properties"].as_object().unwrap() {
        let description = member["description"].as_str().unwrap();
        assert!(
            page.contains(&format!("| `{name}` | {description} |")),
            "{name}: {description}"
        );
    }
}
