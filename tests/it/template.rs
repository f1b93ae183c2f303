//! The template against the code: table, variables, routes and permissions.

use serde_yaml_ng::Value;
use sonotheia_webhook::store::schema::{INDEXES, TABLE_KEY, TTL_ATTRIBUTE};

fn template() -> Value {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/template.yaml")).unwrap();
    serde_yaml_ng::from_str(&text).unwrap()
}

/// The properties of the only resource of that type.
fn properties(template: &Value, kind: &str) -> Value {
    let resources = template["Resources"].as_mapping().unwrap();
    let of_kind: Vec<_> = resources
        .values()
        .filter(|resource| resource["Type"] == kind)
        .collect();
    assert_eq!(of_kind.len(), 1, "{kind}");
    of_kind[0]["Properties"].clone()
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_sequence()
        .unwrap()
        .iter()
        .map(|value| value.as_str().unwrap())
        .collect()
}

fn keys(schema: &Value) -> Vec<(&str, &str)> {
    let keys = schema.as_sequence().unwrap().iter();
    keys.map(|key| {
        (
            key["AttributeName"].as_str().unwrap(),
            key["KeyType"].as_str().unwrap(),
        )
    })
    .collect()
}

#[test]
fn the_template_and_the_code_define_the_same_table() {
    let table = properties(&template(), "AWS::DynamoDB::Table");
    assert_eq!(keys(&table["KeySchema"]), [(TABLE_KEY, "HASH")]);
    assert_eq!(table["TimeToLiveSpecification"]["AttributeName"], TTL_ATTRIBUTE);
    assert_eq!(table["TimeToLiveSpecification"]["Enabled"], true);

    let indexes = table["GlobalSecondaryIndexes"].as_sequence().unwrap();
    assert_eq!(indexes.len(), INDEXES.len());
    let mut names = vec![TABLE_KEY];
    for (given, made) in indexes.iter().zip(&INDEXES) {
        assert_eq!(given["IndexName"], made.name);
        assert_eq!(
            keys(&given["KeySchema"]),
            [(made.partition_key, "HASH"), (made.sort_key, "RANGE")]
        );
        assert_eq!(given["Projection"]["ProjectionType"], "INCLUDE");
        assert_eq!(strings(&given["Projection"]["NonKeyAttributes"]), made.includes);
        names.extend([made.partition_key, made.sort_key]);
    }
    names.sort_unstable();
    names.dedup();
    let defined = table["AttributeDefinitions"].as_sequence().unwrap();
    let mut defined: Vec<_> = defined
        .iter()
        .map(|definition| {
            assert_eq!(definition["AttributeType"], "S");
            definition["AttributeName"].as_str().unwrap()
        })
        .collect();
    defined.sort_unstable();
    assert_eq!(defined, names);
}

#[test]
fn the_stream_has_the_new_image_of_every_record() {
    let table = properties(&template(), "AWS::DynamoDB::Table");
    assert_eq!(table["BillingMode"], "PAY_PER_REQUEST");
    assert_eq!(table["StreamSpecification"]["StreamViewType"], "NEW_IMAGE");
}

#[test]
fn the_function_gets_the_variables_that_the_code_reads_and_no_other() {
    let function = properties(&template(), "AWS::Serverless::Function");
    let variables = function["Environment"]["Variables"].as_mapping().unwrap();
    let mut names: Vec<_> = variables.keys().map(|name| name.as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH",
            "DEEPFAKE_ALERT_THRESHOLD",
            "EVENTS_TABLE",
            "MAX_BODY_BYTES",
            "RETENTION_DAYS",
            "SECRET_CACHE_SECONDS",
            "SERVICE_NAME",
            "SONOTHEIA_WEBHOOK_SECRET_ARN",
        ]
    );
    assert_eq!(function["Runtime"], "provided.al2023");
}

#[test]
fn the_template_has_the_routers_routes_and_opens_no_read() {
    let function = properties(&template(), "AWS::Serverless::Function");
    let mut routes: Vec<_> = function["Events"]
        .as_mapping()
        .unwrap()
        .values()
        .map(|event| {
            let event = &event["Properties"];
            let text = |key: &str| event[key].as_str().unwrap().to_uppercase();
            let open = event["Auth"]["Authorizer"] != "AWS_IAM";
            (text("Method"), event["Path"].as_str().unwrap().to_owned(), open)
        })
        .collect();
    routes.sort();
    let route = |method: &str, path: &str, open| (method.to_owned(), path.to_owned(), open);
    assert_eq!(
        routes,
        [
            route("ANY", "/", true),
            route("ANY", "/events/{event_id}", false),
            route("ANY", "/health", true),
            route("ANY", "/results", false),
            route("ANY", "/results/{session_id}", false),
            route("ANY", "/webhook", true),
            route("ANY", "/{unknown+}", true),
            route("GET", "/events/{event_id}", false),
            route("GET", "/health", true),
            route("GET", "/results", false),
            route("GET", "/results/{session_id}", false),
            route("POST", "/webhook", true),
        ]
    );
    let api = properties(&template(), "AWS::Serverless::Api");
    assert_eq!(strings(&api["BinaryMediaTypes"]), ["*~1*"]);
}

#[test]
fn the_function_may_make_the_calls_of_the_code_and_no_other() {
    let roles = template()["Resources"]["ReceiverRole"].clone();
    let text = serde_yaml_ng::to_string(&roles).unwrap();
    let mut actions: Vec<_> = text
        .split(|c: char| c.is_whitespace() || c == '\'')
        .filter(|word| {
            ["dynamodb:", "secretsmanager:"]
                .iter()
                .any(|service| word.starts_with(service))
        })
        .collect();
    actions.sort_unstable();
    actions.dedup();
    assert_eq!(
        actions,
        [
            "dynamodb:BatchGetItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "secretsmanager:GetSecretValue",
        ]
    );
}
