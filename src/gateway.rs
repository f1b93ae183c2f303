//! Lambda's HTTP events (REST and HTTP APIs, ALB, function URLs) to the router's requests.
//!
//! `lambda_http` does the translating. What is added: a repeated signature header is handed on as such;
//! the stage is no part of the path; and an event that is none is answered, not failed, as is a defect
//! on the way in. Those two never reach the router, so their line in the log is written here.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::Router;
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lambda_http::lambda_runtime::{self, LambdaEvent};
use lambda_http::request::LambdaRequest;
use lambda_http::tower::{Service, ServiceExt};
use lambda_http::{Adapter, Request, RequestExt};
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use serde_json::json;

use crate::app::App;
use crate::telemetry::{Invocation, Line, Telemetry};
use crate::timestamp::Timestamp;
use crate::{error, http};

/// An invocation's payload, whatever it is.
#[derive(Debug)]
pub enum Event {
    /// An HTTP request.
    Http(Box<LambdaRequest>),
    /// Something else: a test event of the console, say.
    Other,
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `lambda_http` takes any JSON off the deserializer before it looks whether it is a request.
        let request = LambdaRequest::deserialize(deserializer);
        Ok(request.map_or(Self::Other, |request| Self::Http(Box::new(request))))
    }
}

/// An invocation's answer, in the shape that the front it came through reads.
pub struct Reply(ReplyKind);

#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
enum ReplyKind {
    Http(<Front as Service<LambdaEvent<LambdaRequest>>>::Response),
    Failure {
        status: u16,
        code: &'static str,
        message: &'static str,
        request_id: String,
    },
}

type Front = Adapter<'static, Response<lambda_http::Body>, Identified>;

impl Serialize for Reply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            ReplyKind::Http(response) => response.serialize(serializer),
            ReplyKind::Failure {
                status,
                code,
                message,
                request_id,
            } => {
                // What all four fronts take for a response.
                json!({
                    "statusCode": status,
                    "headers": {
                        "content-type": "application/json",
                        "cache-control": "no-store",
                        "x-request-id": request_id,
                    },
                    "body": error::body(message, code, message, request_id),
                    "isBase64Encoded": false,
                })
                .serialize(serializer)
            }
        }
    }
}

/// Polls the Runtime API and answers, until Lambda ends the process.
///
/// # Errors
/// The Runtime API's, where it can't be reached.
pub async fn run(app: Arc<App>) -> Result<(), lambda_http::Error> {
    lambda_runtime::Runtime::new(Gateway::new(app))
        .run_concurrent()
        .await
}

/// The router as a Lambda handler. It does not fail: every invocation is answered.
#[derive(Clone)]
pub struct Gateway {
    front: Front,
    telemetry: Telemetry,
}

impl Gateway {
    /// A handler in front of that receiver's router.
    pub fn new(app: Arc<App>) -> Self {
        Self {
            telemetry: app.telemetry.clone(),
            front: Adapter::from(Identified(http::router(app))),
        }
    }

    /// Answers what does not get to the router.
    fn refuse(
        &self,
        invocation: Invocation,
        begun: (Timestamp, Instant),
        (status, code, message): (u16, &'static str, &'static str),
    ) -> Reply {
        self.telemetry.write(&Line {
            received_at: begun.0,
            invocation: &invocation,
            method: "(no method)",
            route: "(no route)",
            status,
            duration: begun.1.elapsed(),
            report: None,
            cold_start: self.telemetry.is_cold_start(),
        });
        Reply(ReplyKind::Failure {
            status,
            code,
            message,
            request_id: invocation.request_id,
        })
    }
}

impl Service<LambdaEvent<Event>> for Gateway {
    type Response = Reply;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Reply, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, event: LambdaEvent<Event>) -> Self::Future {
        const NO_REQUEST: &str = "The event is not an HTTP request";
        const NO_BASE64: &str = "The event could not be translated";
        let begun = (Timestamp::now(), Instant::now());
        let invocation = Invocation {
            request_id: event.context.request_id.clone(),
            xray_trace_id: event.context.xray_trace_id.clone(),
        };
        let Event::Http(mut request) = event.payload else {
            let reply = self.refuse(invocation, begun, (400, "invalid_request", NO_REQUEST));
            return std::future::ready(Ok(reply)).boxed();
        };
        keep_repeated_headers(&mut request);
        refuse_unknown(&mut request);
        leave_stage_out(&mut request);
        let event = LambdaEvent::new(*request, event.context);
        // A body that is said to be base64 and is not makes the translation panic.
        let Ok(answer) = catch_unwind(AssertUnwindSafe(|| self.front.call(event))) else {
            let reply = self.refuse(invocation, begun, (500, "internal", NO_BASE64));
            return std::future::ready(Ok(reply)).boxed();
        };
        async {
            let Ok(response) = answer.await;
            Ok(Reply(ReplyKind::Http(response)))
        }
        .boxed()
    }
}

/// Single-value `headers` would overwrite `multiValueHeaders`, and hide that a header came twice.
fn keep_repeated_headers(request: &mut LambdaRequest) {
    let (single, multi): (&mut HeaderMap, &HeaderMap) = match request {
        LambdaRequest::ApiGatewayV1(event) => (&mut event.headers, &event.multi_value_headers),
        LambdaRequest::Alb(event) => (&mut event.headers, &event.multi_value_headers),
        _ => return,
    };
    for name in multi.keys() {
        single.remove(name);
    }
}

/// The template's resource for every path that is none of the routes.
///
/// API Gateway checks callers by the resource it matched. What it took for none of ours is open to
/// anybody, and stays none of ours, however the router would read the path.
pub const UNKNOWN_RESOURCE: &str = "/{unknown+}";

fn refuse_unknown(request: &mut LambdaRequest) {
    if let LambdaRequest::ApiGatewayV1(event) = request
        && event.resource.as_deref() == Some(UNKNOWN_RESOURCE)
    {
        event.path = Some("/unknown".to_owned());
    }
}

/// The routes are the same in every stage. (`lambda_http` would put its name in front of the path, but
/// for a variable in the environment; HTTP APIs do so themselves.)
fn leave_stage_out(request: &mut LambdaRequest) {
    match request {
        LambdaRequest::ApiGatewayV1(event) => event.request_context.stage = None,
        LambdaRequest::ApiGatewayV2(event) => {
            let stage = event.request_context.stage.take();
            let (Some(stage), Some(path)) = (stage, &mut event.raw_path) else {
                return;
            };
            let below = path.strip_prefix('/').and_then(|path| path.strip_prefix(&*stage));
            if let Some(below) = below.filter(|below| below.starts_with('/')) {
                *path = below.to_owned();
            }
        }
        _ => {}
    }
}

/// The router, told who invokes.
#[derive(Clone)]
struct Identified(Router);

impl Service<Request> for Identified {
    type Response = Response<lambda_http::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let context = request.lambda_context_ref();
        let invocation = Invocation {
            request_id: context
                .map(|context| context.request_id.clone())
                .unwrap_or_default(),
            xray_trace_id: context.and_then(|context| context.xray_trace_id.clone()),
        };
        request.extensions_mut().insert(invocation);
        let answer = self.0.clone().oneshot(request);
        async {
            let Ok(response) = answer.await;
            let (parts, body) = response.into_parts();
            // The router's bodies are whole and in memory: there is nothing here to fail.
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
            let text = String::from_utf8_lossy(&body).into_owned();
            Ok(Response::from_parts(parts, lambda_http::Body::Text(text)))
        }
        .boxed()
    }
}
