//! The whole of one delivery or record, for the part of the page that opens below its row.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::compare::{self, Line};
use super::delivery::{Delivery, Headers, Row};
use super::pretty::{self, Shown};
use super::{Shared, curl, hex_dump, history};

/// Headers whose values are credentials of some other system.
const CREDENTIALS: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "x-api-key"];

/// The first event with the id of a conflict, and the differences.
#[derive(Serialize)]
pub struct First {
    received_at: String,
    /// `None` if the two cannot be compared line by line.
    lines: Option<Vec<Line>>,
}

/// A delivery or a record as a whole.
#[derive(Serialize)]
pub struct Detail {
    pub row: Row,
    /// Name and value. Empty for a record: the table has no headers.
    pub headers: Vec<(String, String)>,
    /// The number of headers that are cut or left out.
    pub headers_cut: usize,
    pub body: Shown,
    /// The first bytes, as hex digits and text.
    pub hex: String,
    pub hex_is_cut: bool,
    pub is_complete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curl: Option<String>,
    pub can_replay: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<First>,
}

impl Detail {
    /// The parts that a body gives.
    pub fn of(row: Row, body: &[u8]) -> Self {
        Self {
            row,
            headers: Vec::new(),
            headers_cut: 0,
            body: pretty::readable(body),
            hex: hex_dump::hex_dump(body),
            hex_is_cut: body.len() > hex_dump::MAX_BYTES,
            is_complete: true,
            answer: None,
            curl: None,
            can_replay: false,
            first: None,
        }
    }
}

/// `GET /inspector/deliveries/{n}`
pub async fn delivery(State(shared): State<Shared>, Path(n): Path<u64>, headers: HeaderMap) -> Response {
    let Some(delivery) = shared.inspector.kept.get(n) else {
        return gone();
    };
    let hidden = |value: &str| shared.inspector.keys().is_some_and(|keys| keys.is_in(value));
    let mut detail = Detail::of(delivery.row.clone(), &delivery.body);
    detail.headers = shown_headers(&delivery.headers, hidden);
    detail.headers_cut = delivery.headers.cut;
    detail.is_complete = delivery.is_complete;
    detail.answer = Some(pretty::readable(&delivery.answer));
    if delivery.is_complete {
        let url = webhook(&headers);
        detail.curl = Some(curl::command(&url, &delivery.headers, &delivery.body, hidden));
        detail.can_replay = true;
    }
    detail.first = first(&shared, &delivery).await;
    Json(detail).into_response()
}

/// The address of the webhook, as the browser reaches it.
pub fn webhook(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    format!("http://{}/webhook", host.unwrap_or("127.0.0.1:8080"))
}

/// Names and values, without the secret and other credentials.
fn shown_headers(headers: &Headers, hidden: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let shown = |(name, value): &(HeaderName, HeaderValue)| {
        let text = String::from_utf8_lossy(value.as_bytes());
        let value = if CREDENTIALS.contains(&name.as_str()) {
            "(hidden: credentials)".to_owned()
        } else if hidden(&text) {
            "(hidden: this is the secret itself; send a signature)".to_owned()
        } else {
            crate::show::clean(&text)
        };
        (name.to_string(), value)
    };
    headers.kept.iter().map(shown).collect()
}

async fn first(shared: &Shared, delivery: &Delivery) -> Option<First> {
    if delivery.row.outcome != "conflict" {
        return None;
    }
    compared(shared, delivery.row.event_id.as_deref()?, &delivery.body).await
}

/// The accepted record with this id, compared with a body that contradicts it.
pub async fn compared(shared: &Shared, event_id: &str, body: &[u8]) -> Option<First> {
    let (record, first) = history::whole(shared, event_id).await.ok()??;
    Some(First {
        received_at: record.received_at,
        lines: compare::compare(&first?, body),
    })
}

/// `GET /inspector/deliveries/{n}/body`: the bytes, to be saved in a file.
pub async fn delivery_body(State(shared): State<Shared>, Path(n): Path<u64>) -> Response {
    match shared.inspector.kept.get(n) {
        Some(delivery) => file(delivery.body.clone()),
        None => gone(),
    }
}

/// Bytes that the browser saves and never shows.
pub fn file(bytes: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"body\""),
    ];
    (headers, bytes).into_response()
}

fn gone() -> Response {
    let error = json!({"error": "The inspector no longer keeps this delivery. If it was signed, the table has its record."});
    (StatusCode::NOT_FOUND, Json(error)).into_response()
}

#[derive(Deserialize)]
pub struct Search {
    text: String,
}

/// `GET /inspector/search?text=…`: the numbers of the deliveries whose body has the text, in any case of letters.
pub async fn search(State(shared): State<Shared>, Query(search): Query<Search>) -> Response {
    let wanted = search.text.to_lowercase();
    let all = shared.inspector.kept.all();
    let found = tokio::task::spawn_blocking(move || {
        let has = |delivery: &Delivery| {
            String::from_utf8_lossy(&delivery.body)
                .to_lowercase()
                .contains(&wanted)
        };
        let found = all.iter().filter(|delivery| has(delivery));
        found.map(|delivery| delivery.number()).collect::<Vec<_>>()
    });
    Json(found.await.unwrap_or_default()).into_response()
}
