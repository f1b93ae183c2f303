//! Lambda's four HTTP events (REST API, HTTP API, ALB, function URL) become requests for the router.
//!
//! 1. `invocations` takes an invocation from Lambda and gives it to `lambda_runtime`, which calls the [`Handler`].
//! 2. `event` reads its payload, and `route` finds the path that the front matched.
//! 3. The router answers.
//! 4. `reply` writes the answer in the shape that the front reads, and `lambda_runtime` posts it.
//!
//! `lambda_http` alone would not do: it resolves dot segments, decodes a decoded path again, and fails for an event with an
//! odd member, although only the body, the signature and the route may decide what a delivery gets.
//!
//! An invocation that is not an HTTP request gets a 400 answer, and a defect gets a 500 answer. Neither becomes a Lambda
//! function error. They never reach the router, so [`Handler`] writes their log lines.

mod event;
mod invocations;
mod members;
mod reply;
mod route;

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lambda_http::lambda_runtime::LambdaEvent;
use lambda_http::tower::{Service, ServiceExt};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::app::App;
use crate::error::HttpError;
use crate::router::{self, router};
use crate::telemetry::{Invocation, Line};
use crate::timestamp::Timestamp;
use event::{EventError, Shape};
pub use invocations::THREAD_NAME;
pub use reply::Reply;
pub use route::UNKNOWN_RESOURCE;

/// Takes invocations from the Runtime API, as many at once as Lambda gives, and answers them until Lambda ends the process.
///
/// # Errors
/// The Runtime API cannot be reached, or it does not accept an answer.
pub async fn run(app: Arc<App>) -> Result<(), lambda_http::Error> {
    invocations::run(Handler::new(app)).await
}

/// The router as a Lambda handler. It answers every invocation, and never fails.
#[derive(Clone)]
pub struct Handler {
    router: Router,
    app: Arc<App>,
}

impl Handler {
    /// A handler for the receiver's router.
    pub fn new(app: Arc<App>) -> Self {
        Self {
            router: router(app.clone()),
            app,
        }
    }

    async fn answer(self, payload: Box<RawValue>, invocation: Invocation) -> Reply {
        let begun = (self.app.sources.now(), Instant::now());
        // The router answers its own panics.
        let routed = AssertUnwindSafe(self.route(&payload, &invocation)).catch_unwind();
        let (shape, error) = match routed.await {
            Ok(Ok(reply)) => return reply,
            Ok(Err(EventError::NotHttp)) => (Shape::Unknown, HttpError::NotHttp),
            Ok(Err(error @ EventError::NotBase64(shape))) => (shape, HttpError::Internal(error.into())),
            Err(_) => (Shape::Unknown, HttpError::panic()),
        };
        let response = self.refuse(error, &invocation, begun);
        Reply::new(shape, response).await
    }

    async fn route(&self, payload: &RawValue, invocation: &Invocation) -> Result<Reply, EventError> {
        let (shape, mut request) = event::read(payload.get().as_bytes())?;
        request.extensions_mut().insert(invocation.clone());
        let Ok(response) = self.router.clone().oneshot(request).await;
        Ok(Reply::new(shape, response).await)
    }

    /// Answers an invocation that does not reach the router.
    fn refuse(&self, error: HttpError, invocation: &Invocation, begun: (Timestamp, Instant)) -> Response {
        let mut response = error.into_response(invocation);
        router::add_headers(&mut response, invocation);
        self.app.telemetry.write(&Line {
            service: &self.app.config.service_name,
            received_at: begun.0,
            invocation,
            method: "(no method)",
            route: "(no route)",
            status: response.status().as_u16(),
            duration: begun.1.elapsed(),
            delivery: None,
            cold_start: self.app.telemetry.is_cold_start(),
        });
        response
    }
}

impl Service<LambdaEvent<Box<RawValue>>> for Handler {
    type Response = Reply;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Reply, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, event: LambdaEvent<Box<RawValue>>) -> Self::Future {
        let invocation = Invocation {
            request_id: event.context.request_id.clone(),
            xray_trace_id: event.context.xray_trace_id.clone(),
        };
        self.clone().answer(event.payload, invocation).map(Ok).boxed()
    }
}
