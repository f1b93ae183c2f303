//! The reads: one event, a session, all records (contract, section 3).
//!
//! A page of a session costs one bounded query, and a page of all records costs one for each shard. A page may hold fewer
//! records than `limit`, even none, and still have a `next`.

mod cursor;
mod query;

use std::future::Future;
use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use futures_util::future::try_join_all;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::app::App;
use crate::deadline;
use crate::error::{HttpError, json};
use crate::event::{Payload, Problem};
use crate::store::schema::SHARDS;
use crate::store::{Page, Position, Record};
use crate::telemetry::Invocation;
use crate::timestamp::Timestamp;
use cursor::{Cursor, Progress, Shards, merge};
use query::{MAX_LIMIT, Query};

/// The most payload of a page, in bytes. Lambda's limit of an answer is 6 MB, and JSON can double the size of a body.
const MAX_PAGE_BYTES: usize = 2_500_000;

/// `GET /events/{event_id}`
pub async fn event(
    State(app): State<Arc<App>>,
    Extension(invocation): Extension<Invocation>,
    event_id: Result<Path<String>, PathRejection>,
) -> Response {
    answer(&invocation, async {
        let what = "event with this id";
        let event_id = id(event_id, what)?;
        // DynamoDB allows no empty key and no key over 2048 bytes, and no event has such an id.
        let record = match event_id.len() {
            1..=512 => app.store.get(&event_id).await?,
            _ => None,
        };
        let alive = record.filter(|record| record.expires_at > Timestamp::now());
        let record = alive.ok_or(HttpError::NotFound { what })?;
        json(&Shown::whole(&record))
    })
    .await
}

/// `GET /results/{session_id}`
pub async fn session(
    State(app): State<Arc<App>>,
    Extension(invocation): Extension<Invocation>,
    session_id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Response {
    #[derive(Serialize)]
    struct Body<'a> {
        session_id: &'a str,
        count: usize,
        results: Vec<Shown<'a>>,
        next: Option<String>,
    }
    answer(&invocation, async {
        let what = "result for this session";
        let session_id = id(session_id, what)?;
        let query = Query::parse(query.as_deref(), &["limit", "cursor"])?;
        let (limit, cursor) = (query.limit()?, query.cursor::<Position>()?);
        let is_first = cursor.is_none();
        let page = match session_id.len() {
            1..=1024 => {
                let store = &app.store;
                store
                    .by_session(&session_id, limit, cursor, Timestamp::now(), MAX_PAGE_BYTES)
                    .await?
            }
            _ => Page {
                records: Vec::new(),
                next: None,
            },
        };
        if is_first && page.records.is_empty() && page.next.is_none() {
            return Err(HttpError::NotFound { what });
        }
        json(&Body {
            session_id: &session_id,
            count: page.records.len(),
            results: page.records.iter().map(Shown::whole).collect(),
            next: page.next.map(|position| position.encode()),
        })
    })
    .await
}

/// `GET /results`
pub async fn all(
    State(app): State<Arc<App>>,
    Extension(invocation): Extension<Invocation>,
    RawQuery(query): RawQuery,
) -> Response {
    #[derive(Serialize)]
    struct Body<'a> {
        count: usize,
        results: Vec<Shown<'a>>,
        next: Option<String>,
    }
    answer(&invocation, async {
        let query = Query::parse(
            query.as_deref(),
            &["type", "outcome", "from", "to", "limit", "cursor"],
        )?;
        let filter = query.filter()?;
        let limit = query.limit()?;
        let cursor = query.cursor::<Shards>()?.unwrap_or_else(Shards::start);
        cursor.check(&filter)?;

        let now = Timestamp::now();
        // DynamoDB's limit counts records before the filter, so a filter would make many empty pages.
        let narrow = filter.event_type.is_some() || filter.outcome.is_some();
        let looked_at = if narrow { MAX_LIMIT } else { limit };
        let pages = (0..SHARDS).zip(&cursor.0).map(|(shard, progress)| {
            let (app, filter) = (&app, &filter);
            async move {
                let start = match progress {
                    Progress::Start => None,
                    Progress::After(position) => Some(position.clone()),
                    Progress::Done => {
                        return Ok(Page {
                            records: Vec::new(),
                            next: None,
                        });
                    }
                };
                app.store.by_time(shard, filter, looked_at, start, now).await
            }
        });
        let (records, next) = merge(cursor.0.clone(), try_join_all(pages).await?, limit.into());
        json(&Body {
            count: records.len(),
            results: records.iter().map(Shown::summary).collect(),
            next: next.map(|shards| shards.encode()),
        })
    })
    .await
}

/// Reads an id from the path. No record has an id that is not UTF-8.
fn id(path: Result<Path<String>, PathRejection>, what: &'static str) -> Result<String, HttpError> {
    path.map(|Path(id)| id).map_err(|_| HttpError::NotFound { what })
}

async fn answer(invocation: &Invocation, body: impl Future<Output = Result<String, HttpError>>) -> Response {
    let result = tokio::time::timeout(deadline::REQUEST, body)
        .await
        .unwrap_or_else(|_| Err(HttpError::deadline()));
    match result {
        Ok(body) => body.into_response(),
        Err(error) => error.into_response(invocation),
    }
}

/// A record as the reads show it.
#[derive(Serialize)]
struct Shown<'a> {
    event_id: &'a str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    event_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    occurred_at: Option<&'a str>,
    received_at: &'a str,
    expires_at: String,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    problems: &'a [Problem],
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
}

impl<'a> Shown<'a> {
    fn whole(record: &'a Record) -> Self {
        let payload = record.body.as_deref().map(Payload::parse).unwrap_or_default();
        Self {
            data: payload.data,
            metadata: payload.metadata,
            ..Self::summary(record)
        }
    }

    fn summary(record: &'a Record) -> Self {
        Self {
            event_id: &record.event_id,
            event_type: record.event_type.as_deref(),
            session_id: record.session_id.as_deref(),
            occurred_at: record.occurred_at.as_deref(),
            received_at: &record.received_at,
            expires_at: record.expires_at.to_string(),
            outcome: record.outcome.as_str(),
            reason: record.reason.as_deref(),
            problems: &record.problems,
            alert: record.alert.as_deref(),
            data: None,
            metadata: None,
        }
    }
}
