//! The function's own binary, under a Runtime API ("Using the Lambda runtime API").

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::{Barrier, Mutex, mpsc};

use testkit::*;

const REST: &str = include_str!("../events/rest.json");

/// Hands out invocations and takes what is answered.
struct RuntimeApi {
    address: String,
    invocations: mpsc::UnboundedSender<Value>,
    answers: mpsc::UnboundedReceiver<Value>,
}

impl RuntimeApi {
    async fn start() -> Self {
        let (invocations, waiting) = mpsc::unbounded_channel();
        let (answered, answers) = mpsc::unbounded_channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let invocation = "/2018-06-01/runtime/invocation";
        let router = Router::new()
            .route(&format!("{invocation}/next"), get(next).with_state(waiting))
            .route(
                &format!("{invocation}/{{id}}/{{kind}}"),
                post(answer).with_state(answered),
            );
        Self {
            address: serve(router).await,
            invocations,
            answers,
        }
    }

    fn invoke(&self, body: &Value) {
        self.invocations.send(event(&body.to_string())).unwrap();
    }

    /// The next answer's status.
    async fn status(&mut self) -> u64 {
        let answer = tokio::time::timeout(Duration::from_secs(20), self.answers.recv());
        let answer = answer.await.expect("an answer").expect("a function");
        answer["statusCode"]
            .as_u64()
            .unwrap_or_else(|| panic!("{answer}"))
    }
}

/// A delivery, as a REST API hands it on.
fn event(body: &str) -> Value {
    let mut event: Value = serde_json::from_str(&REST.replace("SIGNATURE", &sign(body, SECRET))).unwrap();
    event["body"] = json!(body);
    event
}

type Waiting = Arc<Mutex<mpsc::UnboundedReceiver<Value>>>;

async fn next(State(waiting): State<Waiting>) -> impl IntoResponse {
    let event = waiting.lock().await.recv().await.unwrap_or_default();
    let headers = [
        (
            "lambda-runtime-aws-request-id",
            event["requestContext"]["requestId"].to_string(),
        ),
        ("lambda-runtime-deadline-ms", "4102444800000".to_owned()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:123456789012:function:f".to_owned(),
        ),
    ];
    (headers, event.to_string())
}

async fn answer(
    Path((_, kind)): Path<(String, String)>,
    State(answered): State<mpsc::UnboundedSender<Value>>,
    body: String,
) {
    let body = serde_json::from_str(&body).unwrap_or(Value::Null);
    let told = if kind == "response" {
        body
    } else {
        json!({ kind: body })
    };
    let _ = answered.send(told);
}

async fn serve(router: Router) -> String {
    let listener = loopback().await;
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async { axum::serve(listener, router).await });
    address
}

/// The function's process; it ends with the test.
struct Function(Child);

impl Function {
    fn start(runtime_api: &str, dynamodb: &str, more: &[(&str, &str)]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_sonotheia-webhook"))
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
            .env("AWS_LAMBDA_FUNCTION_NAME", "f")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .env("AWS_ENDPOINT_URL_DYNAMODB", dynamodb)
            .env("EVENTS_TABLE", TABLE)
            .env("SONOTHEIA_WEBHOOK_SECRET", SECRET)
            .envs(more.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the function's binary");
        Self(child)
    }

    /// Ends it; all that it wrote to standard output and to standard error.
    fn said(mut self) -> (String, String) {
        let mut said = (String::new(), String::new());
        self.0.kill().unwrap();
        self.0.stdout.take().unwrap().read_to_string(&mut said.0).unwrap();
        self.0.stderr.take().unwrap().read_to_string(&mut said.1).unwrap();
        said
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn one_environment_serves_several_requests_at_once_where_lambda_asks_for_it() {
    const AT_ONCE: usize = 4;
    // A table that acknowledges no write before that many have come.
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
    let dynamodb = format!("http://{}", serve(table).await);
    let mut api = RuntimeApi::start().await;
    let limit = AT_ONCE.to_string();
    let _function = Function::start(&api.address, &dynamodb, &[("AWS_LAMBDA_MAX_CONCURRENCY", &limit)]);
    for i in 0..AT_ONCE {
        api.invoke(&deepfake(&format!("event-{i}"), "session-1", 0.5));
    }
    for _ in 0..AT_ONCE {
        assert_eq!(api.status().await, 200);
    }
}

#[tokio::test]
async fn a_start_while_dynamodb_hangs_still_answers_before_the_sender_gives_up() {
    let hanging = Proxy::start("http://127.0.0.1:9", Fault::Hang).await;
    let mut api = RuntimeApi::start().await;
    api.invoke(&deepfake("event-1", "session-1", 0.5));
    let begun = Instant::now();
    let _function = Function::start(&api.address, &hanging, &[]);
    assert_eq!(api.status().await, 503);
    let taken = begun.elapsed();
    assert!(taken < Duration::from_millis(4500), "{taken:?}");
}

#[tokio::test]
async fn a_body_that_is_not_the_base64_it_is_marked_as_is_a_500_that_quotes_nothing() {
    let mut api = RuntimeApi::start().await;
    let function = Function::start(&api.address, "http://127.0.0.1:9", &[]);
    let mut event = event("*private words*");
    event["isBase64Encoded"] = json!(true);
    api.invocations.send(event).unwrap();
    assert_eq!(api.status().await, 500);
    let (out, err) = function.said();
    assert_eq!(err, "");
    let lines: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let cause = lines
        .iter()
        .find(|line| line["level"] == "ERROR")
        .expect("its cause");
    assert!(cause["cause"].as_str().unwrap().contains("base64"), "{cause}");
    assert!(!out.contains("Invalid") && !out.contains("private"), "{out}");
    assert_eq!(lines.last().unwrap()["status"], 500);
}
