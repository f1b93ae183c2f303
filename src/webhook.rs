//! `POST /webhook`: read the body, verify its signature, hand it to [`ingest`], answer (contract,
//! section 2).
//!
//! `receive` makes the checks in the order of the contract's table. It parses nothing before the signature holds.

use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use tokio::time::Instant;

use crate::app::App;
use crate::error::{HttpError, json};
use crate::ingest::{self, Ingested};
use crate::secrets::Verification;
use crate::signature::Signature;
use crate::store::DeliveryToken;
use crate::telemetry::{Delivered, DeliveryLog, Invocation};
use crate::timestamp::Timestamp;

const SIGNATURE: &str = "x-sonotheia-signature";

/// The headers that the sender does not sign, and the keys that the log shows them under.
const CLAIMS: [(&str, &str); 5] = [
    ("x-sonotheia-delivery-id", "delivery_id"),
    ("x-sonotheia-event-id", "claimed_event_id"),
    ("x-sonotheia-event", "claimed_event_type"),
    ("x-sonotheia-timestamp", "claimed_timestamp"),
    ("user-agent", "user_agent"),
];

/// The body of a 200 answer.
#[derive(Serialize)]
struct Receipt {
    received: bool,
    duplicate: bool,
    event_id: String,
}

/// Answers a delivery within the deadline of a request.
pub async fn post(
    State(app): State<Arc<App>>,
    Extension(invocation): Extension<Invocation>,
    request: Request<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    let mut log = DeliveryLog {
        claims: claims(&parts.headers),
        ..DeliveryLog::default()
    };
    let now = app.sources.now();
    let received = receive(&app, &parts.headers, body, now, &mut log);
    let result = tokio::time::timeout(app.time_for_request(now), received)
        .await
        .unwrap_or_else(|_| Err(HttpError::deadline()));
    let mut response = match result.and_then(|receipt| json(&receipt)) {
        Ok(body) => body.into_response(),
        Err(error) => {
            log.delivered = error.delivered();
            error.into_response(&invocation)
        }
    };
    response.extensions_mut().insert(log);
    response
}

/// Takes a delivery through the contract's table, and notes in `log` each fact as soon as it is known.
async fn receive(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    now: Timestamp,
    log: &mut DeliveryLog,
) -> Result<Receipt, HttpError> {
    let body = read(body, app.config.max_body_bytes).await?;

    let signature = signature(headers)?;
    let verification = app.secrets.verify(&body, &signature, now).await;
    log.verified(&verification);
    let Verification { version, .. } = verification;
    version?.ok_or(HttpError::InvalidSignature)?;

    let judged = ingest::judge(&body, &app.config.rules(), now);
    log.judged(&judged, now);
    let token = app.sources.random().map(DeliveryToken::from_bytes);
    let token = token.map_err(|error| HttpError::Internal(error.into()))?;
    let begun = Instant::now();
    let ingested = ingest::ingest(&app.store, &judged, token).await;
    log.store_latency = Some(begun.elapsed());

    match ingested? {
        Ingested::Stored { event_id } => {
            log.delivered = Delivered::Accepted;
            log.alert = judged.event().and_then(|event| event.alert);
            Ok(receipt(event_id, false))
        }
        Ingested::Duplicate { event_id } => {
            log.delivered = Delivered::Duplicate;
            Ok(receipt(event_id, true))
        }
        Ingested::Conflict(problem) => Err(HttpError::EventConflict(problem)),
        Ingested::TooOld(problem) => Err(HttpError::EventTooOld(problem)),
        Ingested::Invalid(problem) => Err(HttpError::InvalidEvent(problem)),
    }
}

async fn read(body: Body, limit: usize) -> Result<Bytes, HttpError> {
    match Limited::new(body, limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(HttpError::PayloadTooLarge { limit }),
        Err(error) => Err(HttpError::UnreadableBody(error)),
    }
}

/// Reads the one signature header.
fn signature(headers: &HeaderMap) -> Result<Signature, HttpError> {
    let mut values = headers.get_all(SIGNATURE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(HttpError::InvalidSignature);
    };
    Signature::parse(value.as_bytes()).map_err(|_| HttpError::InvalidSignature)
}

fn receipt(event_id: String, duplicate: bool) -> Receipt {
    let received = true;
    Receipt {
        received,
        duplicate,
        event_id,
    }
}

fn claims(headers: &HeaderMap) -> Vec<(&'static str, String)> {
    let claim = |(header, key)| {
        let value = headers.get(header)?;
        Some((key, String::from_utf8_lossy(value.as_bytes()).into_owned()))
    };
    CLAIMS.into_iter().filter_map(claim).collect()
}
