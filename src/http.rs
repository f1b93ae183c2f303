//! The router, and what every answer has: a request id, its headers, its line in the log.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use futures_util::FutureExt;
use serde::Serialize;

use crate::app::App;
use crate::error::{Failure, json};
use crate::telemetry::{Invocation, Line, Report};
use crate::timestamp::Timestamp;
use crate::{results, webhook};

/// The receiver as a service: the contract's routes, and nothing else.
///
/// A front that knows an [`Invocation`] puts it into the request's extensions; else one is made up.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/webhook", post(webhook::post))
        .route("/health", get(health))
        .route("/results", get(results::all))
        .route("/results/{session_id}", get(results::session))
        .route("/events/{event_id}", get(results::event))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(app.clone(), edge))
        .with_state(app)
}

/// `GET /health`: this process is up. It asks nobody else.
async fn health(Extension(invocation): Extension<Invocation>) -> Response {
    #[derive(Serialize)]
    struct Health {
        status: &'static str,
        version: &'static str,
        timestamp: String,
    }
    let health = Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        timestamp: Timestamp::now().to_string(),
    };
    json(&health).map_or_else(
        |failure| failure.into_response(&invocation),
        IntoResponse::into_response,
    )
}

async fn not_found(Extension(invocation): Extension<Invocation>) -> Response {
    Failure::NotFound { what: "such path" }.into_response(&invocation)
}

async fn method_not_allowed(Extension(invocation): Extension<Invocation>) -> Response {
    Failure::MethodNotAllowed.into_response(&invocation)
}

/// Around every request, the last resort included: a panic is a defect of ours, and still an answer.
async fn edge(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let received_at = Timestamp::now();
    let cold_start = app.telemetry.is_cold_start();
    let invocation = request
        .extensions_mut()
        .get_or_insert_with(|| Invocation {
            request_id: made_up_id(),
            xray_trace_id: None,
        })
        .clone();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("(no route)", MatchedPath::as_str);

    let mut response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => Failure::Internal("a panic; where it was is in the log".into()).into_response(&invocation),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(&invocation.request_id) {
        headers.insert("x-request-id", id);
    }
    app.telemetry.write(&Line {
        received_at,
        invocation: &invocation,
        method: method.as_str(),
        route,
        status: response.status().as_u16(),
        duration: begun.elapsed(),
        report: response.extensions().get::<Report>(),
        cold_start,
    });
    response
}

/// An id for a request whose front has none.
fn made_up_id() -> String {
    let mut bytes = [0; 16];
    let mut id = String::with_capacity(32);
    // Without randomness there is an answer all the same, only without an id of its own.
    if getrandom::fill(&mut bytes).is_ok() {
        let _ = crate::signature::hex(&bytes, &mut id);
    }
    id
}
