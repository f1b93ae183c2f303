//! What the nested templates say of records, metrics and log lines, held against records, metrics and
//! log lines as the code makes them.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value, json};
use sonotheia_webhook::config::{Config, SecretSource};
use sonotheia_webhook::event::Alert;
use sonotheia_webhook::lambda::UNKNOWN_RESOURCE;
use sonotheia_webhook::telemetry::{Delivered, DeliveryLog, Invocation, Line, NAMESPACE};
use sonotheia_webhook::timestamp::Timestamp;

use crate::policies::{TEMPLATES, parse, text};
use testkit::*;

fn resource(file: &str, name: &str) -> Value {
    let resource = parse(&text(file))["Resources"][name]["Properties"].clone();
    assert!(resource.is_object(), "{file} has no {name}");
    resource
}

/// A stored item as the table's stream hands it to a pipe.
fn stream_event(item: &std::collections::HashMap<String, AttributeValue>) -> Value {
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

/// Whether an event matches a pattern of exact values ("Amazon EventBridge event patterns").
fn matches(pattern: &Value, event: &Value) -> bool {
    match pattern {
        Value::Object(members) => members
            .iter()
            .all(|(name, pattern)| matches(pattern, &event[name])),
        Value::Array(values) => {
            assert!(
                values.iter().all(Value::is_string),
                "only exact values: {pattern}"
            );
            values.contains(event)
        }
        other => panic!("{other} in a pattern"),
    }
}

/// Fills `<$.path>` in, as Pipes does: a string as a JSON string, one that is not there as an empty one.
/// Gives the paths as well.
fn fill(template: &str, event: &Value) -> (Value, Vec<String>) {
    let mut filled = String::new();
    let mut paths = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("<$.") {
        let (path, after) = after.split_once('>').expect("a variable ends");
        let value = path.split('.').fold(event, |value, step| &value[step]);
        assert!(value.is_string() || value.is_null(), "{path} is {value}");
        filled += before;
        filled += &json!(value.as_str().unwrap_or_default()).to_string();
        paths.push(path.to_owned());
        rest = after;
    }
    filled += rest;
    (
        serde_json::from_str(&filled).expect("the template makes JSON"),
        paths,
    )
}

/// A receiver that has stored one event with each alert, one without, a rejected one and a conflict.
async fn stored() -> Vec<Value> {
    let receiver = Receiver::start().await;
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
        (json!(["not an event"]), 400),
    ] {
        assert_eq!(receiver.deliver(body.to_string()).await.status, status, "{body}");
    }
    receiver.items().await.iter().map(stream_event).collect()
}

#[tokio::test]
async fn the_pipe_takes_each_accepted_event_once_it_is_inserted_and_nothing_else() {
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
        for name in ["MODIFY", "REMOVE"] {
            let mut event = event.clone();
            event["eventName"] = json!(name);
            assert!(!matches(&pattern, &event), "{name}");
        }
    }
    assert_eq!(events.len(), 8, "two of them rejected");
    assert_eq!(
        taken,
        [
            "event-bare",
            "event-hostile",
            "event-mfa",
            "event-plain",
            "event-sar",
            "event-score"
        ]
        .into()
    );
}

#[tokio::test]
async fn what_is_published_is_the_record_with_the_payload_as_it_was_signed() {
    let target = resource("infra/fanout.yaml", "Pipe")["TargetParameters"].clone();
    let template = target["InputTemplate"].as_str().unwrap();
    let mut ever_filled = BTreeSet::new();
    let mut all = BTreeSet::new();
    for event in stored().await {
        let image = &event["dynamodb"]["NewImage"];
        if image["outcome"]["S"] != "accepted" {
            continue;
        }
        let (detail, paths) = fill(template, &event);
        for path in paths {
            if path
                .split('.')
                .fold(&event, |value, step| &value[step])
                .is_string()
            {
                ever_filled.insert(path.clone());
            }
            all.insert(path);
        }
        let members: Vec<_> = detail.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            BTreeSet::from_iter(members),
            [
                "event_id",
                "type",
                "session_id",
                "outcome",
                "alert",
                "occurred_at",
                "received_at",
                "body"
            ]
            .into()
        );
        for (name, value) in detail.as_object().unwrap() {
            assert_eq!(
                value.as_str(),
                Some(image[name]["S"].as_str().unwrap_or_default()),
                "{name}"
            );
        }
        let body: Value = serde_json::from_str(detail["body"].as_str().unwrap()).expect("the sender's JSON");
        assert_eq!(body["id"], detail["event_id"]);
        // An entry may have 1 MiB in all ("PutEvents"). A body is 256 KiB by default, and quoting it
        // can double it.
        let defaults = Config::new("t", SecretSource::Fixed("s".into()));
        assert!(2 * defaults.max_body_bytes + 10_000 < 1 << 20);
    }
    assert_eq!(ever_filled, all, "an attribute that no record has");
    let bus = &target["EventBridgeEventBusParameters"];
    assert_eq!(bus["Source"], "sonotheia.webhook");
    assert!(bus["DetailType"].as_str().is_some_and(|kind| kind.len() <= 128));
}

#[tokio::test]
async fn each_alert_reaches_the_topic_and_nothing_without_one_does() {
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
        // Each line is a JSON string of its own.
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

/// Every log line there can be: each outcome, with all that a report may hold.
fn lines() -> Vec<Value> {
    use Delivered::{
        Accepted, Conflict, Duplicate, Internal, InvalidSignature, Rejected, TooLarge, Unavailable,
    };
    let outcomes = [
        Accepted,
        Duplicate,
        Rejected,
        Conflict,
        InvalidSignature,
        TooLarge,
        Unavailable,
        Internal,
    ];
    let invocation = Invocation {
        request_id: "id".into(),
        xray_trace_id: Some("trace".into()),
    };
    let line = |delivered| {
        let report = DeliveryLog {
            delivered,
            event_id: Some("event-1".into()),
            event_type: Some("type".into()),
            alert: Some(Alert::SarSubmitted),
            problems: 1,
            unknown_type: true,
            previous_secret: true,
            secret_refreshes: 1,
            store_latency: Some(Duration::from_millis(1)),
            lag_ms: Some(1),
            claims: [
                "delivery_id",
                "claimed_event_id",
                "claimed_event_type",
                "claimed_timestamp",
                "user_agent",
            ]
            .map(|claim| (claim, "x".to_owned()))
            .into(),
        };
        serde_json::to_value(Line {
            service: "sonotheia-webhook",
            received_at: Timestamp::now(),
            invocation: &invocation,
            method: "POST",
            route: "/webhook",
            status: 200,
            duration: Duration::from_millis(1),
            delivery: Some(&report),
            cold_start: true,
        })
        .expect("a line")
    };
    outcomes.map(line).into()
}

/// The metrics that are written: name, and the dimensions besides `Service`.
fn written() -> BTreeSet<(String, Vec<String>)> {
    let mut written = BTreeSet::new();
    for line in lines() {
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
            assert_eq!(directive["Namespace"], NAMESPACE);
            for dimensions in directive["Dimensions"].as_array().unwrap() {
                let dimensions = dimensions.as_array().unwrap().iter();
                let dimensions: Vec<_> = dimensions.map(|name| name.as_str().unwrap().to_owned()).collect();
                for metric in directive["Metrics"].as_array().unwrap() {
                    written.insert((metric["Name"].as_str().unwrap().to_owned(), dimensions.clone()));
                }
            }
        }
    }
    written
}

/// Metrics of AWS's own services that are looked at, with their dimensions, from each service's page of
/// metrics.
const OF_AWS: &[(&str, &str, &[&str])] = &[
    ("AWS/ApiGateway", "5XXError", &["ApiName", "Stage"]),
    ("AWS/ApiGateway", "4XXError", &["ApiName", "Stage"]),
    ("AWS/ApiGateway", "Count", &["ApiName", "Stage"]),
    (
        "AWS/ApiGateway",
        "Latency",
        &["ApiName", "Stage", "Resource", "Method"],
    ),
    ("AWS/Lambda", "Errors", &["FunctionName", "Resource"]),
    ("AWS/Lambda", "Throttles", &["FunctionName", "Resource"]),
    ("AWS/DynamoDB", "ThrottledRequests", &["TableName", "Operation"]),
    ("AWS/DynamoDB", "SystemErrors", &["TableName", "Operation"]),
    ("AWS/DynamoDB", "ConsumedWriteCapacityUnits", &["TableName"]),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", &["QueueName"]),
    ("AWS/EventBridge/Pipes", "EventCount", &["PipeName"]),
    ("AWS/EventBridge/Pipes", "ExecutionFailed", &["PipeName"]),
    ("AWS/EventBridge/Pipes", "ExecutionTimeout", &["PipeName"]),
    ("AWS/EventBridge/Pipes", "TargetStageFailed", &["PipeName"]),
    ("AWS/Events", "FailedInvocations", &["EventBusName", "RuleName"]),
    ("AWS/WAFV2", "BlockedRequests", &["WebACL", "Rule", "Region"]),
];

#[track_caller]
fn known(namespace: &str, metric: &str, dimensions: &[String]) {
    if namespace == NAMESPACE {
        let wanted = (metric.to_owned(), dimensions.to_vec());
        assert!(written().contains(&wanted), "the code writes no {wanted:?}");
    } else {
        let found = OF_AWS
            .iter()
            .any(|(of, name, by)| *of == namespace && *name == metric && *by == dimensions);
        assert!(found, "{namespace} {metric} {dimensions:?}");
    }
}

#[test]
fn the_alarms_watch_metrics_that_are_written() {
    let template = parse(&text("infra/monitoring.yaml"));
    let mut watched = BTreeSet::new();
    let mut check = |metric: &Value| {
        let names = metric["Dimensions"].as_array().unwrap();
        for dimension in names {
            if dimension["Name"] == "Service" {
                assert_eq!(dimension["Value"], "sonotheia-webhook");
            }
        }
        let names: Vec<_> = names
            .iter()
            .map(|d| d["Name"].as_str().unwrap().to_owned())
            .collect();
        let (namespace, name) = (
            metric["Namespace"].as_str().unwrap(),
            metric["MetricName"].as_str().unwrap(),
        );
        known(namespace, name, &names);
        watched.insert(name.to_owned());
    };
    for resource in template["Resources"].as_object().unwrap().values() {
        if resource["Type"] != "AWS::CloudWatch::Alarm" {
            continue;
        }
        let properties = &resource["Properties"];
        let Some(queries) = properties["Metrics"].as_array() else {
            check(properties);
            continue;
        };
        let mut ids = BTreeSet::new();
        for query in queries {
            ids.insert(query["Id"].as_str().unwrap());
            if query["MetricStat"].is_object() {
                check(&query["MetricStat"]["Metric"]);
            }
        }
        let expressions = queries.iter().filter_map(|query| query["Expression"].as_str());
        for word in expressions.flat_map(|e| e.split(|c: char| !c.is_ascii_alphanumeric())) {
            let starts_low = word.starts_with(|c: char| c.is_ascii_lowercase());
            assert!(
                !starts_low || ids.contains(word),
                "{word} is no id of the expression's"
            );
        }
    }
    for metric in [
        "InvalidSignature",
        "Rejected",
        "Conflict",
        "Unavailable",
        "PreviousSecretUsed",
    ] {
        assert!(watched.contains(metric), "no alarm on {metric}");
    }
}

/// A log query's fields must be in some line, its quoted outcomes must be real ones.
#[track_caller]
fn check_query(query: &str) {
    let lines = lines();
    let members: BTreeSet<_> = lines
        .iter()
        .flat_map(|line| line.as_object().unwrap().keys())
        .collect();
    let outcomes: BTreeSet<_> = lines
        .iter()
        .map(|line| line["outcome"].as_str().unwrap())
        .collect();
    let words = [
        "fields",
        "filter",
        "sort",
        "stats",
        "limit",
        "asc",
        "desc",
        "by",
        "as",
        "or",
        "and",
        "not",
        "in",
        "count",
        "latest",
        "ispresent",
        "SOURCE",
    ];
    let mut aliases = BTreeSet::new();
    for (i, part) in query.split('"').enumerate() {
        if i % 2 == 1 {
            let is_outcome = outcomes.contains(part);
            assert!(
                is_outcome || ["/webhook", "PUT-THE-EVENT-ID-HERE"].contains(&part),
                "{part:?} in {query}"
            );
            continue;
        }
        // A log group's name stands between apostrophes.
        let part: String = part.split('\'').step_by(2).collect();
        let names = part.split(|c: char| !(c.is_ascii_alphanumeric() || "_@".contains(c)));
        let mut previous = "";
        for name in names.filter(|name| !name.is_empty()) {
            if previous == "as" {
                aliases.insert(name.to_owned());
            }
            let is_number = name.chars().all(|c| c.is_ascii_digit());
            let is_known = name == "@timestamp" || words.contains(&name) || aliases.contains(name);
            assert!(
                is_number || is_known || members.contains(&name.to_owned()),
                "{name:?} in {query}"
            );
            previous = name;
        }
    }
}

#[test]
fn the_saved_log_queries_ask_for_members_that_lines_have() {
    for name in ["EventStory", "RefusedByReason", "Slowest"] {
        check_query(
            resource("infra/monitoring.yaml", name)["QueryString"]
                .as_str()
                .unwrap(),
        );
    }
}

#[test]
#[should_panic(expected = "\"durations\"")]
fn a_query_for_a_member_that_no_line_has_is_noticed() {
    check_query("filter ispresent(durations)");
}

#[test]
#[should_panic(expected = "the code writes no")]
fn an_alarm_on_a_metric_that_nobody_writes_is_noticed() {
    known(NAMESPACE, "InvalidSignatures", &["Service".to_owned()]);
}

#[test]
fn the_dashboard_shows_metrics_that_are_written_and_asks_its_five_questions_in_order() {
    let body = resource("infra/monitoring.yaml", "Dashboard")["DashboardBody"]["Fn::Sub"].clone();
    let dashboard: Value = serde_json::from_str(body.as_str().unwrap()).expect("the dashboard is JSON");
    let widgets = dashboard["widgets"].as_array().unwrap();
    let headings: Vec<_> = widgets
        .iter()
        .filter_map(|widget| widget["properties"]["markdown"].as_str())
        .collect();
    assert_eq!(
        headings,
        [
            "## Are events arriving?",
            "## Are they accepted?",
            "## How fast?",
            "## What is refused, and why?",
            "## What is downstream?",
        ]
    );
    let mut shown = BTreeSet::new();
    let mut bottom = 0;
    for widget in widgets {
        let at = |member: &str| widget[member].as_u64().unwrap();
        assert!(at("y") >= bottom || at("x") > 0, "widgets overlap");
        assert!(at("x") + at("width") <= 24);
        bottom = at("y");
        let properties = &widget["properties"];
        if let Some(query) = properties["query"].as_str() {
            check_query(query);
        }
        for metric in properties["metrics"].as_array().into_iter().flatten() {
            let Some(parts) = metric.as_array().unwrap()[0]
                .as_str()
                .map(|_| metric.as_array().unwrap())
            else {
                continue;
            };
            let parts: Vec<_> = parts.iter().filter_map(Value::as_str).collect();
            let dimensions: Vec<_> = parts[2..]
                .iter()
                .step_by(2)
                .map(|name| (*name).to_owned())
                .collect();
            known(parts[0], parts[1], &dimensions);
            shown.insert(parts[1].to_owned());
        }
        for alarm in properties["alarms"].as_array().into_iter().flatten() {
            let name = alarm
                .as_str()
                .unwrap()
                .trim_start_matches("${")
                .trim_end_matches(".Arn}");
            resource("infra/monitoring.yaml", name);
        }
    }
    for (metric, _) in written() {
        assert!(shown.contains(&metric), "{metric} is written and not shown");
    }
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
    assert_eq!(
        TEMPLATES.len(),
        1 + std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/infra"))
            .unwrap()
            .filter(|entry| entry
                .as_ref()
                .unwrap()
                .path()
                .extension()
                .is_some_and(|kind| kind == "yaml"))
            .count(),
        "a template that no test reads"
    );
}
