//! `openapi` and `schema`: the documents against the repository, the receiver, the samples and the guide.

mod breaks;
mod fields;
mod routes;

use emulators::sample_events::{self, Envelope};
use jsonschema::Validator;
use serde_json::{Value, json};
use sonotheia_webhook::event::Event;
use sonotheia_webhook::event::types::known_types;
use sonotheia_webhook::timestamp::Timestamp;

use super::{run, succeeded};

/// The output of a command as JSON.
fn document(arguments: &[&str]) -> Value {
    serde_json::from_str(succeeded(&run(arguments, ""))).unwrap()
}

/// The text of a file of the repository.
fn file(path: &str) -> String {
    let path = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn validator(schema: &Value) -> Validator {
    jsonschema::options()
        .should_validate_formats(true)
        .build(schema)
        .unwrap()
}

fn sample(event_type: &str, envelope: Envelope) -> Value {
    sample_events::event(event_type, envelope, "event-1", "session-1", Timestamp::now()).unwrap()
}

#[test]
fn the_files_in_the_repository_are_the_output_of_the_commands() {
    for (path, command) in [("docs/openapi.json", "openapi"), ("docs/schema.json", "schema")] {
        assert!(
            file(path) == succeeded(&run(&[command], "")),
            "{path} is not the output of `cargo sonotheia {command}`; run `cargo sonotheia {command} > {path}`"
        );
    }
}

/// The events of `examples/` are EventBridge's events as the pipe's own template makes them.
#[test]
fn the_events_of_the_examples_hold_to_the_schemas() {
    let published = validator(&document(&["schema", "published"]));
    let any = validator(&document(&["schema"]));
    let mut registry = document(&["schema", "registry"]);
    registry["$ref"] = json!("#/components/schemas/AWSEvent");
    let registry = validator(&registry);
    let folder = format!("{}/../../examples/events", env!("CARGO_MANIFEST_DIR"));
    let mut listed = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let event: Value = serde_json::from_str(&file(&format!("examples/events/{name}"))).unwrap();
        assert!(registry.is_valid(&event), "{name}");
        assert!(published.is_valid(&event["detail"]), "{name}");
        if known_types().any(|known| name.starts_with(known)) {
            let body: Value = serde_json::from_str(event["detail"]["body"].as_str().unwrap()).unwrap();
            assert!(any.is_valid(&body), "{name}");
            listed += 1;
        }
        // The schema requires each member.
        for member in event["detail"].as_object().unwrap().keys() {
            let mut without = event.clone();
            without["detail"].as_object_mut().unwrap().remove(member);
            assert!(!registry.is_valid(&without), "{name} without {member}");
        }
    }
    assert_eq!(listed, 2 * known_types().count());
}

/// The stack registers the schema that the command prints, and its pipe publishes exactly these members.
#[test]
fn the_stack_registers_the_schema_of_what_its_pipe_publishes() {
    let template: serde_yaml_ng::Value = serde_yaml_ng::from_str(&file("infra/fanout.yaml")).unwrap();
    let schema = &template["Resources"]["PublishedSchema"]["Properties"];
    let content = schema["Content"].as_str().unwrap();
    // "Quotas for EventBridge Schema Registry".
    assert!(content.len() <= 100_000, "{} characters", content.len());
    let registry = document(&["schema", "registry"]);
    let content: Value = serde_json::from_str(content).unwrap();
    assert!(
        content == registry,
        "the schema in infra/fanout.yaml is not the output of `cargo sonotheia schema registry`; paste it there"
    );
    let target = &template["Resources"]["Pipe"]["Properties"]["TargetParameters"];
    let aws_event = &registry["components"]["schemas"]["AWSEvent"];
    let bus = &target["EventBridgeEventBusParameters"];
    assert_eq!(
        aws_event["x-amazon-events-source"],
        bus["Source"].as_str().unwrap()
    );
    assert_eq!(
        aws_event["x-amazon-events-detail-type"],
        bus["DetailType"].as_str().unwrap()
    );
    let published = document(&["schema", "published"]);
    let members: Vec<_> = published["properties"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let lines = target["InputTemplate"].as_str().unwrap().lines().map(str::trim);
    let mut template: Vec<_> = lines
        .filter_map(|line| line.split_once("\": ").map(|(name, _)| name[1..].to_owned()))
        .collect();
    template.sort();
    assert_eq!(template, members);
    for member in published["properties"].as_object().unwrap().values() {
        assert_eq!(member["type"], "string");
    }
}

#[test]
fn each_schema_is_valid_and_an_unknown_name_is_bad_usage() {
    for name in known_types().chain(["published"]) {
        let schema = document(&["schema", name]);
        assert!(jsonschema::draft202012::meta::is_valid(&schema), "{name}");
    }
    assert!(jsonschema::draft202012::meta::is_valid(&document(&["schema"])));
    let output = run(&["schema", "sar.lost"], "");
    assert_eq!(output.status.code(), Some(2));
    let message = super::text(&output.stderr);
    for name in known_types().chain(["published", "registry"]) {
        assert!(message.contains(name), "{name} in {message}");
    }
}

#[test]
fn every_sample_holds_to_the_schema_of_its_type_and_to_no_other() {
    let any = validator(&document(&["schema"]));
    for event_type in known_types() {
        let own = validator(&document(&["schema", event_type]));
        for envelope in [Envelope::Guide, Envelope::Schema] {
            for other in known_types() {
                let sample = sample(other, envelope);
                assert!(any.is_valid(&sample), "{sample}");
                assert_eq!(
                    own.is_valid(&sample),
                    other == event_type,
                    "{event_type}: {sample}"
                );
            }
        }
    }
}

/// The payloads of the sender's guide, with the guide's values.
#[test]
fn the_payloads_of_the_guide_hold_to_the_schema() {
    let any = validator(&document(&["schema"]));
    for payload in [
        json!({"type": "deepfake.completed", "id": "event-abc123", "data": {"session_id": "session-xyz789",
            "score": 0.82, "label": "likely_synthetic", "latency_ms": 640, "timestamp": "2026-01-21T12:00:00Z"}}),
        json!({"type": "mfa.completed", "id": "event-def456", "data": {"session_id": "session-xyz789",
            "enrollment_id": "enroll-123", "verified": true, "confidence": 0.93, "timestamp": "2026-01-21T12:00:05Z"}}),
        json!({"type": "sar.submitted", "id": "event-ghi789", "data": {"session_id": "session-xyz789",
            "case_id": "sar-001234", "status": "submitted", "timestamp": "2026-01-21T12:00:10Z"}}),
        json!({"type": "deepfake.completed", "id": "test-123",
            "data": {"session_id": "test-session", "score": 0.5, "label": "uncertain"}}),
    ] {
        assert!(any.is_valid(&payload), "{payload}");
    }
}

/// The schema and the receiver agree on every value of every member: no fault in one is fine in the other.
#[test]
fn an_event_holds_to_its_schema_if_and_only_if_the_receiver_finds_no_problem() {
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(0.5),
        json!(2),
        json!(36_501),
        json!("text"),
        json!(""),
        json!("deny"),
        json!("2026-01-21T12:00:00Z"),
        json!([]),
        json!({}),
        json!({"code": "a"}),
        json!({"code": 1}),
        json!({"retention_period_days": 30}),
        json!({"retention_period_days": -1}),
        json!({"retention_period_days": "30"}),
        json!({"retention_period_days": 40_000}),
    ];
    let mut cases = 0;
    for event_type in known_types() {
        let schema = document(&["schema", event_type]);
        let validator = validator(&schema);
        let members = schema["properties"]["data"]["properties"].as_object().unwrap();
        for member in members.keys() {
            let whole = sample(event_type, Envelope::Guide);
            let mut bodies = vec![whole.clone()];
            bodies[0]["data"].as_object_mut().unwrap().remove(member);
            bodies.extend(values.iter().map(|value| {
                let mut body = whole.clone();
                body["data"][member] = value.clone();
                body
            }));
            for body in bodies {
                let text = body.to_string();
                let problems = Event::parse(text.as_bytes(), 0.8).unwrap().problems;
                assert_eq!(
                    validator.is_valid(&body),
                    problems.is_empty(),
                    "{problems:?} in {text}"
                );
                cases += 1;
            }
        }
    }
    assert!(cases > 500, "{cases}");
}
