//! `mock-api`: a stand-in for Sonotheia's API (contract, sections 1 and 6).
//!
//! It takes registrations and analyses. An analysis ends in signed deliveries on the documented retry schedule, and the API
//! lists the events that it could not deliver. Sonotheia does not document the shape of the list and documents two ways to
//! send the key, so both are options here.

mod answers;
mod dispatch;
mod lists;
mod webhooks;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next as NextLayer};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use clap::Args;
use serde_json::{Value, json};
use sonotheia_webhook::event::types::known_types;
use sonotheia_webhook::timestamp::{Parsed, Timestamp};

use super::ports;
use crate::args::{print, random_hex};
use crate::failure::Failure;
use crate::interrupt;
use crate::program;
use answers::{bad_request, created, not_found, unauthorized};
use dispatch::Dispatcher;
use lists::{ListShape, NextPage};
use webhooks::{Webhook, Webhooks};

/// The analyses: the path of each, the types of the events that it ends with, and the type if the request asks for a
/// failure.
const ANALYSES: [(&str, &[&str], Option<&str>); 4] = [
    (
        "/v1/voice/deepfake",
        &["deepfake.completed"],
        Some("deepfake.failed"),
    ),
    ("/v1/mfa/voice/verify", &["mfa.completed"], Some("mfa.failed")),
    ("/v1/mfa/voice/enroll", &["mfa.enrollment.completed"], None),
    ("/v1/reports/sar", &["sar.submitted", "sar.filed"], None),
];

/// Run a stand-in for Sonotheia's API, which delivers signed events
#[derive(Args)]
#[command(
    after_help = "Register a webhook with `register --base-url http://127.0.0.1:9100/v1 --apply`, then start an analysis:\n  \
    curl -X POST http://127.0.0.1:9100/v1/voice/deepfake -H 'X-API-Key: any' -F audio=@speech.wav\n\
    Other analyses: /v1/mfa/voice/verify, /v1/mfa/voice/enroll, /v1/reports/sar. With `?fail=true` an analysis fails.\n\
    GET /v1/webhooks/events lists all events, with their attempts if the list is `wrapped`.\n\
    POST /v1/webhooks/events/ID/retry delivers an event again."
)]
pub struct MockApi {
    /// Port to listen on; 0 takes a free port
    #[arg(long, default_value_t = 9100)]
    port: u16,
    /// Divide the sender's retry delays (5, 25, 125, 625 and 3125 s) by this number
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = scale)]
    time_scale: f64,
    /// Shape of the list of failed events, which Sonotheia does not document
    #[arg(long, value_enum, default_value_t = ListShape::Events)]
    list: ListShape,
    /// Way to the next page of the list, which Sonotheia does not document; a bare list can only use `link`
    #[arg(long, value_enum, default_value_t = NextPage::Cursor)]
    next_page: NextPage,
    /// Number of events on a page of the list
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    page_size: u16,
    /// Header that must have the key: Sonotheia documents both
    #[arg(long, value_enum, default_value_t = Authorization::Either)]
    authorization: Authorization,
}

/// The header that the API reads the key from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Authorization {
    /// One of the two.
    Either,
    /// `Authorization: Bearer …`.
    Bearer,
    /// `X-API-Key: …`.
    ApiKey,
}

fn scale(text: &str) -> Result<f64, &'static str> {
    let number = text.parse().ok().filter(|n: &f64| (1e-3..=1e6).contains(n));
    number.ok_or("a time scale is a number from 0.001 to 1000000")
}

struct Api {
    options: MockApi,
    webhooks: Webhooks,
    dispatcher: Dispatcher,
}

impl MockApi {
    /// Serves until Ctrl-C or SIGTERM.
    #[tokio::main]
    pub async fn run(mut self) -> Result<(), Failure> {
        if self.list == ListShape::Bare && self.next_page != NextPage::None {
            self.next_page = NextPage::Link;
        }
        let stop = interrupt::stop()?;
        let listener = ports::listen("127.0.0.1", self.port, "--port").await?;
        let address = listener.local_addr().map_err(Failure::Serve)?;
        print(&format!(
            "Listening on http://{address}\n\
             Retries of a delivery: after {}\n\
             Register a webhook. Any key will do, and SECRET is the secret that `serve` prints:\n  \
               SONOTHEIA_API_KEY=any SONOTHEIA_WEBHOOK_SECRET=SECRET {program} register http://127.0.0.1:8080/webhook --force --base-url http://{address}/v1 --apply\n\
             Start an analysis:\n  \
               curl -X POST http://{address}/v1/voice/deepfake -H 'X-API-Key: any'\n",
            dispatch::schedule(self.time_scale),
            program = program::name()
        ))?;
        let api = Arc::new(Api {
            dispatcher: Dispatcher::new(self.time_scale),
            webhooks: Webhooks::default(),
            options: self,
        });
        axum::serve(listener, router(api))
            .with_graceful_shutdown(stop)
            .await
            .map_err(Failure::Serve)
    }
}

fn router(api: Arc<Api>) -> Router {
    let mut router = Router::new()
        .route("/v1/webhooks", post(register).get(list))
        .route("/v1/webhooks/{id}", delete(remove))
        .route("/v1/webhooks/events", get(events))
        .route("/v1/webhooks/events/{event_id}/retry", post(retry));
    for (path, completed, failed) in ANALYSES {
        let analyse = move |State(api): State<Arc<Api>>,
                            Query(query): Query<HashMap<String, String>>,
                            body: Bytes| async move {
            let fails = query.get("fail").is_some_and(|value| value == "true");
            let types = match (fails, failed) {
                (true, Some(failed)) => &[failed][..],
                (true, None) => return bad_request("this analysis has no event for a failure"),
                (false, _) => completed,
            };
            api.analyse(types, &body)
        };
        router = router.route(path, post(analyse));
    }
    router
        .fallback(|| async { not_found("route") })
        .layer(middleware::from_fn_with_state(api.clone(), authorize))
        .with_state(api)
}

/// Refuses a request without a key. Any key will do.
async fn authorize(State(api): State<Arc<Api>>, request: Request, next: NextLayer) -> Response {
    let has_bearer = bearer(request.headers()).is_some_and(|key| !key.is_empty());
    let has_key = text(request.headers(), "x-api-key").is_some_and(|key| !key.is_empty());
    let (is_authorized, header) = match api.options.authorization {
        Authorization::Either => (has_bearer || has_key, "Authorization: Bearer … or X-API-Key: …"),
        Authorization::Bearer => (has_bearer, "Authorization: Bearer …"),
        Authorization::ApiKey => (has_key, "X-API-Key: …"),
    };
    if is_authorized {
        next.run(request).await
    } else {
        unauthorized(header)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    text(headers, "authorization")?.strip_prefix("Bearer ")
}

async fn register(State(api): State<Arc<Api>>, body: Bytes) -> Response {
    match Webhook::parse(&body) {
        Ok(webhook) => match api.webhooks.add(webhook) {
            Ok(shown) => created(&shown),
            Err(failure) => answers::failed(&failure),
        },
        Err(fault) => bad_request(&fault),
    }
}

async fn list(State(api): State<Arc<Api>>) -> Response {
    axum::Json(json!({"webhooks": api.webhooks.shown()})).into_response()
}

async fn remove(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Response {
    match api.webhooks.remove(&id) {
        true => StatusCode::NO_CONTENT.into_response(),
        false => not_found("webhook with this id"),
    }
}

impl Api {
    /// Starts an analysis. Its events are delivered to every webhook that is registered for their types.
    fn analyse(self: &Arc<Self>, types: &[&str], body: &[u8]) -> Response {
        let id = match random_hex::<8>() {
            Ok(id) => id,
            Err(failure) => return answers::failed(&failure),
        };
        let session = serde_json::from_slice(body).ok().and_then(|body: Value| {
            let session = body
                .get("session_id")
                .or_else(|| body.pointer("/metadata/session_id"));
            Some(session?.as_str()?.to_owned())
        });
        let session = session.unwrap_or_else(|| format!("sess_{id}"));
        let mut event_ids = Vec::new();
        for (i, event_type) in types.iter().enumerate() {
            let event_id = format!("evt_{id}_{i}");
            for webhook in self.webhooks.of_type(event_type) {
                self.dispatcher.deliver(webhook, event_type, &event_id, &session);
            }
            event_ids.push(event_id);
        }
        let answer = json!({"session_id": session, "status": "processing", "event_ids": event_ids});
        (StatusCode::ACCEPTED, axum::Json(answer)).into_response()
    }
}

/// `GET /v1/webhooks/events?status=…&since=…`: the events, in the shape that the options name.
async fn events(State(api): State<Arc<Api>>, Query(query): Query<HashMap<String, String>>) -> Response {
    let since = match query.get("since").map(|since| Timestamp::parse(since)) {
        None => None,
        Some(Some(Parsed::Moment(time))) => Some(time),
        Some(_) => return bad_request("`since` is not a time in RFC 3339"),
    };
    let events = api
        .dispatcher
        .events(query.get("status").map(String::as_str), since);
    let place = query.get("cursor").or_else(|| query.get("starting_after"));
    let options = &api.options;
    lists::page(
        events,
        place.map(String::as_str),
        &lists::Paging {
            shape: options.list,
            next: options.next_page,
            size: options.page_size.into(),
            query: &query,
        },
    )
}

/// Delivers an event again, once, and shows the attempt.
async fn retry(State(api): State<Arc<Api>>, Path(event_id): Path<String>) -> Response {
    match api.dispatcher.again(&event_id).await {
        Some(attempt) => axum::Json(attempt).into_response(),
        None => not_found("event with this id"),
    }
}

/// The types that a registration may name.
fn is_known(event_type: &str) -> bool {
    known_types().any(|known| known == event_type)
}
