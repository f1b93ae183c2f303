//! Rules about names, retention and records that outlive the stack.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Rule, Templates, objects};

pub const RULES: &[Rule] = &[
    ("every store names its retention", retention),
    (
        "table and secret outlive the stack, and a failed first creation leaves neither",
        outlives,
    ),
    ("a stack adopts an existing table and an existing secret", adopts),
    (
        "every name fits, for the shortest, the longest and the reserved stack names",
        names,
    ),
];

fn retention(all: &Templates, fault: &mut dyn FnMut(String)) {
    for (name, resource) in all.resources() {
        let properties = &resource["Properties"];
        let named = match resource["Type"].as_str().unwrap() {
            "AWS::Logs::LogGroup" => !properties["RetentionInDays"]["Ref"].is_null(),
            "AWS::Events::Archive" => !properties["RetentionDays"]["Ref"].is_null(),
            "AWS::SQS::Queue" => properties["MessageRetentionPeriod"] == 1_209_600,
            _ => true,
        };
        if !named {
            fault(name);
        }
    }
}

fn outlives(all: &Templates, fault: &mut dyn FnMut(String)) {
    for (name, resource) in all.resources() {
        let properties = &resource["Properties"];
        let kind = resource["Type"].as_str().unwrap();
        if !matches!(kind, "AWS::DynamoDB::Table" | "AWS::SecretsManager::Secret") {
            continue;
        }
        if resource["DeletionPolicy"] != "RetainExceptOnCreate" || resource["UpdateReplacePolicy"] != "Retain"
        {
            fault(format!("{name}: deletion"));
        }
        // A retained resource with a fixed name would block the next stack.
        if !properties["TableName"].is_null() || !properties["Name"].is_null() {
            fault(format!("{name}: a fixed name"));
        }
        let recovery = &properties["PointInTimeRecoverySpecification"];
        if kind == "AWS::DynamoDB::Table"
            && (properties["DeletionProtectionEnabled"] != true
                || recovery["PointInTimeRecoveryEnabled"] != true
                || recovery["RecoveryPeriodInDays"] != 35)
        {
            fault(format!("{name}: protection"));
        }
    }
}

/// Every use of the table and the secret chooses between the stack's own and the adopted one.
fn adopts(all: &Templates, fault: &mut dyn FnMut(String)) {
    let template = all.get("template.yaml");
    for (resource, condition, parameter) in [
        ("EventsTable", "MakesTable", "ExistingTableStreamArn"),
        ("WebhookSecret", "MakesSecret", "ExistingSecretArn"),
    ] {
        if template["Resources"][resource]["Condition"] != condition {
            fault(format!("{resource} is always made"));
        }
        let mentions = |value: &Value| {
            value["Ref"] == resource
                || value["Fn::GetAtt"]
                    .as_str()
                    .is_some_and(|name| name.starts_with(&format!("{resource}.")))
        };
        let everywhere = objects(template)
            .into_iter()
            .filter(|value| mentions(value))
            .count();
        let chosen: usize = objects(template)
            .into_iter()
            .filter_map(|value| value["Fn::If"].as_array())
            .filter(|choice| choice[0] == condition && choice[2].to_string().contains(parameter))
            .map(|choice| {
                objects(&choice[1])
                    .into_iter()
                    .filter(|value| mentions(value))
                    .count()
            })
            .sum();
        if everywhere == 0 || everywhere != chosen {
            fault(format!(
                "{resource}: {everywhere} uses, {chosen} of them with a choice"
            ));
        }
    }
}

/// Names that derive from the stack's name, with AWS's limit on each (AWS's API reference).
const NAMED: &[(&str, &str, usize)] = &[
    ("AWS::ApiGateway::RestApi", "Name", 1024),
    ("AWS::CloudWatch::Alarm", "AlarmName", 255),
    ("AWS::CloudWatch::CompositeAlarm", "AlarmName", 255),
    ("AWS::CloudWatch::Dashboard", "DashboardName", 255),
    ("AWS::EventSchemas::Registry", "RegistryName", 64),
    ("AWS::Events::Archive", "ArchiveName", 48),
    ("AWS::Events::EventBus", "Name", 256),
    ("AWS::Events::Rule", "Name", 64),
    ("AWS::Logs::LogGroup", "LogGroupName", 512),
    ("AWS::Logs::QueryDefinition", "Name", 255),
    ("AWS::Serverless::Api", "Name", 1024),
    ("AWS::WAFv2::WebACL", "Name", 128),
    ("AWS::ApiGatewayV2::Api", "Name", 128),
];

/// The bus that each account has ("CreateEventBus" in EventBridge's API reference).
const RESERVED_BUS: (&str, &str) = ("AWS::Events::EventBus", "default");

/// The name that no metric of a firewall may have ("VisibilityConfig" in AWS WAF's API reference).
const RESERVED_METRIC: &str = "All";

/// A name that holds the stack's name, for a stack with that name.
fn name_for(value: &Value, stack: &str) -> Option<String> {
    if let Some([condition, then, otherwise]) = value["Fn::If"].as_array().map(Vec::as_slice) {
        let is_named = match condition.as_str() {
            Some("IsNamedDefault") => stack == "default",
            Some("IsNamedAll") => stack == "All",
            _ => return None,
        };
        return name_for(if is_named { then } else { otherwise }, stack);
    }
    let reference = |name: &str| match name {
        "Name" | "AWS::StackName" => Some(stack.to_owned()),
        "Uuid" => Some("8f3b1c9e-0000-4000-8000-000000000000".to_owned()),
        // Lambda's limit.
        "FunctionName" => Some("f".repeat(64)),
        _ => None,
    };
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    if let Some(name) = value["Ref"].as_str() {
        return reference(name);
    }
    let pattern = match &value["Fn::Sub"] {
        Value::Array(parts) => parts[0].as_str(),
        pattern => pattern.as_str(),
    }?;
    let mut filled = pattern.to_owned();
    for name in ["Name", "AWS::StackName", "Uuid", "FunctionName"] {
        filled = filled.replace(&format!("${{{name}}}"), &reference(name)?);
    }
    (!filled.contains("${")).then_some(filled)
}

fn names(all: &Templates, fault: &mut dyn FnMut(String)) {
    for (name, resource) in all.resources() {
        let kind = resource["Type"].as_str().unwrap();
        for (of, member, limit) in NAMED {
            let value = &resource["Properties"][member];
            if *of != kind || value.is_null() {
                continue;
            }
            for stack in ["a", &"a".repeat(128), "default", "All"] {
                match name_for(value, stack) {
                    Some(derived) if derived.len() <= *limit && (*of, &*derived) != RESERVED_BUS => (),
                    derived => fault(format!("{name}: {derived:?} for {} characters", stack.len())),
                }
            }
        }
        // A further name that derives from the stack's name needs a line above, with its limit.
        for (member, value) in resource["Properties"].as_object().into_iter().flatten() {
            let is_listed = NAMED.iter().any(|(of, name, _)| *of == kind && name == member);
            let derives = ["${Name}", "${AWS::StackName}"]
                .iter()
                .any(|part| value["Fn::Sub"].as_str().is_some_and(|text| text.contains(part)))
                || value["Ref"] == "AWS::StackName";
            if member.ends_with("Name") && derives && !is_listed {
                fault(format!("{name}: {member} has no known limit"));
            }
        }
    }
    let metrics: Vec<_> = all
        .of_type("AWS::CloudFormation::Stack")
        .map(|(_, nested)| &nested["Properties"]["Parameters"]["FirewallMetric"])
        .filter(|metric| !metric.is_null())
        .collect();
    for stack in ["a", RESERVED_METRIC] {
        let names: BTreeSet<_> = metrics.iter().map(|metric| name_for(metric, stack)).collect();
        let name = names.first().cloned().flatten();
        if metrics.len() < 3 || names.len() != 1 || name.is_none_or(|name| name == RESERVED_METRIC) {
            fault(format!("the firewall's metrics of the stack {stack}: {names:?}"));
        }
    }
    for (name, parameter) in all.0.iter().filter_map(|(file, template)| {
        let parameter = &template["Parameters"]["Name"];
        (!parameter.is_null()).then_some((file, parameter))
    }) {
        if parameter["AllowedPattern"] != "^[A-Za-z][A-Za-z0-9-]{0,127}$" {
            fault(format!("{name}: Name is not a stack's name"));
        }
    }
}
