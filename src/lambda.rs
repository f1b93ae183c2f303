//! Lambda's four HTTP events (REST API, HTTP API, ALB, function URL) become requests for the router.
//!
//! `lambda_http` translates the events. This module adds three rules:
//!
//! - A repeated signature header stays repeated.
//! - The stage is not a part of the path.
//! - An invocation that is not an HTTP request gets a 400 answer, and a defect in the translation gets a 500 answer.
//!   Neither becomes a Lambda function error. They never reach the router, so this module writes their log lines.

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
use crate::error;
use crate::router::router;
use crate::telemetry::{Invocation, Line};
use crate::timestamp::Timestamp;

/// The payload of an invocation.
#[derive(Debug)]
pub enum Payload {
    /// An HTTP request.
    Http(Box<LambdaRequest>),
    /// Any other JSON, such as a test event of the console.
    Other,
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `lambda_http` reads the whole JSON before it checks whether the JSON is a request.
        let request = LambdaRequest::deserialize(deserializer);
        Ok(request.map_or(Self::Other, |request| Self::Http(Box::new(request))))
    }
}

/// The answer to an invocation, in the shape that its front reads.
pub struct Reply(ReplyKind);

#[expect(clippy::large_enum_variant, reason = "the large variant is the usual one")]
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
                // All four fronts understand this response.
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
/// The Runtime API cannot be reached.
pub async fn run(app: Arc<App>) -> Result<(), lambda_http::Error> {
    lambda_runtime::Runtime::new(Handler::new(app))
        .run_concurrent()
        .await
}

/// The router as a Lambda handler. It answers every invocation, and never fails.
#[derive(Clone)]
pub struct Handler {
    front: Front,
    app: Arc<App>,
}

impl Handler {
    /// A handler for the receiver's router.
    pub fn new(app: Arc<App>) -> Self {
        Self {
            front: Adapter::from(Identified(router(app.clone()))),
            app,
        }
    }

    /// Answers an invocation that does not reach the router.
    fn refuse(
        &self,
        invocation: Invocation,
        begun: (Timestamp, Instant),
        (status, code, message): (u16, &'static str, &'static str),
    ) -> Reply {
        self.app.telemetry.write(&Line {
            service: &self.app.config.service_name,
            received_at: begun.0,
            invocation: &invocation,
            method: "(no method)",
            route: "(no route)",
            status,
            duration: begun.1.elapsed(),
            delivery: None,
            cold_start: self.app.telemetry.is_cold_start(),
        });
        Reply(ReplyKind::Failure {
            status,
            code,
            message,
            request_id: invocation.request_id,
        })
    }
}

impl Service<LambdaEvent<Payload>> for Handler {
    type Response = Reply;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Reply, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, event: LambdaEvent<Payload>) -> Self::Future {
        const NO_REQUEST: &str = "The event is not an HTTP request";
        const NO_BASE64: &str = "The event could not be translated";
        let begun = (Timestamp::now(), Instant::now());
        let invocation = Invocation {
            request_id: event.context.request_id.clone(),
            xray_trace_id: event.context.xray_trace_id.clone(),
        };
        let Payload::Http(mut request) = event.payload else {
            let reply = self.refuse(invocation, begun, (400, "invalid_request", NO_REQUEST));
            return std::future::ready(Ok(reply)).boxed();
        };
        keep_repeated_headers(&mut request);
        refuse_unknown(&mut request);
        leave_stage_out(&mut request);
        let event = LambdaEvent::new(*request, event.context);
        // The translation panics if a body is marked as base64 and is not base64.
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

/// Keeps repeated headers: single-value `headers` would overwrite `multiValueHeaders`.
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

/// The template's resource for every path that is not a route.
///
/// API Gateway checks the caller by the resource that it matched, and this resource is open to anybody. So a path that
/// API Gateway matched with it stays unknown, even if the router would find a route for it.
pub const UNKNOWN_RESOURCE: &str = "/{unknown+}";

fn refuse_unknown(request: &mut LambdaRequest) {
    if let LambdaRequest::ApiGatewayV1(event) = request
        && event.resource.as_deref() == Some(UNKNOWN_RESOURCE)
    {
        event.path = Some("/unknown".to_owned());
    }
}

/// Removes the stage from the path, since the routes are the same in every stage. HTTP APIs put the stage's name in front
/// of the path, and for REST APIs `lambda_http` does so unless an environment variable is set.
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

/// The router, which gets the [`Invocation`] with each request.
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
            // The router's bodies are in memory, so reading them cannot fail.
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
            let text = String::from_utf8_lossy(&body).into_owned();
            Ok(Response::from_parts(parts, lambda_http::Body::Text(text)))
        }
        .boxed()
    }
}
