//! The nested templates against records, metrics and log lines as the code makes them.

mod metrics;

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value, json};
use sonotheia_webhook::config::{Config, SecretSource};
use sonotheia_webhook::event::Alert;
use sonotheia_webhook::lambda::UNKNOWN_RESOURCE;

use crate::policies::{parse, text};
use testkit::*;

pub(crate) fn resource(file: &str, name: &str) -> Value {
    let resource = parse(&text(file))["Resources"][name]["Properties"].clone();
    assert!(resource.is_object(), "{file} has no {name}");
    resource
}

/// A stored item as the table's stream hands it to a pipe.
pub(crate) fn stream_event(item: &std::collections::HashMap<String, AttributeValue>) -> Value {
    let image = item.iter().map(|(name, value)| {
        let value = match value {
            AttributeValue::S(text) => json!({"S": text}),
            AttributeValue::N(number) => json!({"N": number}),
            AttributeValue::B(_) => json!({"B": "AA=="}),
            other => panic!("{name}: {other:?}"),
        };
        (name.clone(), value)
    });
    let image: Map<_, _> = image.collect();
    json!({"eventName": "INSERT", "eventSource": "aws:dynamodb", "dynamodb": {"NewImage": image}})
}

/// Whether an event matches a pattern of exact values and of absent members ("Amazon EventBridge event
/// patterns").
pub(crate) fn matches(pattern: &Value, event: &Value) -> bool {
    match pattern {
        Value::Object(members) => members
            .iter()
            .all(|(name, pattern)| matches(pattern, &event[name])),
        Value::Array(values) => {
            if values == &[json!({"exists": false})] {
                return event.is_null();
            }
            assert!(
                values.iter().all(Value::is_string),
                "only exact values: {pattern}"
            );
            values.contains(event)
        }
        other => panic!("{other} in a pattern"),
    }
}

/// Replaces each `<$.path>` by its string, as Pipes does. AWS does not document what an absent path becomes, so
/// this function fails on it. Returns the detail and the paths.
pub(crate) fn fill(template: &str, event: &Value) -> (Value, Vec<String>) {
    let mut filled = String::new();
    let mut paths = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("<$.") {
        let (path, after) = after.split_once('>').expect("a variable ends");
        let value = path.split('.').fold(event, |value, step| &value[step]);
        assert!(value.is_string(), "{path} is {value} in {event}");
        filled += before;
        filled += &value.to_string();
        paths.push(path.to_owned());
        rest = after;
    }
    filled += rest;
    (
        serde_json::from_str(&filled).expect("the template makes JSON"),
        paths,
    )
}

/// The members of the published detail, as `docs/schema.json` requires them.
pub(crate) fn members() -> BTreeSet<String> {
    let schema: Value = serde_json::from_str(&text("docs/schema.json")).unwrap();
    let required = schema["$defs"]["published"]["required"].as_array().unwrap();
    required
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

/// Stream events of every kind of record: each alert and none, with and without session and time, both
/// envelopes, keyed by id and by body, with problems, a conflict and a rejected body.
async fn stored() -> Vec<Value> {
    let receiver = Receiver::start().await;
    let receiver_time = sonotheia_webhook::timestamp::Timestamp::now().to_string();
    let plain = deepfake("event-plain", "session-1", 0.1);
    let mut hostile = plain.clone();
    hostile["data"]["note"] = json!("\"quoted\" \\ \n <$.dynamodb.Keys> é \u{2028} 😀");
    hostile["id"] = json!("event-hostile");
    let mut conflict = plain.clone();
    conflict["data"]["score"] = json!(0.2);
    for (body, status) in [
        (plain, 200),
        (hostile, 200),
        (conflict, 409),
        (deepfake("event-score", "session-1", 0.95), 200),
        (
            json!({"id": "event-mfa", "type": "mfa.failed", "data": {"session_id": "session-2"}}),
            200,
        ),
        (
            json!({"id": "event-sar", "type": "sar.submitted",
                   "data": {"session_id": "session-3", "case_id": "case-1", "status": "submitted"}}),
            200,
        ),
        (
            json!({"id": "event-bare", "type": "system.health_check", "data": {}}),
            200,
        ),
        (
            json!({"type": "system.health_check", "data": {"status": "no id"}}),
            200,
        ),
        (
            json!({"event_id": "event-schema-page", "event_type": "sar.filed", "timestamp": receiver_time,
                   "api_version": "1", "metadata": null, "data": {"case_id": "case-1"}}),
            200,
        ),
        (
            json!({"id": "event-unknown-type", "type": "new.type", "data": {"session_id": ""}}),
            200,
        ),
        (
            json!({"id": "event-long-session", "type": "new.type", "data": {"session_id": "s".repeat(1025)}}),
            200,
        ),
        (json!(["not an event"]), 400),
    ] {
        assert_eq!(receiver.deliver(body.to_string()).await.status, status, "{body}");
    }
    receiver.items().await.iter().map(stream_event).collect()
}

#[tokio::test]
async fn the_pipe_takes_every_new_accepted_event_and_nothing_else() {
    let pipe = resource("infra/fanout.yaml", "Pipe");
    let filters = pipe["SourceParameters"]["FilterCriteria"]["Filters"]
        .as_array()
        .unwrap();
    assert_eq!(filters.len(), 1, "filters are alternatives");
    let pattern: Value = serde_json::from_str(filters[0]["Pattern"].as_str().unwrap()).expect("JSON");
    let events = stored().await;
    let mut taken = BTreeSet::new();
    for event in &events {
        let image = &event["dynamodb"]["NewImage"];
        if matches(&pattern, event) {
            taken.insert(image["event_id"]["S"].as_str().unwrap());
        }
        let mut erased = event.clone();
        erased["dynamodb"]["NewImage"]["erased_at"] = json!({"S": "2026-11-24T01:00:00.000Z"});
        assert!(!matches(&pattern, &erased), "a restored record without payload");
        for name in ["MODIFY", "REMOVE"] {
            let mut event = event.clone();
            event["eventName"] = json!(name);
            assert!(!matches(&pattern, &event), "{name}");
        }
    }
    let rejected = events
        .iter()
        .filter(|event| event["dynamodb"]["NewImage"]["outcome"]["S"] == "rejected");
    assert_eq!(rejected.count(), 2);
    assert_eq!(taken.len(), events.len() - 2, "{taken:?}");
}

#[tokio::test]
async fn every_record_fills_the_input_template_with_the_payload_as_it_was_signed() {
    let target = resource("infra/fanout.yaml", "Pipe")["TargetParameters"].clone();
    let template = target["InputTemplate"].as_str().unwrap();
    for event in stored().await {
        let image = &event["dynamodb"]["NewImage"];
        if image["outcome"]["S"] != "accepted" {
            continue;
        }
        let (detail, paths) = fill(template, &event);
        let detail = detail.as_object().unwrap();
        assert_eq!(detail.len(), paths.len());
        assert!(detail.values().all(Value::is_string), "{detail:?}");
        let members: BTreeSet<_> = detail.keys().cloned().collect();
        assert_eq!(members, self::members());
        // An index key cannot be empty, so the session's member comes from an attribute of its own.
        assert_eq!(
            detail["session_id"],
            image["session_id"]["S"].as_str().unwrap_or_default()
        );
        for name in ["event_id", "type", "outcome", "received_at", "body"] {
            assert_eq!(detail[name], image[name]["S"], "{name}");
            assert_ne!(detail[name], "", "{name}");
        }
        let body: Value = serde_json::from_str(detail["body"].as_str().unwrap()).expect("the sender's JSON");
        assert!(body["data"].is_object());
    }
    let bus = &target["EventBridgeEventBusParameters"];
    assert_eq!(bus["Source"], "sonotheia.webhook");
    assert!(bus["DetailType"].as_str().is_some_and(|kind| kind.len() <= 128));
}

#[tokio::test]
async fn the_topic_gets_every_event_with_an_alert_and_no_other() {
    let template = resource("infra/fanout.yaml", "Pipe")["TargetParameters"]["InputTemplate"].clone();
    let rule = resource("infra/fanout.yaml", "AlertRule");
    let pattern = rule["EventPattern"].clone();
    let archive = resource("infra/fanout.yaml", "Archive")["EventPattern"].clone();
    let transformer = &rule["Targets"][0]["InputTransformer"];
    let mut alerts = BTreeSet::new();
    for event in stored().await {
        if event["dynamodb"]["NewImage"]["outcome"]["S"] != "accepted" {
            continue;
        }
        let (detail, _) = fill(template.as_str().unwrap(), &event);
        let alert = detail["alert"].as_str().unwrap().to_owned();
        let event = json!({"source": "sonotheia.webhook", "detail": detail});
        assert_eq!(matches(&pattern, &event), !alert.is_empty(), "{event}");
        assert!(matches(&archive, &event));
        alerts.insert(alert);
        let mut mail = transformer["InputTemplate"].as_str().unwrap().to_owned();
        for (name, path) in transformer["InputPathsMap"].as_object().unwrap() {
            let path = path.as_str().unwrap().strip_prefix("$.").unwrap();
            let value = path.split('.').fold(&event, |value, step| &value[step]);
            assert!(value.is_string(), "{path}");
            assert_ne!(name, "body", "mail holds no payload");
            mail = mail.replace(&format!("<{name}>"), value.as_str().unwrap());
        }
        assert!(!mail.contains('<'), "{mail}");
        // Each line is a JSON string.
        assert!(
            mail.lines()
                .all(|line| line.starts_with('"') && line.ends_with('"')),
            "{mail}"
        );
    }
    alerts.remove("");
    let known = [
        Alert::HighDeepfakeScore,
        Alert::MfaNotVerified,
        Alert::SarSubmitted,
    ];
    assert_eq!(alerts, known.map(|alert| alert.as_str().to_owned()).into());
}

/// `infra/republish` publishes the same detail as the pipe, so both know the same members and limit.
#[test]
fn a_republished_event_has_the_members_of_a_published_one() {
    let script = text("infra/republish");
    for member in members() {
        assert!(script.contains(&format!("    \"{member}\": [")), "{member}");
    }
    assert!(script.contains(&format!("SHARDS = {}", sonotheia_webhook::store::schema::SHARDS)));
}

#[test]
fn the_templates_catch_all_is_the_one_the_function_knows() {
    let events = resource("template.yaml", "Receiver")["Events"].clone();
    let catch_all: Vec<_> = events
        .as_object()
        .unwrap()
        .values()
        .filter_map(|event| event["Properties"]["Path"].as_str())
        .filter(|path| path.contains('+'))
        .collect();
    assert_eq!(catch_all, [UNKNOWN_RESOURCE]);
}

#[test]
fn the_largest_body_fits_the_bus_once_it_is_quoted() {
    // PutEvents takes 1 MB, and quoting a body can double it.
    let defaults = Config::new("t", SecretSource::Fixed("s".into()));
    assert!(2 * defaults.max_body_bytes + 10_000 < 1_000_000);
}
