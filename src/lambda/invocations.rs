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
use std::thread;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Response, StatusCode};
use lambda_http::Error;
use lambda_http::lambda_runtime::{Context, LambdaInvocation, Runtime};
use lambda_http::tower::{Layer, Service, ServiceExt};
use lambda_runtime_api_client::body::Body;
use lambda_runtime_api_client::{PooledClient, build_request};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Handler;
use crate::cause::Causes;

const RUNTIME: &str = "/2018-06-01/runtime";

/// The name of the threads that answer invocations besides the main thread, for tools that look at the process.
pub const THREAD_NAME: &str = "invocations";

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

/// Answers invocations with `handler`, as many at once as Lambda gives.
///
/// With many invocations at once, each processor has a thread with a runtime of its own, and this thread is the first of them.
/// One runtime with several threads serves fewer events (`docs/performance.md`).
///
/// # Errors
/// The Runtime API cannot be reached, or it does not accept an answer.
pub async fn run(handler: Handler) -> Result<(), Error> {
    // Lambda takes the snapshot during this call, and later starts processes from it.
    if env::var("AWS_LAMBDA_INITIALIZATION_TYPE").is_ok_and(|kind| kind == "snap-start") {
        get(&PooledClient::builder().build(), "/restore/next").await?;
    }
    let mut shares = shares(at_once());
    let own = shares.pop().unwrap_or(1);
    let (ended, mut ends) = mpsc::unbounded_channel();
    for share in shares {
        let (handler, ended) = (handler.clone(), ended.clone());
        let thread = thread::Builder::new().name(THREAD_NAME.to_owned());
        if let Err(error) = thread.spawn(move || ended.send(run_thread(handler, share))) {
            tracing::error!(%error, "a thread cannot start; the process answers fewer invocations at once");
        }
    }
    drop(ended);
    let mut last = answer_all(handler, own).await;
    while let Some(end) = ends.recv().await {
        last = end;
    }
    last
}

/// The number of invocations that Lambda gives the process at once: more than one on Lambda Managed Instances.
fn at_once() -> usize {
    let limit = env::var("AWS_LAMBDA_MAX_CONCURRENCY").ok();
    limit.and_then(|limit| limit.parse().ok()).unwrap_or(1).max(1)
}

/// Shares `at_once` invocations among the processors. No share is empty.
fn shares(at_once: usize) -> Vec<usize> {
    let processors = match at_once {
        1 => 1,
        _ => thread::available_parallelism().map_or(1, usize::from),
    };
    let threads = processors.min(at_once);
    (0..threads).map(|n| (at_once + n) / threads).collect()
}

/// Answers invocations on a thread of its own.
fn run_thread(handler: Handler, at_once: usize) -> Result<(), Error> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(answer_all(handler, at_once))
}

/// Answers invocations on this thread, `at_once` at the same time.
async fn answer_all(handler: Handler, at_once: usize) -> Result<(), Error> {
    let client = Arc::new(PooledClient::builder().with_pool_size(at_once).build());
    let kept = Kept(OnceCell::new());
    drop(Runtime::new(handler).layer(&kept));
    let service = kept.0.into_inner().expect("the runtime has called the layer");
    let mut tasks = JoinSet::new();
    for _ in 0..at_once {
        tasks.spawn(answer(client.clone(), service.clone()));
    }
    // A task ends with an error only. The process serves requests as long as one task of any thread is left.
    let mut last = Ok(());
    while let Some(ended) = tasks.join_next().await {
        last = ended.unwrap_or_else(|panic| Err(panic.into()));
        if let Err(error) = &last {
            tracing::error!(
                left_on_thread = tasks.len(),
                "a task has ended: {}",
                Causes(&**error)
            );
        }
    }
    last
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threads_together_take_as_many_invocations_as_lambda_gives() {
        for at_once in [1, 2, 3, 64, 1600] {
            let shares = shares(at_once);
            assert_eq!(shares.iter().sum::<usize>(), at_once);
            assert!(shares.iter().all(|share| *share > 0));
        }
        assert_eq!(shares(1), [1]);
    }
}
