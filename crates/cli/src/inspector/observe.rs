//! The copy of a delivery on its way through the receiver.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use serde::Deserialize;
use sonotheia_webhook::telemetry::{Delivered, DeliveryLog};
use sonotheia_webhook::timestamp::Timestamp;

use super::delivery::{Delivery, Headers, Row, outcome};
use super::{Inspector, diagnosis};
use crate::copied_body::CopiedBody;

/// The most bytes that are kept of a body that the receiver did not read to its end.
const MAX_INCOMPLETE: usize = 16 << 10;

const SIGNATURE: &str = "x-sonotheia-signature";

/// Copies each delivery, and its answer.
pub async fn observe(State(inspector): State<Arc<Inspector>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_webhook = path.strip_suffix('/').unwrap_or(path) == "/webhook";
    if *request.method() != Method::POST || !is_webhook {
        return next.run(request).await;
    }
    let (begun, received_at) = (Instant::now(), Timestamp::now());
    let headers = request.headers().clone();
    let (request, copy) = CopiedBody::of(request);
    let (parts, answer) = next.run(request).await.into_parts();
    // The receiver's answers are whole and in memory.
    let answer = axum::body::to_bytes(answer, usize::MAX).await.unwrap_or_default();

    let unknown = DeliveryLog::default();
    let seen = Seen {
        received_at,
        duration_ms: begun.elapsed().as_secs_f64() * 1000.0,
        status: parts.status,
        log: parts.extensions.get::<DeliveryLog>().unwrap_or(&unknown),
        headers: &headers,
        body: copy.take(),
        answer: answer.clone(),
    };
    inspector.keep(seen);
    Response::from_parts(parts, Body::from(answer))
}

/// A delivery and its answer, as they went by.
struct Seen<'a> {
    received_at: Timestamp,
    duration_ms: f64,
    status: StatusCode,
    log: &'a DeliveryLog,
    headers: &'a HeaderMap,
    body: Bytes,
    answer: Bytes,
}

impl Inspector {
    fn keep(&self, seen: Seen<'_>) {
        let delivered = seen.log.delivered;
        let signatures: Vec<HeaderValue> = seen.headers.get_all(SIGNATURE).iter().cloned().collect();
        let signature = signatures
            .first()
            .and_then(|value| diagnosis::normal(value.as_bytes()));
        let reason = match delivered {
            Delivered::Accepted | Delivered::Duplicate => None,
            Delivered::InvalidSignature => Some(self.diagnose(&signatures, signature.as_deref(), &seen.body)),
            _ => message(&seen.answer),
        };
        if delivered == Delivered::Accepted {
            self.set_last_accepted(seen.body.clone());
        }
        let mut row = Row {
            received_at: seen.received_at.to_string(),
            duration_ms: Some(seen.duration_ms),
            status: Some(seen.status.as_u16()),
            outcome: outcome(delivered),
            bytes: Some(seen.body.len()),
            reason,
            ..Row::default()
        };
        Delivery::signed_facts(&mut row, seen.log, &seen.body);
        let is_complete = !matches!(delivered, Delivered::TooLarge | Delivered::Unreadable);
        let is_signed = matches!(delivered, Delivered::Accepted | Delivered::Duplicate);
        let body = if is_complete {
            seen.body
        } else {
            Bytes::copy_from_slice(&seen.body[..seen.body.len().min(MAX_INCOMPLETE)])
        };
        self.kept.push(Delivery {
            row: row.bounded(),
            headers: Headers::of(seen.headers),
            body,
            is_complete,
            answer: seen.answer,
            signature: signature.filter(|_| is_signed),
        });
    }

    /// What an invalid signature may have been made with. The sender never learns this.
    fn diagnose(&self, signatures: &[HeaderValue], signature: Option<&str>, body: &[u8]) -> String {
        let known = self.keys().and_then(|keys| keys.diagnose(signatures, body));
        let of_event = || {
            let signature = signature?;
            let is_same = |delivery: &Delivery| delivery.signature.as_deref() == Some(signature);
            let signed = self.kept.find(is_same)?;
            let event = signed.row.event_id.as_deref()?;
            Some(format!(
                "The signature belongs to another body: the body of event {event}."
            ))
        };
        known
            .or_else(of_event)
            .unwrap_or_else(|| "The signature was made with another secret, or of another body.".to_owned())
    }
}

/// The text of an error answer.
fn message(answer: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct ErrorBody {
        message: String,
    }
    serde_json::from_slice::<ErrorBody>(answer)
        .ok()
        .map(|error| error.message)
}
