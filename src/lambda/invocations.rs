//! Takes invocations from Lambda's Runtime API ("Using the Lambda runtime API for custom runtimes"), and gives them to
//! `lambda_runtime`, which calls the handler and posts the answer.
//!
//! The loop of `lambda_runtime` 1.5 does not serve here. It reads the client context and the Cognito identity of an
//! invocation before any layer sees the invocation, and it ends the process if one of them has another shape than it
//! expects (`Context::new`). Only the body, the signature and the route may decide what a delivery gets (contract, section
//! 2), and the receiver uses neither of the two. So this module makes a context without them.

use std::cell::OnceCell;
use std::env;
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Response, StatusCode};
use lambda_http::Error;
use lambda_http::lambda_runtime::{Context, LambdaInvocation, Runtime};
use lambda_http::tower::{Layer, Service, ServiceExt};
use lambda_runtime_api_client::body::Body;
use lambda_runtime_api_client::{PooledClient, build_request};
use tokio::task::JoinSet;

use super::Handler;
use crate::cause::Causes;

const RUNTIME: &str = "/2018-06-01/runtime";
const REQUEST_ID: &str = "lambda-runtime-aws-request-id";
const TRACE_ID: &str = "lambda-runtime-trace-id";

/// The reason why the Runtime API gave no invocation.
#[derive(Debug, thiserror::Error)]
enum RuntimeApiError {
    #[error("the Runtime API answered {status} to {call}")]
    Refused { call: &'static str, status: StatusCode },
    #[error("the Runtime API sent an invocation without a usable id")]
    NoId,
}

/// Answers invocations with `handler`, `at_once` at the same time.
///
/// # Errors
/// The Runtime API cannot be reached, or it does not accept an answer.
pub async fn run(handler: Handler, at_once: usize) -> Result<(), Error> {
    let client = PooledClient::builder().with_pool_size(at_once).build();
    // Lambda takes the snapshot during this call, and later starts processes from it.
    if env::var("AWS_LAMBDA_INITIALIZATION_TYPE").is_ok_and(|kind| kind == "snap-start") {
        get(&client, "/restore/next").await?;
        client.reset_pool();
    }
    let client = Arc::new(client);
    let kept = Kept(OnceCell::new());
    drop(Runtime::new(handler).layer(&kept));
    let service = kept.0.into_inner().expect("the runtime has called the layer");
    let mut tasks = JoinSet::new();
    for _ in 0..at_once {
        tasks.spawn(answer(client.clone(), service.clone()));
    }
    // A task ends with an error only. The process serves requests as long as one task is left.
    let mut last = Ok(());
    while let Some(ended) = tasks.join_next().await {
        last = ended.unwrap_or_else(|panic| Err(panic.into()));
        if let Err(error) = &last {
            tracing::error!(left = tasks.len(), "a task has ended: {}", Causes(&**error));
        }
    }
    last
}

/// The number of invocations that Lambda gives the process at once: more than one on Lambda Managed Instances.
pub fn at_once() -> usize {
    let limit = env::var("AWS_LAMBDA_MAX_CONCURRENCY").ok();
    limit.and_then(|limit| limit.parse().ok()).unwrap_or(1).max(1)
}

/// A layer that keeps the service to which [`Runtime`] gives its invocations. It calls the handler and posts the answer.
struct Kept<S>(OnceCell<S>);

impl<S: Clone> Layer<S> for Kept<S> {
    type Service = S;

    fn layer(&self, service: S) -> S {
        self.0.get_or_init(|| service.clone());
        service
    }
}

/// Takes and answers invocations, one at a time.
async fn answer<S>(client: Arc<PooledClient>, mut service: S) -> Result<(), Error>
where
    S: Service<LambdaInvocation, Response = (), Error = Error>,
{
    loop {
        if let Some(invocation) = next(&client).await? {
            service.ready().await?.call(invocation).await?;
        }
    }
}

/// Waits for an invocation. Returns `None` if the Runtime API answers 204, as `cargo lambda watch` does while it has no
/// invocation.
async fn next(client: &PooledClient) -> Result<Option<LambdaInvocation>, Error> {
    let response = get(client, "/invocation/next").await?;
    if response.status() == StatusCode::NO_CONTENT {
        return Ok(None);
    }
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    let context = context(&parts.headers)?;
    Ok(Some(LambdaInvocation { parts, body, context }))
}

/// The part of an invocation's context that the receiver uses.
fn context(headers: &HeaderMap) -> Result<Context, RuntimeApiError> {
    let id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let mut context = Context::default();
    context.request_id = id.ok_or(RuntimeApiError::NoId)?.to_owned();
    context.xray_trace_id = headers
        .get(TRACE_ID)
        .map(|trace| String::from_utf8_lossy(trace.as_bytes()).into_owned());
    Ok(context)
}

async fn get(client: &PooledClient, call: &'static str) -> Result<Response<Incoming>, Error> {
    let request = build_request()
        .uri(format!("{RUNTIME}{call}"))
        .body(Body::empty())?;
    let response = client.call(request).await?;
    let status = response.status();
    if status.is_success() {
        Ok(response)
    } else {
        Err(RuntimeApiError::Refused { call, status }.into())
    }
}
