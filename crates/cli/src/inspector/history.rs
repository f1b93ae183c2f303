//! The records of the table, read through the receiver's own reads (contract, section 3).

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Query, RawQuery, State};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use sonotheia_webhook::event::Problem;
use sonotheia_webhook::ingest::EVENT_CONFLICT;
use tower::ServiceExt;

use super::delivery::{Headers, Row};
use super::detail::{self, Detail};
use super::{Shared, curl};
use crate::client::encode;

/// A record as the receiver's reads show it.
#[derive(Deserialize)]
pub struct Record {
    event_id: String,
    #[serde(rename = "type")]
    event_type: Option<String>,
    session_id: Option<String>,
    occurred_at: Option<String>,
    pub received_at: String,
    expires_at: Option<String>,
    erased_at: Option<String>,
    outcome: String,
    reason: Option<String>,
    #[serde(default)]
    problems: Vec<Problem>,
    alert: Option<String>,
    claimed_event_id: Option<String>,
    claimed_type: Option<String>,
    body: Option<String>,
    body_base64: Option<String>,
}

impl Record {
    fn is_conflict(&self) -> bool {
        self.reason.as_deref() == Some(EVENT_CONFLICT)
    }

    fn into_row(self, bytes: Option<usize>) -> Row {
        let outcome = if self.is_conflict() {
            "conflict".to_owned()
        } else {
            self.outcome
        };
        // The first problem of a rejected record is the reason of the rejection.
        let mut problems = self.problems;
        let is_rejected = self.reason.is_some() && !problems.is_empty();
        let reason = is_rejected
            .then(|| problems.remove(0).to_string())
            .or(self.reason);
        Row {
            received_at: self.received_at,
            outcome,
            event_id: Some(self.event_id),
            claimed_event_id: self.claimed_event_id,
            event_type: self.event_type.or(self.claimed_type),
            session_id: self.session_id,
            occurred_at: self.occurred_at,
            expires_at: self.expires_at,
            erased_at: self.erased_at,
            alert: self.alert,
            problems,
            reason,
            bytes,
            ..Row::default()
        }
        .bounded()
    }
}

/// The receiver's answer to a read, if it is no record.
pub struct Failed {
    status: StatusCode,
    message: String,
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"error": self.message}))).into_response()
    }
}

async fn read(shared: &Shared, path_and_query: &str) -> Result<Bytes, Failed> {
    #[derive(Default, Deserialize)]
    struct ErrorBody {
        message: Option<String>,
    }
    let request = Request::get(path_and_query).body(Body::empty());
    let request = request.map_err(|_| Failed {
        status: StatusCode::BAD_REQUEST,
        message: "No request can have this path.".to_owned(),
    })?;
    let Ok(response) = shared.receiver.clone().oneshot(request).await;
    let status = response.status();
    // The receiver's answers are whole, in memory and under 1 MB.
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
    let body = body.unwrap_or_default();
    if status.is_success() {
        return Ok(body);
    }
    let error: ErrorBody = serde_json::from_slice(&body).unwrap_or_default();
    Err(Failed {
        status,
        message: error
            .message
            .unwrap_or_else(|| "The receiver cannot read the table.".to_owned()),
    })
}

fn not_ours(_: serde_json::Error) -> Failed {
    Failed {
        status: StatusCode::BAD_GATEWAY,
        message: "The table has a record that this version cannot read.".to_owned(),
    }
}

/// `GET /inspector/records?…`: a page of records as rows. The query is the query of `GET /results`.
pub async fn list(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Result<Response, Failed> {
    #[derive(Deserialize)]
    struct Page {
        results: Vec<Record>,
        next: Option<String>,
    }
    let body = read(&shared, &format!("/results?{}", query.unwrap_or_default())).await?;
    let page: Page = serde_json::from_slice(&body).map_err(not_ours)?;
    let rows: Vec<_> = page
        .results
        .into_iter()
        .map(|record| record.into_row(None))
        .collect();
    Ok(Json(json!({"rows": rows, "next": page.next})).into_response())
}

/// Reads a record with its body. Returns `None` if the table has no such record. An erased record has no body.
pub async fn whole(shared: &Shared, event_id: &str) -> Result<Option<(Record, Option<Bytes>)>, Failed> {
    let path = format!("/events/{}?include=body", encode(event_id));
    let answer = match read(shared, &path).await {
        Err(Failed {
            status: StatusCode::NOT_FOUND,
            ..
        }) => return Ok(None),
        answer => answer?,
    };
    let mut record: Record = serde_json::from_slice(&answer).map_err(not_ours)?;
    let decoded = record
        .body_base64
        .take()
        .and_then(|text| STANDARD.decode(text).ok());
    let body = record.body.take().map(String::into_bytes).or(decoded);
    Ok(Some((record, body.map(Bytes::from))))
}

fn no_record() -> Failed {
    Failed {
        status: StatusCode::NOT_FOUND,
        message: "The table has no record with this id; perhaps its retention is over.".to_owned(),
    }
}

/// The record that a request names. The id is in the query, since a browser resolves the ids `.` and `..` in a path.
#[derive(Deserialize)]
pub struct Named {
    id: String,
}

/// `GET /inspector/record?id=…`
pub async fn one(
    State(shared): State<Shared>,
    Query(Named { id: event_id }): Query<Named>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    let (record, body) = whole(&shared, &event_id).await?.ok_or_else(no_record)?;
    let contradicted = record.claimed_event_id.clone().filter(|_| record.is_conflict());
    let row = record.into_row(body.as_ref().map(Bytes::len));
    let mut detail = Detail::of(row, body.as_deref().unwrap_or_default());
    detail.is_complete = body.is_some();
    if let (Some(id), Some(body)) = (contradicted, &body) {
        detail.first = detail::compared(&shared, &id, body).await;
    }
    if let (Some(keys), Some(body)) = (shared.inspector.keys(), &body) {
        // The table keeps no headers, so the command has a new signature. The record shows that the body was signed.
        let signature = keys.secret().sign(body).to_string();
        let headers_of = Headers::signed(&signature);
        detail.curl = Some(curl::command(
            &detail::webhook(&headers),
            &headers_of,
            body,
            |_| false,
        ));
        detail.can_replay = true;
    }
    Ok(Json(detail).into_response())
}

/// `GET /inspector/record/body?id=…`
pub async fn body(
    State(shared): State<Shared>,
    Query(Named { id: event_id }): Query<Named>,
) -> Result<Response, Failed> {
    let (_, body) = whole(&shared, &event_id).await?.ok_or_else(no_record)?;
    Ok(detail::file(body.unwrap_or_default()))
}
