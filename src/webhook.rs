//! `POST /webhook` (contract, section 2). [`receive`] is its table, top to bottom.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::aws::REQUEST_DEADLINE;
use crate::error::{Failure, json};
use crate::event::{Event, InvalidEvent, OutOfTime, Problem};
use crate::secrets::Stage;
use crate::signature::{Signature, hex};
use crate::store::{DeliveryToken, NewRecord, Outcome, PutOutcome};
use crate::telemetry::{Delivered, Invocation, Report};
use crate::timestamp::Timestamp;

const SIGNATURE: &str = "x-sonotheia-signature";

/// The headers that nobody signed, and the keys they are logged under.
const CLAIMS: [(&str, &str); 5] = [
    ("x-sonotheia-delivery-id", "delivery_id"),
    ("x-sonotheia-event-id", "claimed_event_id"),
    ("x-sonotheia-event", "claimed_event_type"),
    ("x-sonotheia-timestamp", "claimed_timestamp"),
    ("user-agent", "user_agent"),
];

/// What a delivery that was taken is told.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    received: bool,
    /// Whether the event was stored before.
    pub duplicate: bool,
    /// The record's key.
    pub event_id: String,
}

/// Answers a delivery within the request's deadline.
pub async fn post(
    State(app): State<Arc<App>>,
    Extension(invocation): Extension<Invocation>,
    request: Request<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    let mut report = Report {
        claims: claims(&parts.headers),
        ..Report::default()
    };
    let received = receive(&app, &parts.headers, body, Timestamp::now(), &mut report);
    let result = tokio::time::timeout(REQUEST_DEADLINE, received)
        .await
        .unwrap_or_else(|_| Err(Failure::deadline()));
    let mut response = match result.and_then(|receipt| json(&receipt)) {
        Ok(body) => body.into_response(),
        Err(failure) => {
            report.delivered = failure.delivered();
            failure.into_response(&invocation)
        }
    };
    response.extensions_mut().insert(report);
    response
}

/// Takes a delivery: read, verify, parse, judge, store. `report` tells as much as was found out.
///
/// # Errors
/// [`Failure`], by the rows of the contract's table. One that is not `Unavailable` or `Internal` is
/// final, and all that was signed is stored by then.
pub async fn receive(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    now: Timestamp,
    report: &mut Report,
) -> Result<Receipt, Failure> {
    let body = read(body, app.config.max_body_bytes).await?;
    verify(app, headers, &body, now, report).await?;
    let event = match Event::parse(&body, app.config.alert_threshold) {
        Ok(event) => event,
        Err(invalid) => return reject(app, None, invalid.into(), &body, now, report).await,
    };
    describe(&event, now, report);
    if let Err(out) = event.check_time(now, app.config.retention_days) {
        return reject(app, Some(&event), refusal(&event, out, app), &body, now, report).await;
    }
    let receipt = store(app, &event, &body, now, report).await?;
    match receipt {
        Some(receipt) => Ok(receipt),
        None => reject(app, Some(&event), Failure::EventConflict, &body, now, report).await,
    }
}

/// Takes a body that is known to be the sender's: parse, judge, store, as for a delivery. What can't be
/// taken is told and not stored: it is stored already, or with the sender.
///
/// # Errors
/// As [`receive`]'s, from parsing on.
#[cfg(feature = "cli")]
pub async fn take(app: &App, body: &[u8], now: Timestamp) -> Result<Receipt, Failure> {
    let event = Event::parse(body, app.config.alert_threshold)?;
    let judged = event.check_time(now, app.config.retention_days);
    judged.map_err(|out| refusal(&event, out, app))?;
    let receipt = store(app, &event, body, now, &mut Report::default()).await?;
    receipt.ok_or(Failure::EventConflict)
}

/// What [`take`] would answer, found out by a read.
///
/// # Errors
/// As [`take`]'s.
#[cfg(feature = "cli")]
pub async fn would_take(app: &App, body: &[u8], now: Timestamp) -> Result<Receipt, Failure> {
    let event = Event::parse(body, app.config.alert_threshold)?;
    let judged = event.check_time(now, app.config.retention_days);
    judged.map_err(|out| refusal(&event, out, app))?;
    let event_id = event.id.as_deref().map_or_else(|| key("", body), str::to_owned);
    let there = app.store.get(&event_id).await?;
    let duplicate = there.is_some();
    if let Some(there) = there {
        let there = there.body.unwrap_or_default();
        let there = Event::parse(&there, app.config.alert_threshold);
        if there.map(|there| there.content_hash) != Ok(event.content_hash) {
            return Err(Failure::EventConflict);
        }
    }
    let received = true;
    Ok(Receipt {
        received,
        duplicate,
        event_id,
    })
}

async fn read(body: Body, limit: usize) -> Result<Bytes, Failure> {
    match Limited::new(body, limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::PayloadTooLarge { limit }),
        // The sender went away; whoever reads the answer may send it again.
        Err(error) => Err(Failure::Unavailable(error)),
    }
}

async fn verify(
    app: &App,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut signatures = headers.get_all(SIGNATURE).iter();
    let (Some(signature), None) = (signatures.next(), signatures.next()) else {
        return Err(Failure::InvalidSignature);
    };
    let signature = Signature::parse(signature.as_bytes()).map_err(|_| Failure::InvalidSignature)?;
    let verification = app.secrets.verify(body, &signature, now).await;
    report.secret_refreshes = verification.refreshes;
    match verification.result? {
        Some(version) => report.previous_secret = version == Stage::Previous,
        None => return Err(Failure::InvalidSignature),
    }
    Ok(())
}

fn describe(event: &Event<'_>, now: Timestamp, report: &mut Report) {
    report.event_id = event.id.as_deref().map(str::to_owned);
    report.event_type = Some(event.event_type.clone().into_owned());
    report.unknown_type = !event.known_type;
    report.problems = event.problems.len();
    report.lag_ms = event.occurred_at.map(|time| now.as_millis() - time.as_millis());
}

fn refusal(event: &Event<'_>, out: OutOfTime, app: &App) -> Failure {
    match (out, event.occurred_at) {
        (OutOfTime::TooFarAhead, Some(time)) => {
            let message = format!("is {time}, more than 24 h ahead of the receiver's clock");
            InvalidEvent(Problem::new("timestamp", message)).into()
        }
        _ => Failure::EventTooOld {
            retention_days: app.config.retention_days,
        },
    }
}

/// Stores an event; `None` where another one has its id.
async fn store(
    app: &App,
    event: &Event<'_>,
    body: &[u8],
    now: Timestamp,
    report: &mut Report,
) -> Result<Option<Receipt>, Failure> {
    let event_id = match &event.id {
        Some(id) => id.clone().into_owned(),
        None => key("", body),
    };
    report.event_id = Some(event_id.clone());
    let retention = event.retention_days.unwrap_or(0).max(app.config.retention_days);
    let counts_from = event.occurred_at.map_or(now, |time| time.max(now));
    let record = NewRecord {
        event_id: &event_id,
        outcome: Outcome::Accepted,
        reason: None,
        event: Some(event),
        problems: &event.problems,
        body,
        received_at: now,
        expires_at: counts_from.plus_days(retention),
        token: token()?,
    };
    let duplicate = match put(app, record, report).await? {
        PutOutcome::Stored => false,
        PutOutcome::Duplicate => true,
        PutOutcome::Conflict => return Ok(None),
    };
    if duplicate {
        report.delivered = Delivered::Duplicate;
    } else {
        report.delivered = Delivered::Accepted;
        report.alert = event.alert;
    }
    Ok(Some(Receipt {
        received: true,
        duplicate,
        event_id,
    }))
}

/// Stores what was signed and can't be taken, then refuses it. A repeat of it changes nothing.
async fn reject(
    app: &App,
    event: Option<&Event<'_>>,
    failure: Failure,
    body: &[u8],
    now: Timestamp,
    report: &mut Report,
) -> Result<Receipt, Failure> {
    let event_id = key("rejected:", body);
    let mut problems = match &failure {
        Failure::InvalidEvent(InvalidEvent(problem)) => vec![problem.clone()],
        Failure::EventConflict => {
            let id = event.and_then(|event| event.id.as_deref()).unwrap_or_default();
            vec![Problem::new(
                "id",
                format!("is {id:?}, and was accepted before with another type or other data"),
            )]
        }
        other => vec![Problem::new("timestamp", other.to_string())],
    };
    problems.extend(event.into_iter().flat_map(|event| event.problems.iter().cloned()));
    let record = NewRecord {
        event_id: &event_id,
        outcome: Outcome::Rejected,
        reason: Some(failure.code()),
        event,
        problems: &problems,
        body,
        received_at: now,
        expires_at: now.plus_days(app.config.retention_days),
        token: token()?,
    };
    put(app, record, report).await?;
    report.event_id.get_or_insert(event_id);
    Err(failure)
}

async fn put(app: &App, record: NewRecord<'_>, report: &mut Report) -> Result<PutOutcome, Failure> {
    let begun = Instant::now();
    let outcome = app.store.put(record).await;
    *report.store_latency.get_or_insert_default() += begun.elapsed();
    Ok(outcome?)
}

fn token() -> Result<DeliveryToken, Failure> {
    DeliveryToken::new().map_err(|error| Failure::Internal(error.into()))
}

/// A key made of the body, for what has none of its own.
fn key(prefix: &str, body: &[u8]) -> String {
    let mut key = format!("{prefix}sha256:");
    // Writing to a String does not fail.
    let _ = hex(&Sha256::digest(body), &mut key);
    key
}

fn claims(headers: &HeaderMap) -> Vec<(&'static str, String)> {
    let claim = |(header, key)| {
        let value = headers.get(header)?;
        Some((key, String::from_utf8_lossy(value.as_bytes()).into_owned()))
    };
    CLAIMS.into_iter().filter_map(claim).collect()
}
