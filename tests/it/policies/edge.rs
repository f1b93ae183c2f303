//! Rules about the API and its firewall.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Rule, Templates, if_set, list, objects};

pub const RULES: &[Rule] = &[
    ("API and domain are Regional and speak TLS 1.2 or better", tls),
    ("API and webhook are throttled by the parameters", throttled),
    ("a change of the API's policy deploys the API", |all, fault| {
        if all.the("AWS::Serverless::Api")["Properties"]["AlwaysDeploy"] != true {
            fault("AlwaysDeploy".into());
        }
    }),
    ("the gateway's own answers have the function's shape", answers),
    (
        "the firewall never turns a delivery away for good",
        deliveries_pass,
    ),
    (
        "the firewall passes the sender first and reads no bodies",
        firewall,
    ),
];

fn tls(all: &Templates, fault: &mut dyn FnMut(String)) {
    let api = all.the("AWS::Serverless::Api");
    let regional = &api["Properties"]["EndpointConfiguration"];
    let domain = all.the("AWS::ApiGateway::DomainName");
    if regional["Type"] != "REGIONAL"
        || domain["Properties"]["EndpointConfiguration"]["Types"] != json!(["REGIONAL"])
    {
        fault("the endpoint".into());
    }
    for resource in [api, domain] {
        let properties = &resource["Properties"];
        let policy = properties["SecurityPolicy"].as_str().unwrap_or_default();
        let good = ["SecurityPolicy_TLS13_1_2_", "SecurityPolicy_TLS13_1_3_"];
        if !good.iter().any(|good| policy.starts_with(good)) || properties["EndpointAccessMode"] != "STRICT" {
            fault(format!("{policy:?}"));
        }
    }
}

fn throttled(all: &Templates, fault: &mut dyn FnMut(String)) {
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
}

/// Kind, status if the template sets it, code, and whether the answer has `Retry-After`.
const ANSWERS: &[(&str, Option<&str>, &str, bool)] = &[
    ("THROTTLED", Some("503"), "unavailable", true),
    ("REQUEST_TOO_LARGE", Some("413"), "payload_too_large", false),
    ("WAF_FILTERED", Some("403"), "forbidden", false),
    ("MISSING_AUTHENTICATION_TOKEN", Some("403"), "forbidden", false),
    ("ACCESS_DENIED", Some("403"), "forbidden", false),
    ("INTEGRATION_FAILURE", Some("503"), "unavailable", true),
    ("INTEGRATION_TIMEOUT", Some("503"), "unavailable", true),
    ("DEFAULT_4XX", None, "invalid_request", false),
    ("DEFAULT_5XX", None, "internal", true),
];

fn answers(all: &Templates, fault: &mut dyn FnMut(String)) {
    let responses = &all.the("AWS::Serverless::Api")["Properties"]["GatewayResponses"];
    for (kind, status, code, retry) in ANSWERS {
        let response = &responses[kind];
        let headers = &response["ResponseParameters"]["Headers"];
        let template = response["ResponseTemplates"]["application/json"]
            .as_str()
            .unwrap_or_default();
        let body = template
            .replace("$context.error.messageString", "\"a message\"")
            .replace("$context.requestId", "id");
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        let members: BTreeSet<_> = body
            .as_object()
            .into_iter()
            .flat_map(Map::keys)
            .map(String::as_str)
            .collect();
        if members != BTreeSet::from(["error", "code", "message", "request_id"])
            || body["code"] != *code
            || body["request_id"] != "id"
            || response["StatusCode"].as_str() != *status
            || headers["X-Request-Id"] != "context.requestId"
            || headers["Cache-Control"] != "'no-store'"
            || headers["Retry-After"].is_string() != *retry
        {
            fault((*kind).into());
        }
    }
}

/// A request as far as the firewall's rules look at it.
#[derive(Clone, Copy)]
struct Request {
    method: &'static str,
    path: &'static str,
    /// The rule group of AWS that matches it.
    marked_by: Option<&'static str>,
    /// Its address is over the rate.
    is_over_the_rate: bool,
}

/// Whether a statement matches, for the statements that the firewall uses ("AWS WAF rule statements").
fn statement_matches(statement: &Value, request: Request, labels: &[String]) -> bool {
    let of = |statement: &Value| statement_matches(statement, request, labels);
    let (kind, body) = statement.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "AndStatement" => list(&body["Statements"]).into_iter().all(of),
        "OrStatement" => list(&body["Statements"]).into_iter().any(of),
        "NotStatement" => !of(&body["Statement"]),
        "RateBasedStatement" => request.is_over_the_rate && of(&body["ScopeDownStatement"]),
        "ByteMatchStatement" => {
            assert!(body["FieldToMatch"]["Method"].is_object() && body["PositionalConstraint"] == "EXACTLY");
            body["SearchString"] == request.method
        }
        "RegexMatchStatement" => {
            assert!(body["FieldToMatch"]["UriPath"].is_object());
            assert_eq!(body["RegexString"], "^(/[^/]+)*/webhook/?$");
            let path = request.path.strip_suffix('/').unwrap_or(request.path);
            path.ends_with("/webhook") && !path.contains("//")
        }
        "LabelMatchStatement" => {
            assert_eq!(body["Scope"], "NAMESPACE");
            labels
                .iter()
                .any(|label| label.starts_with(body["Key"].as_str().unwrap()))
        }
        "ManagedRuleGroupStatement" => {
            body["ScopeDownStatement"].is_null() && request.marked_by == body["Name"].as_str()
        }
        "IPSetReferenceStatement" => false,
        other => panic!("{other}"),
    }
}

/// The firewall's answer to a request from an address outside the list, as the status, or none if it passes.
fn answer(acl: &Value, request: Request) -> Option<(u64, bool)> {
    let mut rules: Vec<_> = list(&acl["Rules"]).into_iter().map(if_set).collect();
    rules.sort_by_key(|rule| rule["Priority"].as_u64());
    let mut labels = Vec::new();
    for rule in rules {
        if !statement_matches(&rule["Statement"], request, &labels) {
            continue;
        }
        if let Some(group) = request.marked_by
            && rule["Statement"]["ManagedRuleGroupStatement"].is_object()
        {
            labels.push(match group {
                "AWSManagedRulesAmazonIpReputationList" => "awswaf:managed:aws:amazon-ip-list:X".into(),
                _ => "awswaf:managed:aws:known-bad-inputs:X".to_owned(),
            });
        }
        let blocks = rule["OverrideAction"]["None"].is_object();
        let response = &rule["Action"]["Block"]["CustomResponse"];
        if blocks {
            return Some((403, false));
        }
        if let Some(status) = response["ResponseCode"].as_u64() {
            let retry = objects(&response["ResponseHeaders"])
                .iter()
                .any(|header| header["Name"] == "Retry-After");
            return Some((status, retry));
        }
    }
    None
}

/// The sender retries after a 5xx only (contract, section 1).
fn deliveries_pass(all: &Templates, fault: &mut dyn FnMut(String)) {
    let acl = &all.the("AWS::WAFv2::WebACL")["Properties"];
    let groups = [
        "AWSManagedRulesAmazonIpReputationList",
        "AWSManagedRulesKnownBadInputsRuleSet",
    ];
    for path in ["/live/webhook", "/webhook", "/live/webhook/"] {
        for marked_by in groups {
            let request = Request {
                method: "POST",
                path,
                marked_by: Some(marked_by),
                is_over_the_rate: false,
            };
            if answer(acl, request).is_some() {
                fault(format!("{marked_by} refuses {path}"));
            }
        }
        let request = Request {
            method: "POST",
            path,
            marked_by: None,
            is_over_the_rate: true,
        };
        if answer(acl, request) != Some((503, true)) {
            fault(format!("over the rate, {path} gets {:?}", answer(acl, request)));
        }
    }
    for (method, path) in [
        ("GET", "/live/webhook"),
        ("GET", "/live/results"),
        ("POST", "/live/webhooks"),
    ] {
        let request = Request {
            method,
            path,
            marked_by: None,
            is_over_the_rate: true,
        };
        if answer(acl, request) != Some((429, true)) {
            fault(format!(
                "over the rate, {method} {path} gets {:?}",
                answer(acl, request)
            ));
        }
    }
    for marked_by in groups {
        let request = Request {
            method: "GET",
            path: "/live/results",
            marked_by: Some(marked_by),
            is_over_the_rate: false,
        };
        if answer(acl, request) != Some((403, false)) {
            fault(format!("{marked_by} passes elsewhere"));
        }
    }
}

fn firewall(all: &Templates, fault: &mut dyn FnMut(String)) {
    let acl = &all.the("AWS::WAFv2::WebACL")["Properties"];
    let mut rules: Vec<_> = list(&acl["Rules"]).into_iter().map(if_set).collect();
    rules.sort_by_key(|rule| rule["Priority"].as_u64());
    if rules[0]["Name"] != "sender" || rules[0]["Action"] != json!({"Allow": {}}) {
        fault("the sender".into());
    }
    for rule in &rules {
        let rate = &rule["Statement"]["RateBasedStatement"];
        if rate.is_object()
            && (rate["EvaluationWindowSec"] != 60
                || rate["AggregateKeyType"] != "IP"
                || rate["Limit"]["Ref"] != "RateLimit")
        {
            fault(format!("{}", rule["Name"]));
        }
    }
    for (key, body) in acl["CustomResponseBodies"].as_object().unwrap() {
        let parsed: Value = serde_json::from_str(body["Content"].as_str().unwrap()).unwrap_or_default();
        let complete = ["error", "code", "message", "request_id"]
            .iter()
            .all(|member| parsed[member].is_string());
        if body["ContentType"] != "APPLICATION_JSON" || !complete {
            fault(key.clone());
        }
    }
    if acl.to_string().contains("AWSManagedRulesCommonRuleSet") {
        fault("the common rule set refuses bodies over 8 KB".into());
    }
    let group = &all.get("infra/edge.yaml")["Resources"]["Log"]["Properties"]["LogGroupName"]["Fn::Sub"];
    if !group
        .as_str()
        .is_some_and(|name| name.starts_with("aws-waf-logs-"))
    {
        fault("the log group's name".into());
    }
}
