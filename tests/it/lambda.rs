//! The function's own binary, under a Runtime API ("Using the Lambda runtime API").

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use sonotheia_webhook::lambda::THREAD_NAME;
use testkit::runtime_api::Invocation;
use testkit::*;

const REST: &str = include_str!("../events/rest.json");

/// The time for a start or an answer. It is far longer than any of the function's time limits.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The function with an endpoint of DynamoDB, and its Runtime API.
pub struct Lambda {
    pub api: RuntimeApi,
    pub function: Function,
}

impl Lambda {
    /// Starts the function with [`SECRET`].
    pub fn start(dynamodb: &str, more: &[(&str, &str)]) -> Self {
        let variables = [&[("SONOTHEIA_WEBHOOK_SECRET", SECRET)], more].concat();
        Self::start_with(dynamodb, &variables)
    }

    /// Starts the function with these variables.
    pub fn start_with(dynamodb: &str, more: &[(&str, &str)]) -> Self {
        let api = RuntimeApi::start().unwrap();
        let variables = [("AWS_ENDPOINT_URL_DYNAMODB", dynamodb), ("EVENTS_TABLE", TABLE)];
        let mut command = Command::new(env!("CARGO_BIN_EXE_sonotheia-webhook"));
        command.stderr(Stdio::piped());
        let variables = variables.into_iter().chain(more.iter().copied());
        let function = Function::start(&mut command, &api, variables).unwrap();
        Self { api, function }
    }

    /// Gives the function an invocation as soon as it asks for one.
    pub async fn invoke(&mut self, id: &str, event: &Value) -> Invocation {
        self.api.invoke(id, event.to_string(), PATIENCE).await.unwrap()
    }
}

/// The status of the answer.
pub async fn status(invocation: Invocation) -> u64 {
    let reply = invocation.answer(PATIENCE).await.unwrap().reply;
    reply["statusCode"].as_u64().unwrap_or_else(|| panic!("{reply}"))
}

/// A signed delivery in the shape of a REST API.
fn event(body: &str) -> Value {
    let mut event: Value = serde_json::from_str(&REST.replace("SIGNATURE", &sign(body, SECRET))).unwrap();
    event["body"] = json!(body);
    event
}

/// A signed delivery of an event with this id.
pub fn delivery(id: &str) -> Value {
    event(&deepfake(id, "session-1", 0.5).to_string())
}

#[tokio::test]
async fn one_environment_serves_several_requests_at_once_if_lambda_asks_for_it() {
    const AT_ONCE: usize = 4;
    // This table acknowledges no write before all writes have arrived.
    let all_there = Arc::new(Barrier::new(AT_ONCE));
    let table = Router::new().fallback(move |headers: HeaderMap| {
        let all_there = all_there.clone();
        async move {
            let target = headers["x-amz-target"].to_str().unwrap_or_default();
            if target.ends_with("PutItem") {
                all_there.wait().await;
            }
            "{}"
        }
    });
    let listener = loopback().await;
    let dynamodb = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, table).await });
    let limit = AT_ONCE.to_string();
    let mut lambda = Lambda::start(&dynamodb, &[("AWS_LAMBDA_MAX_CONCURRENCY", &limit)]);
    let mut invocations = Vec::new();
    for i in 0..AT_ONCE {
        let id = format!("event-{i}");
        invocations.push(lambda.invoke(&id, &delivery(&id)).await);
    }
    for invocation in invocations {
        assert_eq!(status(invocation).await, 200);
    }
    // The main thread is the first of the threads that answer.
    let processors = std::thread::available_parallelism().unwrap().get();
    let others = lambda.function.threads(THREAD_NAME).unwrap();
    assert_eq!(others.len() + 1, processors.min(AT_ONCE));
}

#[tokio::test]
async fn an_environment_with_one_invocation_at_a_time_has_one_thread_that_answers() {
    let mut lambda = Lambda::start("http://127.0.0.1:9", &[]);
    lambda.api.idle(PATIENCE).await.unwrap();
    assert_eq!(lambda.function.threads(THREAD_NAME).unwrap(), [0; 0]);
}

#[tokio::test]
async fn a_start_while_dynamodb_hangs_still_answers_before_the_sender_gives_up() {
    let hanging = Proxy::start("http://127.0.0.1:9", Fault::Hang.always()).await;
    let begun = Instant::now();
    let mut lambda = Lambda::start(hanging.endpoint(), &[]);
    let invocation = lambda.invoke("one", &delivery("event-1")).await;
    assert_eq!(status(invocation).await, 503);
    let taken = begun.elapsed();
    assert!(taken < Duration::from_millis(4500), "{taken:?}");
}

/// Headers of an invocation that say nothing about the delivery. `lambda_runtime` alone would end the process at most of
/// them.
const ODD_HEADERS: [&str; 16] = [
    "Lambda-Runtime-Client-Context: {\"client\":{\"app_title\":\"t\"},\"custom\":{},\"env\":{}}",
    "Lambda-Runtime-Client-Context: {\"custom\":{\"n\":1}}",
    "Lambda-Runtime-Client-Context: {\"client\":null,\"custom\":{\"a\":{\"b\":[]}}}",
    "Lambda-Runtime-Client-Context: [1, 2]",
    "Lambda-Runtime-Client-Context: 5",
    "Lambda-Runtime-Client-Context: no JSON",
    "Lambda-Runtime-Client-Context: {\"custom\":{\"a\":\"é\"}}",
    "Lambda-Runtime-Client-Context:",
    "Lambda-Runtime-Cognito-Identity: {\"identityId\":\"us-east-1:1\"}",
    "Lambda-Runtime-Cognito-Identity: {\"identityId\":1,\"identityPoolId\":2}",
    "Lambda-Runtime-Cognito-Identity: \"us-east-1:1\"",
    "Lambda-Runtime-Cognito-Identity: no JSON",
    "Lambda-Runtime-Invoked-Function-Arn: é",
    "Lambda-Runtime-Deadline-Ms: soon",
    "Lambda-Runtime-Trace-Id: é",
    "Lambda-Runtime-Aws-Tenant-Id: é",
];

#[tokio::test]
async fn an_odd_header_of_an_invocation_changes_nothing() {
    let dynamodb = emulators::DynamoDb::start(loopback().await, None).unwrap();
    let direct = aws_sdk_dynamodb::Client::new(&emulators::sdk_config(dynamodb.endpoint()));
    emulators::create_table(&direct, TABLE).await.unwrap();
    for at_once in ["1", "2"] {
        let mut lambda = Lambda::start(dynamodb.endpoint(), &[("AWS_LAMBDA_MAX_CONCURRENCY", at_once)]);
        for (n, header) in ODD_HEADERS.iter().enumerate() {
            let id = format!("event-{at_once}-{n}");
            let idle = lambda.api.idle(PATIENCE).await.unwrap();
            let headers = format!("{header}\r\n");
            let payload = delivery(&id).to_string();
            let invocation = lambda.api.give_with_headers(idle, &id, payload, &headers);
            assert_eq!(status(invocation).await, 200, "{header}");
        }
        // The process still takes invocations.
        let invocation = lambda.invoke("last", &delivery(&format!("last-{at_once}"))).await;
        assert_eq!(status(invocation).await, 200);
        let (_, err) = lambda.function.output().unwrap();
        assert_eq!(err, "");
    }
}

#[tokio::test]
async fn with_snapstart_the_function_waits_for_its_restore_before_its_first_invocation() {
    for (kind, restores) in [("snap-start", 1), ("on-demand", 0)] {
        let mut lambda = Lambda::start("http://127.0.0.1:9", &[("AWS_LAMBDA_INITIALIZATION_TYPE", kind)]);
        let idle = lambda.api.idle(PATIENCE).await.unwrap();
        assert_eq!(lambda.api.restores(), restores, "{kind}");
        let forged = event("{}").to_string().replace("{}", "{ }");
        let invocation = lambda.api.give(idle, "one", forged);
        assert_eq!(status(invocation).await, 401);
    }
}

#[tokio::test]
async fn a_body_that_is_not_the_base64_it_claims_to_be_gets_500_and_the_log_quotes_nothing() {
    let mut lambda = Lambda::start("http://127.0.0.1:9", &[]);
    let mut event = event("*private words*");
    event["isBase64Encoded"] = json!(true);
    let invocation = lambda.invoke("one", &event).await;
    assert_eq!(status(invocation).await, 500);
    let (out, err) = lambda.function.output().unwrap();
    assert_eq!(err, "");
    let lines: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let cause = lines
        .iter()
        .find(|line| line["level"] == "ERROR")
        .expect("the line with the cause");
    assert!(cause["cause"].as_str().unwrap().contains("base64"), "{cause}");
    assert!(!out.contains("Invalid") && !out.contains("private"), "{out}");
    assert_eq!(lines.last().unwrap()["status"], 500);
}
