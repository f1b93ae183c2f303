//! Rules that the templates keep, and for each a change that breaks it: a rule that nothing breaks
//! would prove nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use serde_yaml_ng::Value as Yaml;

pub const TEMPLATES: [&str; 5] = [
    "template.yaml",
    "infra/edge.yaml",
    "infra/notifications.yaml",
    "infra/fanout.yaml",
    "infra/monitoring.yaml",
];

pub fn text(file: &str) -> String {
    let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A template as JSON, with `!Ref x` as `{"Ref": x}` and `!Other x` as `{"Fn::Other": x}`.
pub fn parse(text: &str) -> Value {
    fn json_of(yaml: Yaml) -> Value {
        match yaml {
            Yaml::Null => Value::Null,
            Yaml::Bool(value) => json!(value),
            Yaml::Number(number) => serde_json::from_str(&number.to_string()).unwrap(),
            Yaml::String(text) => json!(text),
            Yaml::Sequence(values) => values.into_iter().map(json_of).collect(),
            Yaml::Mapping(members) => {
                let members = members.into_iter();
                let member = |(key, value): (Yaml, Yaml)| {
                    let key = match key {
                        Yaml::String(key) => key,
                        other => json_of(other).to_string(),
                    };
                    (key, json_of(value))
                };
                Value::Object(members.map(member).collect::<Map<_, _>>())
            }
            Yaml::Tagged(tagged) => {
                let tag = tagged.tag.to_string();
                let name = match tag.trim_start_matches('!') {
                    "Ref" => "Ref".to_owned(),
                    other => format!("Fn::{other}"),
                };
                json!({name: json_of(tagged.value)})
            }
        }
    }
    json_of(serde_yaml_ng::from_str(text).unwrap())
}

pub struct Templates(BTreeMap<&'static str, Value>);

impl Templates {
    fn of(texts: &BTreeMap<&'static str, String>) -> Self {
        Self(texts.iter().map(|(file, text)| (*file, parse(text))).collect())
    }

    fn get(&self, file: &str) -> &Value {
        &self.0[file]
    }

    /// Every resource: its file, name and itself.
    fn resources(&self) -> impl Iterator<Item = (String, &Value)> {
        self.0.iter().flat_map(|(file, template)| {
            let resources = template["Resources"].as_object().unwrap();
            resources
                .iter()
                .map(move |(name, resource)| (format!("{file} {name}"), resource))
        })
    }

    fn of_type(&self, kind: &'static str) -> impl Iterator<Item = (String, &Value)> {
        self.resources()
            .filter(move |(_, resource)| resource["Type"] == kind)
    }

    /// The only resource of that type.
    fn the(&self, kind: &'static str) -> &Value {
        let found: Vec<_> = self.of_type(kind).collect();
        assert_eq!(found.len(), 1, "{kind}");
        found[0].1
    }
}

fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

fn words(value: &Value) -> Vec<&str> {
    list(value).into_iter().filter_map(Value::as_str).collect()
}

/// Everything in a value that is an object, itself first.
fn objects(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().flat_map(objects).collect(),
        Value::Object(members) => std::iter::once(value)
            .chain(members.values().flat_map(objects))
            .collect(),
        _ => Vec::new(),
    }
}

/// The members of a resource that hold policies, with the statements in them.
fn statements(resource: &Value) -> Vec<(&'static str, &Value)> {
    let mut found = Vec::new();
    for object in objects(&resource["Properties"]) {
        for kind in [
            "PolicyDocument",
            "AssumeRolePolicyDocument",
            "KeyPolicy",
            "ResourcePolicy",
        ] {
            found.extend(
                list(&object[kind]["Statement"])
                    .into_iter()
                    .map(|statement| (kind, statement)),
            );
        }
    }
    found
}

type Rule = (&'static str, fn(&Templates, &mut dyn FnMut(String)));

/// The rules by name. Each tells what breaks it.
const RULES: &[Rule] = &[
    ("a function ends before the sender gives up", |all, fault| {
        for (name, function) in all.of_type("AWS::Serverless::Function") {
            let timeout = function["Properties"]["Timeout"].as_u64();
            if timeout.is_none_or(|seconds| seconds > 5) {
                fault(format!("{name}: Timeout"));
            }
        }
    }),
    ("no action and no resource is a wildcard", |all, fault| {
        // X-Ray has no resources to name, and in a key's policy "*" is the key.
        let unnamed = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"];
        for (name, resource) in all.resources() {
            for (kind, statement) in statements(resource) {
                if statement["Effect"] != "Allow" {
                    continue;
                }
                let actions = words(&statement["Action"]);
                let of_the_account = kind == "KeyPolicy" && !statement["Principal"]["AWS"].is_null();
                if actions.iter().any(|action| action.contains('*')) && !of_the_account {
                    fault(format!("{name}: Action {actions:?}"));
                }
                if statement["Principal"] == "*" || statement["Principal"]["AWS"] == "*" {
                    fault(format!("{name}: Principal"));
                }
                let free = kind == "KeyPolicy" || actions.iter().all(|action| unnamed.contains(action));
                if words(&statement["Resource"]).contains(&"*") && !free {
                    fault(format!("{name}: Resource"));
                }
                if !statement["NotAction"].is_null() || !statement["NotResource"].is_null() {
                    fault(format!("{name}: a policy by exclusion"));
                }
            }
            if !resource["Properties"]["ManagedPolicyArns"].is_null() {
                fault(format!("{name}: a managed policy is wider than what is used"));
            }
        }
    }),
    ("every function has a role of its own", |all, fault| {
        for (name, function) in all.of_type("AWS::Serverless::Function") {
            if function["Properties"]["Role"]["Fn::GetAtt"].is_null()
                || !function["Properties"]["Policies"].is_null()
            {
                fault(name);
            }
        }
    }),
    ("what holds data is encrypted", |all, fault| {
        for (name, resource) in all.resources() {
            let properties = &resource["Properties"];
            let encrypted = match resource["Type"].as_str().unwrap() {
                "AWS::DynamoDB::Table" => properties["SSESpecification"]["SSEEnabled"] == true,
                // By a key whose policy lets alarms and events in, which the AWS-managed one does not.
                "AWS::SNS::Topic" | "AWS::SQS::Queue" => properties["KmsMasterKeyId"].is_object(),
                "AWS::KMS::Key" => {
                    let services: BTreeSet<_> = list(&properties["KeyPolicy"]["Statement"])
                        .into_iter()
                        .flat_map(|statement| words(&statement["Principal"]["Service"]))
                        .collect();
                    properties["EnableKeyRotation"] == true
                        && ["cloudwatch.amazonaws.com", "events.amazonaws.com"]
                            .iter()
                            .all(|service| services.contains(service))
                }
                _ => true,
            };
            if !encrypted {
                fault(name);
            }
        }
    }),
    ("queues and topics are spoken to over TLS only", |all, fault| {
        for (name, policy) in all.resources() {
            let kind = policy["Type"].as_str().unwrap();
            if !matches!(kind, "AWS::SNS::TopicPolicy" | "AWS::SQS::QueuePolicy") {
                continue;
            }
            let denied = statements(policy).into_iter().any(|(_, statement)| {
                statement["Effect"] == "Deny"
                    && statement["Condition"]["Bool"]["aws:SecureTransport"] == "false"
            });
            if !denied {
                fault(name);
            }
        }
        let count = |kind| all.of_type(kind).count();
        if count("AWS::SNS::Topic") != count("AWS::SNS::TopicPolicy")
            || count("AWS::SQS::Queue") != count("AWS::SQS::QueuePolicy")
        {
            fault("one has no policy".into());
        }
    }),
    ("what is kept is kept for a time that is said", |all, fault| {
        for (name, resource) in all.resources() {
            let (member, kept) = match resource["Type"].as_str().unwrap() {
                "AWS::Logs::LogGroup" => ("RetentionInDays", "Ref"),
                "AWS::Events::Archive" => ("RetentionDays", "Ref"),
                "AWS::SQS::Queue" => {
                    if resource["Properties"]["MessageRetentionPeriod"] != 1_209_600 {
                        fault(format!("{name}: MessageRetentionPeriod"));
                    }
                    continue;
                }
                _ => continue,
            };
            if resource["Properties"][member][kept].is_null() {
                fault(format!("{name}: {member}"));
            }
        }
    }),
    (
        "table and secret outlive the stack, and the table its mistakes",
        |all, fault| {
            for (name, resource) in all.resources() {
                let properties = &resource["Properties"];
                let kind = resource["Type"].as_str().unwrap();
                if !matches!(kind, "AWS::DynamoDB::Table" | "AWS::SecretsManager::Secret") {
                    continue;
                }
                for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
                    if resource[policy] != "Retain" {
                        fault(format!("{name}: {policy}"));
                    }
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
        },
    ),
    (
        "the API is Regional and speaks TLS 1.2 or better",
        |all, fault| {
            let api = &all.the("AWS::Serverless::Api")["Properties"];
            let policy = api["SecurityPolicy"].as_str().unwrap_or_default();
            if api["EndpointConfiguration"]["Type"] != "REGIONAL"
                || !["SecurityPolicy_TLS13_1_2_", "SecurityPolicy_TLS13_1_3_"]
                    .iter()
                    .any(|good| policy.starts_with(good))
                || api["EndpointAccessMode"] != "STRICT"
            {
                fault(format!("{policy:?}"));
            }
        },
    ),
    ("API and webhook are throttled by the parameters", |all, fault| {
        let settings = &all.the("AWS::Serverless::Api")["Properties"]["MethodSettings"];
        for (path, method) in [("/*", "*"), ("/~1webhook", "POST")] {
            let throttled = list(settings).into_iter().any(|setting| {
                setting["ResourcePath"] == path
                    && setting["HttpMethod"] == method
                    && setting["ThrottlingRateLimit"]["Ref"] == "ThrottleRate"
                    && setting["ThrottlingBurstLimit"]["Ref"] == "ThrottleBurst"
            });
            if !throttled {
                fault(path.into());
            }
        }
    }),
    (
        "the gateway's own answers have the function's shape",
        |all, fault| {
            let responses = &all.the("AWS::Serverless::Api")["Properties"]["GatewayResponses"];
            // Kind, status where it is not left as it is, code, whether to try again.
            for (kind, status, code, again) in [
                ("THROTTLED", Some("503"), "unavailable", true),
                ("REQUEST_TOO_LARGE", Some("413"), "payload_too_large", false),
                ("WAF_FILTERED", Some("403"), "forbidden", false),
                ("MISSING_AUTHENTICATION_TOKEN", Some("403"), "forbidden", false),
                ("ACCESS_DENIED", Some("403"), "forbidden", false),
                ("INTEGRATION_FAILURE", Some("503"), "unavailable", true),
                ("INTEGRATION_TIMEOUT", Some("503"), "unavailable", true),
                ("DEFAULT_4XX", None, "invalid_request", false),
                ("DEFAULT_5XX", None, "internal", true),
            ] {
                let response = &responses[kind];
                let headers = &response["ResponseParameters"]["Headers"];
                let template = response["ResponseTemplates"]["application/json"]
                    .as_str()
                    .unwrap_or_default();
                let body = template
                    .replace("$context.error.messageString", "\"told\"")
                    .replace("$context.requestId", "id");
                let body: Value = serde_json::from_str(&body).unwrap_or_default();
                let members: BTreeSet<_> = body
                    .as_object()
                    .into_iter()
                    .flat_map(Map::keys)
                    .map(String::as_str)
                    .collect();
                if members != BTreeSet::from(["error", "code", "message", "request_id"])
                    || body["code"] != code
                    || body["request_id"] != "id"
                    || response["StatusCode"].as_str() != status
                    || headers["X-Request-Id"] != "context.requestId"
                    || headers["Cache-Control"] != "'no-store'"
                    || headers["Retry-After"].is_string() != again
                {
                    fault(kind.into());
                }
            }
        },
    ),
    (
        "the firewall passes the sender first, then counts, and reads no bodies",
        |all, fault| {
            let acl = &all.the("AWS::WAFv2::WebACL")["Properties"];
            let mut rules: Vec<_> = list(&acl["Rules"])
                .into_iter()
                .map(|rule| {
                    if rule["Fn::If"].is_null() {
                        rule
                    } else {
                        &rule["Fn::If"][1]
                    }
                })
                .collect();
            rules.sort_by_key(|rule| rule["Priority"].as_u64());
            let names: Vec<_> = rules.iter().filter_map(|rule| rule["Name"].as_str()).collect();
            if names != ["sender", "rate", "reputation", "bad-inputs"] {
                return fault(format!("{names:?}"));
            }
            if rules[0]["Action"] != json!({"Allow": {}}) {
                fault("sender".into());
            }
            let rate = &rules[1]["Statement"]["RateBasedStatement"];
            let answer = &rules[1]["Action"]["Block"]["CustomResponse"];
            let retry = list(&answer["ResponseHeaders"])
                .into_iter()
                .any(|header| header["Name"] == "Retry-After");
            if rate["EvaluationWindowSec"] != 60
                || rate["AggregateKeyType"] != "IP"
                || rate["Limit"]["Ref"] != "RateLimit"
                || answer["ResponseCode"] != 429
                || !retry
            {
                fault("rate".into());
            }
            for (key, body) in acl["CustomResponseBodies"].as_object().unwrap() {
                let parsed: Value =
                    serde_json::from_str(body["Content"].as_str().unwrap()).unwrap_or_default();
                let whole = ["error", "code", "message", "request_id"]
                    .iter()
                    .all(|member| parsed[member].is_string());
                if body["ContentType"] != "APPLICATION_JSON" || !whole {
                    fault(key.clone());
                }
            }
            let overrides = list(&rules[3]["Statement"]["ManagedRuleGroupStatement"]["RuleActionOverrides"]);
            let counted: BTreeSet<_> = overrides
                .iter()
                .filter(|rule| rule["ActionToUse"] == json!({"Count": {}}))
                .filter_map(|rule| rule["Name"].as_str())
                .collect();
            if counted != BTreeSet::from(["JavaDeserializationRCE_BODY", "Log4JRCE_BODY", "ReactJSRCE_BODY"])
            {
                fault(format!("{counted:?}"));
            }
            if acl.to_string().contains("AWSManagedRulesCommonRuleSet") {
                fault("the common rule set refuses bodies over 8 KB".into());
            }
            let group =
                &all.get("infra/edge.yaml")["Resources"]["Log"]["Properties"]["LogGroupName"]["Fn::Sub"];
            if !group
                .as_str()
                .is_some_and(|name| name.starts_with("aws-waf-logs-"))
            {
                fault("the log group's name".into());
            }
        },
    ),
    ("the firewall's log leaves out what is secret", |all, fault| {
        let fields = &all.the("AWS::WAFv2::LoggingConfiguration")["Properties"]["RedactedFields"];
        for header in ["x-sonotheia-signature", "authorization", "x-amz-security-token"] {
            if !list(fields)
                .into_iter()
                .any(|field| field["SingleHeader"]["Name"] == header)
            {
                fault(header.into());
            }
        }
    }),
    (
        "every parameter is described and bounded, and the stack's own have defaults",
        |all, fault| {
            for file in TEMPLATES {
                let parameters = all.get(file)["Parameters"].as_object().unwrap();
                for (name, parameter) in parameters {
                    let bounded = match parameter["Type"].as_str() {
                        Some("Number") => {
                            parameter["MinValue"].is_number() && parameter["MaxValue"].is_number()
                                || parameter["AllowedValues"].is_array()
                        }
                        _ => parameter["AllowedPattern"].is_string() || parameter["AllowedValues"].is_array(),
                    };
                    let has_default = !parameter["Default"].is_null() || file != "template.yaml";
                    if !bounded || !has_default || parameter["Description"].as_str().is_none_or(str::is_empty)
                    {
                        fault(format!("{file} {name}"));
                    }
                }
            }
        },
    ),
    (
        "a nested template is given the parameters it takes",
        |all, fault| {
            for (name, stack) in all.of_type("AWS::CloudFormation::Stack") {
                let file = stack["Properties"]["TemplateURL"].as_str().unwrap();
                let nested = all.get(file);
                let given = stack["Properties"]["Parameters"].as_object().unwrap();
                let taken = nested["Parameters"].as_object().unwrap();
                if given.keys().collect::<Vec<_>>() != taken.keys().collect::<Vec<_>>() {
                    fault(format!("{name}: parameters"));
                }
                // What is passed through has the same default and bounds in both.
                for (parameter, value) in given {
                    let Some(outer) = value["Ref"].as_str() else {
                        continue;
                    };
                    let outer = &all.get("template.yaml")["Parameters"][outer];
                    for member in ["Default", "MinValue", "MaxValue", "AllowedValues"] {
                        if !outer.is_null() && outer[member] != taken[parameter][member] {
                            fault(format!("{name}: {parameter} {member}"));
                        }
                    }
                }
                for object in objects(all.get("template.yaml")) {
                    let Some(reference) = object["Fn::GetAtt"].as_str() else {
                        continue;
                    };
                    let stack_name = name.trim_start_matches("template.yaml ");
                    if let Some(output) = reference.strip_prefix(&format!("{stack_name}.Outputs."))
                        && nested["Outputs"][output].is_null()
                    {
                        fault(format!("{name}: no output {output}"));
                    }
                }
            }
        },
    ),
    (
        "a new version takes over bit by bit, and goes back on an alarm",
        |all, fault| {
            let function = &all.the("AWS::Serverless::Function")["Properties"];
            let default = &all.get("template.yaml")["Parameters"]["DeploymentType"]["Default"];
            let alarms = list(&function["DeploymentPreference"]["Alarms"]);
            if function["AutoPublishAlias"] != "live"
                || function["AutoPublishAliasAllProperties"] != true
                || !default.as_str().is_some_and(|kind| kind.starts_with("Canary"))
                || alarms.len() < 3
                || !alarms.iter().all(|alarm| {
                    alarm["Fn::GetAtt"]
                        .as_str()
                        .is_some_and(|name| name.starts_with("Monitoring.Outputs."))
                })
            {
                fault("the function".into());
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
        },
    ),
    ("logs are JSON, calls are traced", |all, fault| {
        let function = &all.the("AWS::Serverless::Function")["Properties"];
        let api = &all.the("AWS::Serverless::Api")["Properties"];
        if function["LoggingConfig"]["LogFormat"] != "JSON"
            || function["Tracing"] != "Active"
            || api["TracingEnabled"] != true
        {
            fault("the function or its API".into());
        }
    }),
    (
        "a pipe gives up on an event at last, and puts it aside",
        |all, fault| {
            let source =
                &all.the("AWS::Pipes::Pipe")["Properties"]["SourceParameters"]["DynamoDBStreamParameters"];
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
        },
    ),
    (
        "every alarm is heard, says what silence means, and is explained",
        |all, fault| {
            let told: String = all
                .of_type("AWS::CloudWatch::CompositeAlarm")
                .map(|(_, composite)| composite["Properties"]["AlarmRule"].to_string())
                .collect();
            let operations = text("docs/operations.md");
            for (name, alarm) in all.of_type("AWS::CloudWatch::Alarm") {
                let name = name.trim_start_matches("infra/monitoring.yaml ");
                let properties = &alarm["Properties"];
                if told.matches(&format!("${{{name}}}")).count() != 1
                    || properties["TreatMissingData"].is_null()
                    || properties["AlarmDescription"].is_null()
                    || !operations.contains(&format!("| `{name}` |"))
                {
                    fault(name.into());
                }
            }
            for (name, composite) in all.of_type("AWS::CloudWatch::CompositeAlarm") {
                if composite["Properties"]["AlarmActions"][0]["Ref"] != "AlarmTopicArn" {
                    fault(name);
                }
            }
        },
    ),
];

fn sources() -> BTreeMap<&'static str, String> {
    TEMPLATES.into_iter().map(|file| (file, text(file))).collect()
}

/// What breaks a rule, as `rule: what`.
fn faults(texts: &BTreeMap<&'static str, String>) -> Vec<(&'static str, String)> {
    let templates = Templates::of(texts);
    let mut faults = Vec::new();
    for (rule, check) in RULES {
        check(&templates, &mut |fault| faults.push((*rule, fault)));
    }
    faults
}

#[test]
fn the_templates_keep_every_rule() {
    let faults = faults(&sources());
    assert!(faults.is_empty(), "{faults:#?}");
}

/// A change to a template, and the rule that has to notice: file, text, its replacement, rule.
const MUTATIONS: &[(&str, &str, &str, &str)] = &[
    (
        "template.yaml",
        "Timeout: 5\n",
        "Timeout: 30\n",
        "a function ends before",
    ),
    (
        "template.yaml",
        "Action: dynamodb:Query",
        "Action: dynamodb:*",
        "no action and no resource",
    ),
    (
        "template.yaml",
        "Resource: !Ref WebhookSecret",
        "Resource: \"*\"",
        "no action and no resource",
    ),
    (
        "infra/fanout.yaml",
        "Action: events:PutEvents",
        "Action: \"*\"",
        "no action and no resource",
    ),
    (
        "infra/notifications.yaml",
        "Principal: {Service: cloudwatch.amazonaws.com}",
        "Principal: \"*\"",
        "no action and no resource",
    ),
    (
        "template.yaml",
        "Role: !GetAtt ReceiverRole.Arn",
        "Policies: AmazonDynamoDBFullAccess",
        "every function has a role",
    ),
    (
        "template.yaml",
        "SSESpecification: {SSEEnabled: true}",
        "SSESpecification: {SSEEnabled: false}",
        "what holds data is encrypted",
    ),
    (
        "infra/notifications.yaml",
        "KmsMasterKeyId: !GetAtt Key.Arn",
        "KmsMasterKeyId: alias/aws/sns",
        "what holds data is encrypted",
    ),
    (
        "infra/notifications.yaml",
        "[cloudwatch.amazonaws.com, events.amazonaws.com]",
        "[events.amazonaws.com]",
        "what holds data is encrypted",
    ),
    (
        "infra/fanout.yaml",
        "      KmsMasterKeyId: !Ref KeyArn\n",
        "",
        "what holds data is encrypted",
    ),
    (
        "infra/fanout.yaml",
        "{\"aws:SecureTransport\": \"false\"}",
        "{\"aws:SecureTransport\": \"true\"}",
        "queues and topics",
    ),
    (
        "template.yaml",
        "      RetentionInDays: !Ref LogRetentionDays\n",
        "",
        "what is kept is kept",
    ),
    (
        "infra/edge.yaml",
        "      RetentionInDays: !Ref LogRetentionDays\n",
        "",
        "what is kept is kept",
    ),
    (
        "infra/fanout.yaml",
        "      RetentionDays: !Ref ArchiveDays\n",
        "",
        "what is kept is kept",
    ),
    (
        "template.yaml",
        "DeletionPolicy: Retain",
        "DeletionPolicy: Delete",
        "table and secret outlive",
    ),
    (
        "template.yaml",
        "DeletionProtectionEnabled: true",
        "DeletionProtectionEnabled: false",
        "table and secret outlive",
    ),
    (
        "template.yaml",
        ", RecoveryPeriodInDays: 35",
        "",
        "table and secret outlive",
    ),
    (
        "template.yaml",
        "SecurityPolicy: SecurityPolicy_TLS13_1_2_2021_06",
        "SecurityPolicy: TLS_1_0",
        "the API is Regional",
    ),
    (
        "template.yaml",
        "Type: REGIONAL",
        "Type: EDGE",
        "the API is Regional",
    ),
    (
        "template.yaml",
        "ThrottlingBurstLimit: !Ref ThrottleBurst",
        "ThrottlingBurstLimit: 5000",
        "API and webhook are throttled",
    ),
    (
        "template.yaml",
        "ResourcePath: /~1webhook",
        "ResourcePath: /webhook",
        "API and webhook are throttled",
    ),
    (
        "template.yaml",
        "\"code\":\"payload_too_large\",",
        "",
        "the gateway's own answers",
    ),
    (
        "template.yaml",
        "StatusCode: \"503\"",
        "StatusCode: \"429\"",
        "the gateway's own answers",
    ),
    (
        "template.yaml",
        "\"message\":$context.error.messageString",
        "\"message\":$context.error.message",
        "the gateway's own answers",
    ),
    (
        "infra/edge.yaml",
        "Priority: 0",
        "Priority: 9",
        "the firewall passes the sender",
    ),
    (
        "infra/edge.yaml",
        "EvaluationWindowSec: 60",
        "EvaluationWindowSec: 300",
        "the firewall passes the sender",
    ),
    (
        "infra/edge.yaml",
        "ResponseCode: 429",
        "ResponseCode: 403",
        "the firewall passes the sender",
    ),
    (
        "infra/edge.yaml",
        "Name: Log4JRCE_BODY, ActionToUse: {Count: {}}",
        "Name: Log4JRCE_BODY, ActionToUse: {Block: {}}",
        "the firewall passes the sender",
    ),
    (
        "infra/edge.yaml",
        "AWSManagedRulesAmazonIpReputationList",
        "AWSManagedRulesCommonRuleSet",
        "the firewall passes the sender",
    ),
    (
        "infra/edge.yaml",
        "!Sub aws-waf-logs-",
        "!Sub waf-logs-",
        "the firewall passes the sender",
    ),
    (
        "infra/edge.yaml",
        "- SingleHeader: {Name: x-sonotheia-signature}\n        ",
        "",
        "the firewall's log",
    ),
    ("template.yaml", "    MinValue: 10\n", "", "every parameter"),
    (
        "template.yaml",
        "    Description: Name of the API's stage, the first part of every path.\n",
        "",
        "every parameter",
    ),
    (
        "template.yaml",
        "        RateLimit: !Ref RateLimit\n",
        "",
        "a nested template",
    ),
    (
        "infra/edge.yaml",
        "    Default: 100\n",
        "    Default: 1000\n",
        "a nested template",
    ),
    (
        "infra/fanout.yaml",
        "  PipeName:\n",
        "  Pipe:\n",
        "a nested template",
    ),
    (
        "template.yaml",
        "    Default: Canary10Percent5Minutes",
        "    Default: AllAtOnce",
        "a new version",
    ),
    (
        "infra/monitoring.yaml",
        "${FunctionName}:live",
        "${FunctionName}",
        "a new version",
    ),
    (
        "template.yaml",
        "LogFormat: JSON",
        "LogFormat: Text",
        "logs are JSON",
    ),
    (
        "infra/fanout.yaml",
        "MaximumRetryAttempts: 10",
        "MaximumRetryAttempts: -1",
        "a pipe gives up",
    ),
    (
        "infra/fanout.yaml",
        "          OnPartialBatchItemFailure: AUTOMATIC_BISECT\n",
        "",
        "a pipe gives up",
    ),
    (
        "infra/fanout.yaml",
        "StartingPosition: TRIM_HORIZON",
        "StartingPosition: LATEST",
        "a pipe gives up",
    ),
    (
        "infra/fanout.yaml",
        "          DeadLetterConfig: {Arn: !GetAtt DeadLetters.Arn}\n",
        "",
        "a pipe gives up",
    ),
    (
        "infra/monitoring.yaml",
        " OR ALARM(\"${Latency}\")",
        "",
        "every alarm is heard",
    ),
    (
        "infra/monitoring.yaml",
        "      TreatMissingData: breaching\n",
        "",
        "every alarm is heard",
    ),
    (
        "infra/monitoring.yaml",
        "AlarmActions: [!Ref AlarmTopicArn]",
        "AlarmActions: []",
        "every alarm is heard",
    ),
];

#[test]
fn every_rule_notices_what_breaks_it() {
    let sources = sources();
    let mut proven = BTreeSet::new();
    for (file, from, to, rule) in MUTATIONS {
        let mut changed = sources.clone();
        let text = changed.get_mut(file).unwrap();
        assert!(
            text.contains(from),
            "{file} has no {from:?}: change the test with the template"
        );
        *text = text.replacen(from, to, 1);
        let noticed: Vec<_> = faults(&changed).into_iter().map(|(rule, _)| rule).collect();
        assert!(
            noticed.iter().any(|name| name.starts_with(rule)),
            "{rule:?} did not notice {from:?} -> {to:?} in {file}, but these did: {noticed:?}"
        );
        proven.extend(noticed.into_iter().filter(|name| name.starts_with(rule)));
    }
    for (rule, _) in RULES {
        assert!(proven.contains(rule), "nothing breaks {rule:?}");
    }
}
