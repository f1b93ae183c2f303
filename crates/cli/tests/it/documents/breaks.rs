//! A change of the documents that breaks their readers fails here.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{document, file};

/// Keys that say something to people only.
const PROSE: [&str; 5] = ["description", "summary", "title", "info", "$schema"];

/// Objects whose keys are names that a document may get more of.
const NAMES: [&str; 7] = [
    "properties",
    "$defs",
    "schemas",
    "paths",
    "responses",
    "headers",
    "securitySchemes",
];

/// Collects the places where `new` breaks a reader or a sender that knows `old`.
fn breaks(old: &Value, new: &Value, path: &str, found: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            let has_names = path.rsplit('/').next().is_some_and(|key| NAMES.contains(&key));
            for (key, value) in before {
                let path = format!("{path}/{key}");
                match after.get(key) {
                    _ if PROSE.contains(&key.as_str()) && !has_names => {}
                    None => found.push(format!("{path} is removed")),
                    Some(now) if key == "parameters" => parameters(value, now, &path, found),
                    Some(now) if key == "required" && value.is_array() => {
                        if set(value) != set(now) {
                            found.push(format!("{path} was {value} and is {now}"));
                        }
                    }
                    // A list of alternatives by reference may get more of them: a new event type.
                    Some(now) if key == "anyOf" && set(now).is_superset(&set(value)) => {}
                    Some(now) => breaks(value, now, &path, found),
                }
            }
            for key in after.keys().filter(|key| !before.contains_key(*key)) {
                if !has_names && !PROSE.contains(&key.as_str()) {
                    found.push(format!("{path}/{key} is new"));
                }
            }
        }
        (old, new) if old == new => {}
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (old, new)) in before.iter().zip(after).enumerate() {
                breaks(old, new, &format!("{path}/{index}"), found);
            }
        }
        (old, new) => found.push(format!("{path} was {old} and is {new}")),
    }
}

/// A parameter may be new, if it is optional.
fn parameters(old: &Value, new: &Value, path: &str, found: &mut Vec<String>) {
    let (old, new) = (old.as_array().unwrap(), new.as_array().unwrap());
    let find = |list: &[Value], name: &Value| list.iter().find(|one| &one["name"] == name).cloned();
    for parameter in old {
        match find(new, &parameter["name"]) {
            Some(now) => breaks(parameter, &now, &format!("{path}/{}", parameter["name"]), found),
            None => found.push(format!("{path}/{} is removed", parameter["name"])),
        }
    }
    for parameter in new.iter().filter(|one| one["required"] == true) {
        if find(old, &parameter["name"]).is_none() {
            found.push(format!(
                "{path}/{} is a new required parameter",
                parameter["name"]
            ));
        }
    }
}

fn set(list: &Value) -> BTreeSet<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .map(Value::to_string)
        .collect()
}

fn all(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    breaks(old, new, "", &mut found);
    found
}

#[test]
fn a_change_of_the_documents_does_not_break_their_readers() {
    for command in ["openapi", "schema"] {
        let baseline = format!("crates/cli/tests/it/documents/{command}.baseline.json");
        let old: Value = serde_json::from_str(&file(&baseline)).unwrap();
        let found = all(&old, &document(&[command]));
        assert!(
            found.is_empty(),
            "this change breaks readers of the API or of the events:\n  {}\nKeep the old members and types. If the \
             break is meant, say so in CHANGELOG.md and replace {baseline} by the output of `cargo sonotheia {command}`.",
            found.join("\n  ")
        );
    }
}

/// A change of a document by a test.
type Change = fn(&mut Value);

#[test]
fn a_removed_member_a_changed_type_and_a_new_required_input_are_breaks_and_an_addition_is_not() {
    let old = document(&["openapi"]);
    let breaking: [(&str, Change); 8] = [
        ("a member", |new| {
            drop(
                new["components"]["schemas"]["Accepted"]["properties"]
                    .as_object_mut()
                    .unwrap()
                    .remove("alert"),
            )
        }),
        ("a type", |new| {
            new["components"]["schemas"]["Receipt"]["properties"]["event_id"]["type"] = json!("integer")
        }),
        ("a type in an event", |new| {
            new["components"]["schemas"]["deepfake.completed"]["properties"]["data"]["properties"]["score"]
                ["type"] = json!("string");
        }),
        ("a required member of an event", |new| {
            let list = &mut new["components"]["schemas"]["sar.filed"]["properties"]["data"]["required"];
            list.as_array_mut().unwrap().push(json!("authority"));
        }),
        ("a member that may be absent now", |new| {
            new["components"]["schemas"]["Results"]["required"]
                .as_array_mut()
                .unwrap()
                .pop();
        }),
        ("a required parameter", |new| {
            let list = new["paths"]["/results"]["get"]["parameters"]
                .as_array_mut()
                .unwrap();
            list.push(json!({"name": "tenant", "in": "query", "required": true}));
        }),
        ("a status", |new| {
            drop(
                new["paths"]["/webhook"]["post"]["responses"]
                    .as_object_mut()
                    .unwrap()
                    .remove("409"),
            )
        }),
        ("a path", |new| {
            drop(new["paths"].as_object_mut().unwrap().remove("/health"))
        }),
    ];
    for (what, change) in breaking {
        let mut new = old.clone();
        change(&mut new);
        assert_ne!(new, old, "{what}");
        assert_ne!(all(&old, &new), [""; 0], "{what}");
    }
    let harmless: [(&str, Change); 4] = [
        ("a member", |new| {
            new["components"]["schemas"]["Accepted"]["properties"]["note"] = json!({"type": "string"})
        }),
        ("a text", |new| new["info"]["description"] = json!("new")),
        ("an optional parameter", |new| {
            let list = new["paths"]["/results"]["get"]["parameters"]
                .as_array_mut()
                .unwrap();
            list.insert(0, json!({"name": "tenant", "in": "query", "required": false}));
        }),
        ("an event type", |new| {
            new["components"]["schemas"]["new.type"] = json!({"type": "object"});
            let list = &mut new["components"]["schemas"]["Event"]["anyOf"];
            list.as_array_mut()
                .unwrap()
                .insert(0, json!({"$ref": "#/components/schemas/new.type"}));
        }),
    ];
    for (what, change) in harmless {
        let mut new = old.clone();
        change(&mut new);
        assert_ne!(new, old, "{what}");
        assert_eq!(all(&old, &new), [""; 0], "{what}");
    }
}
