//! The page that `serve` has at `/`: deliveries as they come, and buttons that send some.
//!
//! It stands around the receiver's router and changes nothing in it: bodies are copied as the receiver
//! reads them, answers as they leave. What is known of the last deliveries is held in memory, bounded.
//! The page is for the person at this machine: another site's scripts can neither read nor press it.

mod buttons;
mod diagnosis;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::{FutureExt, Stream, StreamExt, stream};
use http_body_util::BodyExt;
use serde::Serialize;
use sonotheia_webhook::event::Alert;
use sonotheia_webhook::telemetry::{Delivered, DeliveryLog};
use sonotheia_webhook::timestamp::Timestamp;
use tokio::sync::watch;

use self::diagnosis::Keys;
use crate::args::json;
use crate::args::random_hex;
use crate::failure::Failure;
use crate::show::Pretty;

/// How many deliveries are kept, the newest ones.
const KEPT: usize = 100;

/// How much of a body is kept to be shown, in bytes.
const SHOWN_BYTES: usize = 64 << 10;

/// The most of a body that is held while it is on its way: more than any that is taken.
const MAX_COPY: usize = 512 << 10;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Nothing but this page's own files, and nobody else's frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A delivery, as the page gets it.
#[derive(Serialize)]
struct Delivery {
    /// Counts up from 1.
    n: u64,
    received_at: String,
    duration_ms: f64,
    status: u16,
    outcome: &'static str,
    /// What the signed body says; of one that was not signed nothing is believed.
    event_id: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    alert: Option<&'static str>,
    problems: usize,
    /// Why it was refused, for the person at this machine.
    reason: Option<String>,
    bytes: usize,
    /// The body, JSON with line breaks; cut where it is long.
    body: String,
    /// The answer, likewise.
    answer: String,
    #[serde(skip)]
    signature: Option<String>,
}

/// What the page knows.
pub struct Inspector {
    /// Makes this process's deliveries unlike those of the one before.
    run: String,
    keys: Keys,
    /// Whether the page is for whoever asks, and not only for loopback names.
    any_host: bool,
    kept: Mutex<VecDeque<Arc<Delivery>>>,
    /// The newest one's number.
    newest: watch::Sender<u64>,
    /// The body accepted last, to be sent again.
    accepted: Mutex<Option<Bytes>>,
}

impl Inspector {
    /// Knows the secret, and perhaps the one before, to tell what a signature is of.
    pub fn new(secret: &str, previous: Option<&str>, any_host: bool) -> Result<Arc<Self>, Failure> {
        Ok(Arc::new(Self {
            run: random_hex::<4>()?,
            keys: Keys::new(secret, previous)?,
            any_host,
            kept: Mutex::default(),
            newest: watch::Sender::new(0),
            accepted: Mutex::default(),
        }))
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Arc<Delivery>>> {
        // Whoever panicked while holding it left a whole value.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, mut delivery: Delivery) {
        let mut kept = self.kept();
        delivery.n = *self.newest.borrow() + 1;
        let n = delivery.n;
        kept.push_back(Arc::new(delivery));
        if kept.len() > KEPT {
            kept.pop_front();
        }
        drop(kept);
        self.newest.send_replace(n);
    }

    /// The oldest one kept that is newer than `n`.
    fn after(&self, n: u64) -> Option<Arc<Delivery>> {
        self.kept().iter().find(|delivery| delivery.n > n).cloned()
    }

    /// The event that an accepted delivery with this signature was.
    fn signed_as(&self, signature: &str) -> Option<String> {
        let kept = self.kept();
        let same = |delivery: &&Arc<Delivery>| delivery.signature.as_deref() == Some(signature);
        kept.iter()
            .find(same)
            .and_then(|delivery| delivery.event_id.clone())
    }
}

/// What handlers need: the inspector, the router that is observed, and the end.
#[derive(Clone)]
struct Shared<S> {
    inspector: Arc<Inspector>,
    receiver: Router,
    stop: S,
}

/// The receiver's router with the page around it. Streams end when `stop` does.
pub fn around<S>(receiver: Router, inspector: Arc<Inspector>, stop: S) -> Router
where
    S: Future<Output = ()> + Clone + Send + Sync + 'static,
{
    let receiver = receiver.layer(middleware::from_fn_with_state(inspector.clone(), observe));
    let shared = Shared {
        inspector: inspector.clone(),
        receiver: receiver.clone(),
        stop,
    };
    let file = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, kind)], text) })
    };
    Router::new()
        // Other methods of this path are none of the page's.
        .route(
            "/",
            file("text/html; charset=utf-8", PAGE).fallback_service(receiver.clone()),
        )
        .route("/inspector/page.css", file("text/css; charset=utf-8", STYLE))
        .route(
            "/inspector/page.js",
            file("text/javascript; charset=utf-8", SCRIPT),
        )
        .route("/inspector/deliveries", get(deliveries::<S>))
        .route("/inspector/send", post(send::<S>))
        .route_layer(middleware::from_fn_with_state(inspector, guard))
        .fallback_service(receiver)
        .with_state(shared)
}

/// Keeps other sites out, and what they could make of this one.
async fn guard(State(inspector): State<Arc<Inspector>>, request: Request, next: Next) -> Response {
    let mut response = match refusal(
        &inspector,
        request.method(),
        request.uri().path(),
        request.headers(),
    ) {
        Some(reason) => (StatusCode::FORBIDDEN, format!("{reason}\n")).into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    // The receiver's own answers have theirs.
    if !headers.contains_key("x-request-id") {
        for (name, value) in [
            ("content-security-policy", POLICY),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

/// Why a request for the page is not answered. A name that leads here by another site's DNS is not
/// loopback's; a request that another site's page makes names that site.
fn refusal(inspector: &Inspector, method: &Method, path: &str, headers: &HeaderMap) -> Option<&'static str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_page = path == "/" && *method != Method::POST || path.starts_with("/inspector/");
    if !is_page {
        return None;
    }
    let host = text("host").unwrap_or_default();
    if !inspector.any_host && !is_loopback(host) {
        return Some("The inspector is for this machine: open it as http://127.0.0.1 or http://localhost.");
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let ours = text("origin").is_none_or(|origin| origin == format!("http://{host}"))
        && text("sec-fetch-site").is_none_or(|site| site == "same-origin");
    let is_json = text("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    (!ours || !is_json).then_some("Only the inspector's own page may do this.")
}

fn is_loopback(host: &str) -> bool {
    let uri = format!("http://{host}").parse();
    uri.is_ok_and(|uri| crate::client::is_loopback(&uri))
}

/// Copies a delivery on its way through the receiver.
async fn observe(State(inspector): State<Arc<Inspector>>, request: Request, next: Next) -> Response {
    if *request.method() != Method::POST || request.uri().path() != "/webhook" {
        return next.run(request).await;
    }
    let begun = Instant::now();
    let received_at = Timestamp::now();
    let signatures: Vec<HeaderValue> = request
        .headers()
        .get_all("x-sonotheia-signature")
        .iter()
        .cloned()
        .collect();
    let copy: Arc<Mutex<Vec<u8>>> = Arc::default();
    let held = copy.clone();
    let request = request.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let mut copy = held.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(data) = frame.data_ref() {
                let room = MAX_COPY.saturating_sub(copy.len());
                copy.extend_from_slice(&data[..data.len().min(room)]);
            }
            frame
        }))
    });
    let (parts, answer) = next.run(request).await.into_parts();
    // The receiver's answers are whole and in memory.
    let answer = axum::body::to_bytes(answer, usize::MAX).await.unwrap_or_default();
    let body = Bytes::from(std::mem::take(
        &mut *copy.lock().unwrap_or_else(PoisonError::into_inner),
    ));

    let status = parts.status.as_u16();
    let unknown = DeliveryLog::default();
    let report = parts.extensions.get::<DeliveryLog>().unwrap_or(&unknown);
    let delivered = report.delivered;
    let signature = signatures
        .first()
        .and_then(|value| diagnosis::normal(value.as_bytes()));
    let reason = match delivered {
        Delivered::InvalidSignature => Some(match inspector.keys.other_secret(&signatures, &body) {
            Some(known) => known,
            None => match signature
                .as_deref()
                .and_then(|signature| inspector.signed_as(signature))
            {
                Some(event) => format!("It is the signature of a different body: that of event {event}."),
                None => "The signature was made with another secret, or of another body.".to_owned(),
            },
        }),
        Delivered::Accepted | Delivered::Duplicate => None,
        _ => message(&answer),
    };
    if delivered == Delivered::Accepted {
        *inspector.accepted.lock().unwrap_or_else(PoisonError::into_inner) = Some(body.clone());
    }
    let is_signed = matches!(delivered, Delivered::Accepted | Delivered::Duplicate);
    inspector.keep(Delivery {
        n: 0,
        received_at: received_at.to_string(),
        duration_ms: begun.elapsed().as_secs_f64() * 1000.0,
        status,
        outcome: outcome(delivered),
        event_id: report.event_id.clone(),
        event_type: report.event_type.clone(),
        alert: report.alert.map(Alert::as_str),
        problems: report.problems,
        reason,
        bytes: body.len(),
        body: readable(&body),
        answer: readable(&answer),
        signature: signature.filter(|_| is_signed),
    });
    Response::from_parts(parts, Body::from(answer))
}

fn outcome(delivered: Delivered) -> &'static str {
    match delivered {
        Delivered::Accepted => "accepted",
        Delivered::Duplicate => "duplicate",
        Delivered::Rejected => "rejected",
        Delivered::Conflict => "conflict",
        Delivered::InvalidSignature => "refused",
        Delivered::TooLarge => "too large",
        Delivered::Unreadable => "unreadable",
        Delivered::Unavailable => "unavailable",
        Delivered::Internal => "failed",
    }
}

/// What the receiver's answer says to the sender.
fn message(answer: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Told {
        message: String,
    }
    serde_json::from_slice::<Told>(answer)
        .ok()
        .map(|told| told.message)
}

/// JSON with line breaks, other text as it is, cut where it is long.
fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
    let mut text = if is_json {
        Pretty(&text).to_string()
    } else {
        text.into_owned()
    };
    if text.len() > SHOWN_BYTES {
        text.truncate(text.floor_char_boundary(SHOWN_BYTES));
        text.push_str("\n… (cut)");
    }
    text
}

/// The deliveries kept, then those that come, as server-sent events.
async fn deliveries<S>(
    State(shared): State<Shared<S>>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Message, Infallible>>>
where
    S: Future<Output = ()> + Clone + Send + Sync + 'static,
{
    let inspector = shared.inspector;
    // A browser that connects again says what it has; another process's numbers are none of ours.
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let last = last.and_then(|id| id.strip_prefix(&inspector.run)?.strip_prefix('-')?.parse().ok());
    let newest = inspector.newest.subscribe();
    let hello = Message::default().event("run").data(&inspector.run);
    let messages = stream::unfold(
        (inspector, newest, last.unwrap_or(0)),
        |(inspector, mut newest, last)| async move {
            let delivery = loop {
                newest.borrow_and_update();
                match inspector.after(last) {
                    Some(delivery) => break delivery,
                    None => newest.changed().await.ok()?,
                }
            };
            let message = Message::default()
                .id(format!("{}-{}", inspector.run, delivery.n))
                .data(json(&*delivery));
            let n = delivery.n;
            Some((Ok(message), (inspector, newest, n)))
        },
    );
    let messages = stream::iter([Ok(hello)])
        .chain(messages)
        .take_until(shared.stop.boxed());
    Sse::new(messages).keep_alive(KeepAlive::default())
}

/// A button: makes a delivery and gives it to the receiver.
async fn send<S>(State(shared): State<Shared<S>>, body: Bytes) -> Response
where
    S: Clone + Send + Sync + 'static,
{
    let wanted = serde_json::from_slice::<buttons::Wanted>(&body).ok();
    let Some(wanted) = wanted.filter(buttons::Wanted::is_known) else {
        return (StatusCode::BAD_REQUEST, "There is no such button.\n").into_response();
    };
    let last = shared
        .inspector
        .accepted
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    match buttons::send(&shared.receiver, &shared.inspector.keys, wanted, last).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(failure) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{failure}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(any_host: bool, method: Method, headers: &[(&'static str, &'static str)]) -> bool {
        let inspector = Inspector::new("s", None, any_host).expect("an inspector");
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value)))
            .collect();
        refusal(&inspector, &method, "/inspector/send", &headers).is_none()
    }

    #[test]
    fn the_page_is_for_loopback_names_unless_another_address_was_asked_for() {
        for host in ["127.0.0.1:8080", "localhost", "[::1]:80", "127.0.0.2"] {
            assert!(asked(false, Method::GET, &[("host", host)]), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example:80",
            "localhost.evil.example",
            "192.168.0.2",
            "",
        ] {
            assert!(!asked(false, Method::GET, &[("host", host)]), "{host}");
            assert!(asked(true, Method::GET, &[("host", host)]), "{host}");
        }
    }

    #[test]
    fn only_the_page_itself_may_press_its_buttons() {
        let host = ("host", "127.0.0.1:8080");
        let json = ("content-type", "application/json");
        let post = |headers: &[_]| asked(false, Method::POST, headers);
        assert!(post(&[host, json]));
        assert!(post(&[
            host,
            json,
            ("origin", "http://127.0.0.1:8080"),
            ("sec-fetch-site", "same-origin")
        ]));
        assert!(!post(&[host]));
        assert!(!post(&[host, ("content-type", "text/plain")]));
        assert!(!post(&[host, json, ("origin", "http://evil.example")]));
        assert!(!post(&[host, json, ("origin", "http://127.0.0.1:9")]));
        assert!(!post(&[host, json, ("origin", "null")]));
        assert!(!post(&[host, json, ("sec-fetch-site", "cross-site")]));
    }

    #[test]
    fn no_more_is_kept_than_was_said() {
        let inspector = Inspector::new("s", None, false).expect("an inspector");
        for _ in 0..KEPT + 5 {
            inspector.keep(Delivery {
                n: 0,
                received_at: String::new(),
                duration_ms: 0.0,
                status: 401,
                outcome: "refused",
                event_id: None,
                event_type: None,
                alert: None,
                problems: 0,
                reason: None,
                bytes: 0,
                body: readable(&vec![b'x'; MAX_COPY]),
                answer: String::new(),
                signature: None,
            });
        }
        assert_eq!(inspector.kept().len(), KEPT);
        assert!(
            inspector
                .kept()
                .iter()
                .all(|delivery| delivery.body.len() < SHOWN_BYTES + 20)
        );
        assert_eq!(inspector.after(0).map(|delivery| delivery.n), Some(6));
        assert!(inspector.after(KEPT as u64 + 5).is_none());
    }
}
