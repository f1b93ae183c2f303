//! Rules about deployments, logs, alarms and the pipe.

use std::collections::BTreeSet;

use super::{Rule, Templates, if_set, list, objects, text};

pub const RULES: &[Rule] = &[
    ("a function ends before the sender gives up", |all, fault| {
        for (name, function) in all.of_type("AWS::Serverless::Function") {
            let timeout = function["Properties"]["Timeout"].as_u64();
            if timeout.is_none_or(|seconds| seconds > 5) {
                fault(format!("{name}: Timeout"));
            }
        }
    }),
    (
        "a new version takes over step by step, and rolls back on an alarm",
        deploys,
    ),
    ("logs are JSON, no level drops metrics, calls are traced", logs),
    ("two stacks share no metrics", own_metrics),
    ("the pipe gives up on an event at last, and keeps it", pipe),
    ("no batch passes the limit of PutEvents", batches),
    (
        "every alarm is heard, says what silence means, and is explained",
        heard,
    ),
    ("no alarm stays hidden behind another", not_hidden),
    ("no alarm depends on metric math", |all, fault| {
        for (name, alarm) in all.of_type("AWS::CloudWatch::Alarm") {
            if !alarm["Properties"]["Metrics"].is_null() {
                fault(name);
            }
        }
    }),
];

fn deploys(all: &Templates, fault: &mut dyn FnMut(String)) {
    let function = &all.the("AWS::Serverless::Function")["Properties"];
    let preference = &function["DeploymentPreference"];
    let default = &all.get("template.yaml")["Parameters"]["DeploymentType"]["Default"];
    if function["AutoPublishAlias"] != "live"
        || function["AutoPublishAliasAllProperties"] != true
        || !default.as_str().is_some_and(|kind| kind.starts_with("Canary"))
    {
        fault("the function".into());
    }
    // Off for a hot fix: CodeDeploy does not even start while an alarm is active.
    let choice = &preference["Alarms"]["Fn::If"];
    let alarms = list(&choice[1]);
    if choice[0] != "RollsBackOnAlarm" || choice[2][0]["Ref"] != "AWS::NoValue" || alarms.len() < 3 {
        fault("the alarms are not a choice".into());
    }
    let monitoring = all.get("infra/monitoring.yaml");
    for alarm in alarms {
        let output = alarm["Fn::GetAtt"]
            .as_str()
            .and_then(|name| name.strip_prefix("Monitoring.Outputs."))
            .unwrap_or_default();
        let watched = monitoring["Outputs"][output]["Value"]["Ref"]
            .as_str()
            .unwrap_or_default();
        // The API's 5XXError counts throttled requests: a flood would block a release.
        let metric = &monitoring["Resources"][watched]["Properties"]["MetricName"];
        if !metric.is_string() || metric == "5XXError" || metric == "Throttles" {
            fault(format!("a deployment watches {metric}"));
        }
    }
    for (name, alarm) in all.of_type("AWS::CloudWatch::Alarm") {
        if alarm["Properties"]["Namespace"] == "AWS/Lambda"
            && !list(&alarm["Properties"]["Dimensions"])
                .into_iter()
                .any(|dimension| dimension["Value"]["Fn::Sub"] == "${FunctionName}:live")
        {
            fault(format!("{name} watches another version than the alias"));
        }
    }
}

fn logs(all: &Templates, fault: &mut dyn FnMut(String)) {
    let function = &all.the("AWS::Serverless::Function")["Properties"];
    let api = &all.the("AWS::Serverless::Api")["Properties"];
    if function["LoggingConfig"]["LogFormat"] != "JSON"
        || function["LoggingConfig"]["ApplicationLogLevel"] != "INFO"
        || function["Tracing"] != "Active"
        || api["TracingEnabled"] != true
    {
        fault("the function or its API".into());
    }
}

fn own_metrics(all: &Templates, fault: &mut dyn FnMut(String)) {
    let function = &all.the("AWS::Serverless::Function")["Properties"];
    if function["Environment"]["Variables"]["SERVICE_NAME"]["Ref"] != "AWS::StackName" {
        fault("SERVICE_NAME".into());
    }
    for (name, alarm) in all.of_type("AWS::CloudWatch::Alarm") {
        let properties = &alarm["Properties"];
        let names_the_stack = match properties["Namespace"].as_str() {
            Some("SonotheiaWebhook") => list(&properties["Dimensions"])
                .into_iter()
                .any(|dimension| dimension["Name"] == "Service" && dimension["Value"]["Ref"] == "Name"),
            Some(_) => true,
            None => properties["Namespace"]["Fn::Sub"] == "SonotheiaWebhook/${Name}",
        };
        if !names_the_stack {
            fault(name);
        }
    }
}

fn pipe(all: &Templates, fault: &mut dyn FnMut(String)) {
    let source = &all.the("AWS::Pipes::Pipe")["Properties"]["SourceParameters"]["DynamoDBStreamParameters"];
    if !source["MaximumRetryAttempts"]
        .as_u64()
        .is_some_and(|attempts| (1..=100).contains(&attempts))
        || !source["MaximumRecordAgeInSeconds"]
            .as_u64()
            .is_some_and(|age| (3600..86_400).contains(&age))
        || source["OnPartialBatchItemFailure"] != "AUTOMATIC_BISECT"
        || source["StartingPosition"] != "TRIM_HORIZON"
        || source["DeadLetterConfig"]["Arn"].is_null()
    {
        fault("the pipe".into());
    }
    for target in list(&all.the("AWS::Events::Rule")["Properties"]["Targets"]) {
        if target["DeadLetterConfig"]["Arn"].is_null() || target["RetryPolicy"].is_null() {
            fault("the rule".into());
        }
    }
}

/// PutEvents takes 1 MB a request, all entries together. Quoting a body can double it, and the other
/// members have at most 4 KB.
fn batches(all: &Templates, fault: &mut dyn FnMut(String)) {
    let source = &all.the("AWS::Pipes::Pipe")["Properties"]["SourceParameters"]["DynamoDBStreamParameters"];
    let largest = all.get("template.yaml")["Parameters"]["MaxBodyBytes"]["MaxValue"]
        .as_u64()
        .unwrap();
    let batch = source["BatchSize"].as_u64().unwrap_or(100);
    if batch * (2 * largest + 4096) > 1_000_000 {
        fault(format!("{batch} events of {largest} bytes"));
    }
}

/// Alarms of a composite alarm, or of all of them.
fn children<'a>(all: &'a Templates, kind: impl Fn(&str) -> bool + 'a) -> BTreeSet<String> {
    all.of_type("AWS::CloudWatch::CompositeAlarm")
        .filter(|(name, _)| kind(name))
        .flat_map(|(_, composite)| {
            let rule = objects(&composite["Properties"]["AlarmRule"])[0]["Fn::Sub"].to_string();
            rule.split("${")
                .skip(1)
                .filter_map(|rest| rest.split('}').next().map(str::to_owned))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn notifies(alarm: &serde_json::Value) -> bool {
    list(&alarm["Properties"]["AlarmActions"])
        .iter()
        .any(|action| if_set(action)["Ref"] == "AlarmTopicArn")
}

fn heard(all: &Templates, fault: &mut dyn FnMut(String)) {
    let grouped = children(all, |_| true);
    let operations = text("docs/operations.md");
    let dashboard = text("infra/dashboard.yaml");
    for (name, alarm) in all
        .of_type("AWS::CloudWatch::Alarm")
        .chain(all.of_type("AWS::CloudWatch::CompositeAlarm"))
    {
        let name = name.rsplit(' ').next().unwrap();
        let is_plain = alarm["Type"] == "AWS::CloudWatch::Alarm";
        // These two are the halves of NotPublished.
        let is_half = ["Accepting", "PipeIdle"].contains(&name);
        if notifies(alarm) == grouped.contains(name)
            || is_plain && alarm["Properties"]["TreatMissingData"].is_null()
            || alarm["Properties"]["AlarmDescription"].is_null()
            || !operations.contains(&format!("| `{name}` |"))
            || !is_half && !dashboard.contains(&format!(":alarm:${{Name}}-{name}\""))
        {
            fault(name.into());
        }
    }
}

/// A composite alarm notifies only when it changes itself. So an alarm that can last notifies on its own,
/// and receiving and publishing have a composite alarm each.
fn not_hidden(all: &Templates, fault: &mut dyn FnMut(String)) {
    let grouped = children(all, |_| true);
    let alarm = |wanted: &str| {
        all.of_type("AWS::CloudWatch::Alarm")
            .find(|(name, _)| name.ends_with(&format!(" {wanted}")))
            .map(|(_, alarm)| alarm)
    };
    for name in ["NoTraffic", "DeadLetters", "PreviousSecret", "InvalidSignatures"] {
        if grouped.contains(name) || !alarm(name).is_some_and(notifies) {
            fault(name.into());
        }
    }
    let receiving = children(all, |name| name.ends_with(" Failing"));
    let publishing = children(all, |name| name.ends_with(" NotPublishing"));
    if receiving.is_empty() || publishing.is_empty() || !receiving.is_disjoint(&publishing) {
        fault("the composite alarms".into());
    }
    for metric in [
        "ExecutionFailed",
        "ExecutionPartiallyFailed",
        "ExecutionThrottled",
        "ExecutionTimeout",
    ] {
        if !publishing
            .iter()
            .any(|name| alarm(name).is_some_and(|alarm| alarm["Properties"]["MetricName"] == metric))
        {
            fault(format!("nobody hears of {metric}"));
        }
    }
    for metric in ["FailedInvocations", "InvocationsFailedToBeSentToDlq"] {
        if !publishing
            .iter()
            .any(|name| alarm(name).is_some_and(|alarm| alarm["Properties"]["MetricName"] == metric))
        {
            fault(format!("nobody hears of {metric}"));
        }
    }
}
