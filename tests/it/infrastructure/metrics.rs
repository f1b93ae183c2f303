//! Alarms, dashboard and saved queries against metrics and log lines as the code writes them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use sonotheia_webhook::event::Alert;
use sonotheia_webhook::telemetry::{Delivered, DeliveryLog, Invocation, Line, NAMESPACE};
use sonotheia_webhook::timestamp::Timestamp;

use super::resource;
use crate::policies::{parse, text};

/// A log line of each outcome, with every member that a line can have.
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

/// The metrics that the code writes: name and dimensions.
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

/// The metrics of AWS's own services that the templates use, with their dimensions, from each service's page
/// of metrics.
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
    ("AWS/EventBridge/Pipes", "ExecutionPartiallyFailed", &["PipeName"]),
    ("AWS/EventBridge/Pipes", "ExecutionThrottled", &["PipeName"]),
    ("AWS/EventBridge/Pipes", "ExecutionTimeout", &["PipeName"]),
    ("AWS/Events", "FailedInvocations", &["EventBusName", "RuleName"]),
    (
        "AWS/Events",
        "InvocationsFailedToBeSentToDlq",
        &["EventBusName", "RuleName"],
    ),
    ("AWS/WAFV2", "BlockedRequests", &["WebACL", "Rule", "Region"]),
    ("AWS/WAFV2", "CountedRequests", &["WebACL", "Rule", "Region"]),
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

/// The metrics that the template's log filters make: namespace and name.
fn filtered() -> BTreeSet<(String, String)> {
    let template = parse(&text("infra/monitoring.yaml"));
    let filters = template["Resources"].as_object().unwrap().values();
    filters
        .filter(|resource| resource["Type"] == "AWS::Logs::MetricFilter")
        .map(|filter| {
            let metric = &filter["Properties"]["MetricTransformations"][0];
            (
                metric["MetricNamespace"]["Fn::Sub"].as_str().unwrap().to_owned(),
                metric["MetricName"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

/// The resources of both templates of alarms.
fn alarms() -> Value {
    let resources = |file| parse(&text(file))["Resources"].as_object().unwrap().clone();
    let mut all = resources("infra/monitoring.yaml");
    all.extend(resources("infra/publishing-alarms.yaml"));
    Value::Object(all)
}

#[test]
fn the_alarms_watch_metrics_that_exist() {
    let alarms = alarms();
    let mut watched = BTreeSet::new();
    for resource in alarms.as_object().unwrap().values() {
        if resource["Type"] != "AWS::CloudWatch::Alarm" {
            continue;
        }
        let metric = &resource["Properties"];
        let name = metric["MetricName"].as_str().unwrap();
        watched.insert(name.to_owned());
        let Some(namespace) = metric["Namespace"].as_str() else {
            let namespace = metric["Namespace"]["Fn::Sub"].as_str().unwrap();
            assert!(
                filtered().contains(&(namespace.to_owned(), name.to_owned())),
                "{name}"
            );
            continue;
        };
        let dimensions = metric["Dimensions"].as_array().unwrap().iter();
        let names: Vec<_> = dimensions
            .map(|dimension| dimension["Name"].as_str().unwrap().to_owned())
            .collect();
        known(namespace, name, &names);
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

#[test]
fn the_filter_for_internal_errors_finds_the_lines_of_500s_and_no_others() {
    let pattern = resource("infra/monitoring.yaml", "InternalErrorLines")["FilterPattern"].clone();
    let pattern = pattern.as_str().unwrap();
    let (member, value) = pattern
        .strip_prefix("{ $.")
        .and_then(|rest| rest.strip_suffix(" }"))
        .and_then(|rest| rest.split_once(" = "))
        .expect("one comparison");
    assert_eq!(value, "500");
    for line in lines() {
        assert!(line[member].is_u64(), "{line}");
    }
}

/// Checks that a log query names members that lines have, and outcomes that exist.
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
        // Apostrophes enclose a log group's name.
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
fn the_saved_log_queries_name_members_that_lines_have() {
    for name in ["EventStory", "RefusedByReason", "Slowest"] {
        check_query(
            resource("infra/dashboard.yaml", name)["QueryString"]
                .as_str()
                .unwrap(),
        );
    }
}

#[test]
#[should_panic(expected = "\"durations\"")]
fn the_check_notices_a_query_for_a_member_that_no_line_has() {
    check_query("filter ispresent(durations)");
}

#[test]
#[should_panic(expected = "the code writes no")]
fn the_check_notices_an_alarm_on_a_metric_that_nobody_writes() {
    known(NAMESPACE, "InvalidSignatures", &["Service".to_owned()]);
}

#[test]
fn the_dashboard_shows_every_metric_and_every_alarm_under_its_five_questions() {
    let body = resource("infra/dashboard.yaml", "Dashboard")["DashboardBody"]["Fn::Sub"].clone();
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
            let name = alarm.as_str().unwrap().rsplit_once(":alarm:${Name}-").unwrap().1;
            assert!(alarms()[name].is_object(), "{name}");
        }
    }
    for (metric, _) in written() {
        assert!(shown.contains(&metric), "the dashboard does not show {metric}");
    }
}
