//! The policies in `infra/policies`, against the calls that scripts and commands make, and the documents that
//! name files of `infra`.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::{list, parse, text, words};

/// The statements of a policy file.
fn policy(name: &str) -> Vec<Value> {
    let policy: Value = serde_json::from_str(&text(&format!("infra/policies/{name}.json"))).expect("JSON");
    policy["Statement"].as_array().unwrap().clone()
}

/// The actions that a policy file allows.
fn actions(name: &str) -> BTreeSet<String> {
    policy(name)
        .iter()
        .flat_map(|statement| {
            words(&statement["Action"])
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Operations of DynamoDB and Secrets Manager, as the SDKs for Rust and Python call them.
const OPERATIONS: &[(&str, &[&str])] = &[
    (
        "dynamodb",
        &[
            "batch_execute_statement",
            "batch_get_item",
            "batch_write_item",
            "create_table",
            "delete_item",
            "delete_table",
            "describe_continuous_backups",
            "describe_endpoints",
            "describe_limits",
            "describe_table",
            "describe_time_to_live",
            "execute_statement",
            "get_item",
            "put_item",
            "query",
            "restore_table_to_point_in_time",
            "scan",
            "transact_get_items",
            "transact_write_items",
            "update_continuous_backups",
            "update_item",
            "update_table",
            "update_time_to_live",
        ],
    ),
    (
        "secretsmanager",
        &[
            "create_secret",
            "delete_secret",
            "describe_secret",
            "get_secret_value",
            "list_secret_version_ids",
            "list_secrets",
            "put_secret_value",
            "update_secret_version_stage",
        ],
    ),
    ("cloudformation", &["describe_stacks"]),
    ("events", &["put_events"]),
    ("pipes", &["describe_pipe", "start_pipe", "stop_pipe"]),
];

/// `put_item` or `put-item` as `PutItem`.
fn action(service: &str, operation: &str) -> String {
    let words = operation.split(['_', '-']).map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    });
    format!("{service}:{}", words.collect::<String>())
}

/// The actions behind the SDK calls in a program's text: `client.put_item(…)`, `get_paginator("query")`.
fn sdk_calls(program: &str) -> BTreeSet<String> {
    let called = |operation: &str| {
        [
            format!(".{operation}("),
            format!("get_paginator(\"{operation}\")"),
        ]
        .iter()
        .any(|call| program.contains(call.as_str()))
    };
    OPERATIONS
        .iter()
        .flat_map(|(service, operations)| operations.iter().map(move |operation| (*service, *operation)))
        .filter(|(_, operation)| called(operation))
        .map(|(service, operation)| action(service, operation))
        .collect()
}

/// The actions behind the calls of the AWS CLI in a shell script.
fn cli_calls(script: &str) -> BTreeSet<String> {
    let services = [
        "cloudformation",
        "cloudwatch",
        "dynamodb",
        "events",
        "pipes",
        "secretsmanager",
        "sqs",
    ];
    let joined = script.replace("\\\n", " ");
    let words: Vec<_> = joined.split_whitespace().collect();
    words
        .windows(2)
        .filter(|pair| services.contains(&pair[0]) && pair[1].contains('-') && !pair[1].starts_with("--"))
        .map(|pair| action(pair[0], pair[1]))
        .collect()
}

/// The text of every Rust file of the command line and of the receiver, whose store the command line uses.
fn rust_sources() -> String {
    fn collect(folder: &Path, found: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                *found += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let mut found = String::new();
    for folder in ["src", "crates/cli/src"] {
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut found);
    }
    found
}

#[test]
fn an_operator_may_make_every_call_of_the_scripts_and_the_commands() {
    let allowed = actions("operator");
    // `serve` and `backends` make a table and a secret on this machine.
    let local = [
        "dynamodb:CreateTable",
        "dynamodb:UpdateTimeToLive",
        "secretsmanager:CreateSecret",
    ];
    for (program, calls) in [
        ("rotate-secret", cli_calls(&text("infra/rotate-secret"))),
        ("restore-table", sdk_calls(&text("infra/restore-table"))),
        ("republish", sdk_calls(&text("infra/republish"))),
        ("cargo sonotheia", sdk_calls(&rust_sources())),
    ] {
        assert!(calls.len() > 2, "{program} makes calls: {calls:?}");
        for call in calls {
            assert!(
                allowed.contains(&call) || local.contains(&call.as_str()),
                "{program} calls {call}, which infra/policies/operator.json does not allow"
            );
        }
    }
    // `erase` changes a record in place (contract, section 4), and the dead-letter queue is emptied by hand.
    for call in ["dynamodb:UpdateItem", "sqs:PurgeQueue", "sqs:ReceiveMessage"] {
        assert!(allowed.contains(call), "{call}");
    }
}

#[test]
fn the_checks_find_calls_in_every_kind_of_program() {
    assert_eq!(
        cli_calls("x=$(aws_or_stop \"do it\" secretsmanager \\\n  put-secret-value --secret-id x)"),
        ["secretsmanager:PutSecretValue".to_owned()].into()
    );
    assert_eq!(
        sdk_calls("dynamodb.get_paginator(\"scan\"); client.describe_table(); pipes.stop_pipe(Name=x)"),
        ["dynamodb:DescribeTable", "dynamodb:Scan", "pipes:StopPipe"]
            .map(str::to_owned)
            .into()
    );
}

#[test]
fn an_operator_cannot_delete_records_or_the_secret() {
    for statement in policy("operator") {
        let of_the_table = words(&statement["Resource"])
            .iter()
            .any(|resource| resource.ends_with("table/TABLE"));
        for action in words(&statement["Action"]) {
            assert!(!action.contains('*'), "{action}");
            assert!(!of_the_table || !action.contains("Delete"), "{action}");
            assert!(action != "secretsmanager:DeleteSecret");
        }
    }
}

#[test]
fn a_reader_may_call_the_reads_and_nothing_else() {
    let statements = policy("reader");
    assert_eq!(actions("reader"), ["execute-api:Invoke".to_owned()].into());
    let template = parse(&text("template.yaml"));
    let events = template["Resources"]["Receiver"]["Properties"]["Events"]
        .as_object()
        .unwrap();
    let mut reads: Vec<_> = events
        .values()
        .map(|event| &event["Properties"])
        .filter(|route| route["Method"] == "GET" && route["Auth"]["Authorizer"] == "AWS_IAM")
        .map(|route| {
            let path = route["Path"].as_str().unwrap();
            let path = path
                .split_once('{')
                .map_or(path.to_owned(), |(start, _)| format!("{start}*"));
            format!("arn:aws:execute-api:REGION:ACCOUNT_ID:API_ID/STAGE/GET{path}")
        })
        .collect();
    reads.sort_unstable();
    let mut allowed = words(&statements[0]["Resource"]);
    allowed.sort_unstable();
    assert_eq!(allowed, reads);
}

/// AWS takes 6,144 characters, without blanks ("IAM and AWS STS quotas").
#[test]
fn every_policy_fits_a_managed_policy() {
    for name in ["deployer", "operator", "reader"] {
        let length = text(&format!("infra/policies/{name}.json"))
            .chars()
            .filter(|c| !c.is_whitespace())
            .count();
        assert!(length <= 6144, "{name}: {length} characters");
    }
}

/// `.ci/check-policies` compares the actions with CloudFormation's own list for each type of resource.
#[test]
fn a_deployer_passes_only_the_stacks_roles_and_only_to_its_services() {
    for statement in policy("deployer") {
        for action in words(&statement["Action"]) {
            assert_ne!(action, "*");
            assert!(!action.ends_with(":*"), "{action}");
            if action.starts_with("iam:") && action != "iam:CreateServiceLinkedRole" {
                assert_eq!(
                    words(&statement["Resource"]),
                    ["arn:aws:iam::ACCOUNT_ID:role/STACK-*"]
                );
            }
            if action == "iam:PassRole" {
                assert!(statement["Condition"]["StringEquals"]["iam:PassedToService"].is_array());
            }
        }
    }
}

#[test]
fn the_readme_of_infra_lists_every_file_there() {
    let readme = text("infra/README.md");
    for folder in ["infra", "infra/policies"] {
        let path = format!("{}/{folder}", env!("CARGO_MANIFEST_DIR"));
        for entry in std::fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let named = folder.replace("infra/", "") + "/" + &name;
            let linked = if folder == "infra" {
                format!("]({name})")
            } else {
                format!("]({named})")
            };
            assert!(
                name == "README.md" || entry.path().is_dir() || readme.contains(&linked),
                "infra/README.md does not list {name}"
            );
        }
    }
}

#[test]
fn table_and_secret_are_the_same_with_and_without_sam() {
    let sam = parse(&text("template.yaml"));
    let alone = parse(&text("infra/cargo-lambda.yaml"));
    for name in ["EventsTable", "WebhookSecret"] {
        let of = |template: &Value, member: &str| template["Resources"][name][member].clone();
        for member in ["Type", "Properties", "DeletionPolicy", "UpdateReplacePolicy"] {
            assert_eq!(of(&sam, member), of(&alone, member), "{name} {member}");
        }
    }
    let statements = |template: &Value| {
        let policy = &template["Resources"]["ReceiverRole"]["Properties"]["Policies"][0]["PolicyDocument"];
        list(&policy["Statement"])
            .into_iter()
            .map(|statement| super::if_set(statement)["Action"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(statements(&sam), statements(&alone));
}

/// The reads of the HTTP API need IAM, and no other spelling of their paths reaches the function.
#[test]
fn the_http_api_opens_the_webhook_and_health_only() {
    let template = parse(&text("infra/http-api.yaml"));
    let routes = template["Resources"].as_object().unwrap().values();
    let mut open: Vec<_> = routes
        .filter(|resource| resource["Type"] == "AWS::ApiGatewayV2::Route")
        .map(|route| &route["Properties"])
        .filter(|route| route["AuthorizationType"] != "AWS_IAM")
        .map(|route| route["RouteKey"].as_str().unwrap())
        .collect();
    open.sort_unstable();
    assert_eq!(open, ["ANY /health", "ANY /webhook"]);
}
