//! The consumers in `examples/`: the events of their tests, the members they read, and the rules that subscribe them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use emulators::sample_events::{self, Envelope};
use serde_json::{Value, json};
use sonotheia_webhook::event::types::known_types;
use sonotheia_webhook::ingest::Ingested;
use sonotheia_webhook::timestamp::Timestamp;
use testkit::*;

use crate::infrastructure::{fill, matches, members, resource, stream_event};
use crate::policies::{parse, text};

/// The signed time of every event. The receiver gets it two seconds later.
const SIGNED: Timestamp = Timestamp::from_millis(1_795_569_000_123);

/// The three consumers: the folder, and the file that reads the event.
const CONSUMERS: [(&str, &str); 3] = [
    ("consumer-python", "consumer/app.py"),
    ("consumer-typescript", "src/consumer.ts"),
    ("consumer-rust", "src/lib.rs"),
];

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "examples", "events"]
        .iter()
        .collect()
}

/// Stores a body in a receiver, and fills the pipe's template with the record, as EventBridge delivers it to a target.
async fn published(body: &str) -> Value {
    let receiver = Receiver::start().await;
    let now = SIGNED.plus(Duration::from_secs(2));
    let stored = receiver.ingest(body.as_bytes(), now).await;
    assert!(matches!(stored, Ingested::Stored { .. }), "{body}");
    let target = resource("infra/fanout.yaml", "Pipe")["TargetParameters"].clone();
    let record = stream_event(&receiver.items().await[0]);
    let (detail, _) = fill(target["InputTemplate"].as_str().unwrap(), &record);
    let bus = &target["EventBridgeEventBusParameters"];
    // EventBridge adds an id of its own, and a time in whole seconds ("AWS service event metadata").
    json!({
        "version": "0",
        "id": "7bf73129-1428-4cd3-a780-95db273d1602",
        "detail-type": bus["DetailType"],
        "source": bus["Source"],
        "account": "123456789012",
        "time": format!("{}Z", &now.to_string()[..19]),
        "region": "eu-central-1",
        "resources": [],
        "detail": detail,
    })
}

/// Every file of `examples/events`, as this project's code makes it: each type in both envelopes, a type that Sonotheia
/// could add, and an event that `infra/republish` published without its body.
async fn events() -> Vec<(String, Value)> {
    let mut events = Vec::new();
    for event_type in known_types() {
        for (envelope, page) in [(Envelope::Guide, "guide"), (Envelope::Schema, "schema")] {
            let event_id = format!("event-{}-{page}", event_type.replace('.', "-"));
            let body =
                sample_events::event(event_type, envelope, &event_id, "session-xyz789", SIGNED).unwrap();
            let event = published(&body.to_string()).await;
            events.push((format!("{event_type}.{page}.json"), event));
        }
    }
    let new =
        json!({"id": "event-new", "type": "sar.withdrawn", "data": {"case_id": "case_0017", "score": 1.50}});
    events.push(("new-type.json".into(), published(&new.to_string()).await));

    let sar = sample_events::event("sar.filed", Envelope::Guide, "event-large", "", SIGNED).unwrap();
    let mut large = published(&sar.to_string()).await;
    large["detail"]["body"] = json!("");
    events.push(("without-body.json".into(), large));
    events
}

/// With the variable `UPDATE_EXAMPLES` the test writes the files. Without it the test compares them.
#[tokio::test]
async fn the_events_of_the_consumers_tests_are_those_that_the_stack_publishes() {
    let mut names = BTreeSet::new();
    for (name, event) in events().await {
        let path = folder().join(&name);
        let made = format!("{event:#}\n");
        if std::env::var_os("UPDATE_EXAMPLES").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(&path).unwrap_or_default(),
            made,
            "examples/events/{name} is out of date. Write the files anew:\n\
             UPDATE_EXAMPLES=1 cargo test --test it examples"
        );
        names.insert(name);
    }
    let files = std::fs::read_dir(folder()).unwrap();
    let files: BTreeSet<_> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, names, "a file that no event makes");
}

#[test]
fn each_consumer_knows_every_member_of_the_published_event() {
    for (consumer, file) in CONSUMERS {
        let source = text(&format!("examples/{consumer}/{file}"));
        for member in members() {
            // Python and TypeScript write `type: string`, Rust writes `kind: String` with a rename.
            let declared = [
                format!("    {member}: str\n"),
                format!("  {member}: string;\n"),
                format!("    pub {member}: String,\n"),
            ];
            let renamed = format!("rename = \"{member}\"");
            assert!(
                declared.iter().any(|line| source.contains(line)) || source.contains(&renamed),
                "{consumer} does not declare {member}"
            );
        }
    }
}

/// Whether an event passes a rule. `$or` and `prefix` are the two kinds of pattern that only these rules use.
fn passes(pattern: &Value, event: &Value) -> bool {
    let (mut plain, mut alternatives) = (pattern.clone(), Value::Null);
    if let Some(or) = plain["detail"]
        .as_object_mut()
        .and_then(|detail| detail.remove("$or"))
    {
        alternatives = or;
    }
    let detail = &event["detail"];
    matches(&plain, event)
        && alternatives.as_array().unwrap().iter().any(|pattern| {
            match pattern["type"][0]["prefix"].as_str() {
                Some(prefix) => detail["type"].as_str().unwrap().starts_with(prefix),
                None => matches(pattern, detail),
            }
        })
}

#[test]
fn each_rule_passes_the_events_that_its_consumer_keeps() {
    for (consumer, _) in CONSUMERS {
        let template = parse(&text(&format!("examples/{consumer}/template.yaml")));
        let pattern =
            &template["Resources"]["Consumer"]["Properties"]["Events"]["Case"]["Properties"]["Pattern"];
        let mut passed = BTreeSet::new();
        for file in std::fs::read_dir(folder()).unwrap() {
            let event: Value = serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap();
            if passes(pattern, &event) {
                passed.insert(event["detail"]["type"].as_str().unwrap().to_owned());
            }
        }
        let cases = [
            "deepfake.completed",
            "mfa.failed",
            "sar.filed",
            "sar.submitted",
            "sar.withdrawn",
        ];
        assert_eq!(passed, cases.map(str::to_owned).into(), "{consumer}");
    }
}
