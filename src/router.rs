//! The routes, and the parts that all answers share: the request id, the headers and the log line.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use futures_util::FutureExt;
use serde::Serialize;
use tokio::time::Instant;

use crate::app::App;
use crate::error::{HttpError, json};
use crate::sources::Sources;
use crate::telemetry::{DeliveryLog, Invocation, Line};
use crate::{results, webhook};

/// `POST`: a delivery.
pub const WEBHOOK: &str = "/webhook";
/// `GET`: the process runs.
pub const HEALTH: &str = "/health";
/// `GET`: all records, newest first.
pub const RESULTS: &str = "/results";
/// `GET`: the records of a session, newest first.
pub const SESSION_RESULTS: &str = "/results/{session_id}";
/// `GET`: one record.
pub const EVENT: &str = "/events/{event_id}";

/// The paths that end with an id, up to the id.
pub(crate) const ID_PREFIXES: [&str; 2] = ["/results/", "/events/"];

/// The receiver as a service: the contract's routes, and nothing else.
///
/// The router matches a path as it is spelled: it resolves no dot segment, and only an id is decoded, once. It ignores one
/// slash at the end. A front that knows the [`Invocation`] puts it into the request's extensions. Otherwise the router
/// makes one.
pub fn router(app: Arc<App>) -> Router {
    let routes = [
        (WEBHOOK, post(webhook::post)),
        (HEALTH, get(health)),
        (RESULTS, get(results::all)),
        (SESSION_RESULTS, get(results::session)),
        (EVENT, get(results::event)),
    ];
    let mut router = Router::new();
    for (path, methods) in routes {
        router = router
            .route(path, methods.clone())
            .route(&format!("{path}/"), methods);
    }
    router
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(app.clone(), edge))
        .with_state(app)
}

/// `GET /health`: this process runs. It calls no other service.
async fn health(State(app): State<Arc<App>>, Extension(invocation): Extension<Invocation>) -> Response {
    #[derive(Serialize)]
    struct Health {
        status: &'static str,
        version: &'static str,
        timestamp: String,
    }
    let health = Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        timestamp: app.sources.now().to_string(),
    };
    json(&health).map_or_else(
        |error| error.into_response(&invocation),
        IntoResponse::into_response,
    )
}

async fn not_found(Extension(invocation): Extension<Invocation>) -> Response {
    HttpError::NotFound { what: "such path" }.into_response(&invocation)
}

async fn method_not_allowed(Extension(invocation): Extension<Invocation>) -> Response {
    HttpError::MethodNotAllowed.into_response(&invocation)
}

/// Wraps every request. A panic is a defect of the receiver, and the sender still gets an answer.
async fn edge(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let received_at = app.sources.now();
    let cold_start = app.telemetry.is_cold_start();
    let invocation = request
        .extensions_mut()
        .get_or_insert_with(|| Invocation {
            request_id: random_id(&app.sources),
            xray_trace_id: None,
        })
        .clone();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("(no route)", |route| {
        let path = route.as_str();
        path.strip_suffix('/').unwrap_or(path)
    });

    let mut response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => HttpError::panic().into_response(&invocation),
    };
    add_headers(&mut response, &invocation);
    app.telemetry.write(&Line {
        service: &app.config.service_name,
        received_at,
        invocation: &invocation,
        method: method.as_str(),
        route,
        status: response.status().as_u16(),
        duration: begun.elapsed(),
        delivery: response.extensions().get::<DeliveryLog>(),
        cold_start,
    });
    response
}

/// Adds the headers that every answer has.
pub(crate) fn add_headers(response: &mut Response, invocation: &Invocation) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(&invocation.request_id) {
        headers.insert("x-request-id", id);
    }
}

/// An id for a request whose front has no id. It is empty if the operating system has no random bytes: the request then
/// gets an answer without an id.
fn random_id(sources: &Sources) -> String {
    sources.random().map(hex::encode).unwrap_or_default()
}
