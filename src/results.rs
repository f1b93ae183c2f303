//! The reads: one event, a session, all records (contract, section 3).
//!
//! A page of a session costs one bounded query, and a page of all records costs one for each shard. A page may hold fewer
//! records than `limit`, even none, and still have a `next`.

mod cursor;
mod query;
mod session;
mod shown;

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
use crate::error::{HttpError, json};
use crate::event::{MAX_NAME_BYTES, MAX_SESSION_BYTES};
use crate::store::{Position, Record, StoreError};
use crate::telemetry::Invocation;
pub use query::{ALL_PARAMETERS, DEFAULT_LIMIT, EVENT_PARAMETERS, MAX_LIMIT, SESSION_PARAMETERS};

use cursor::{Cursor, merge};
use query::Query;
use shown::{MAX_ANSWER, Shown, cost};

/// `GET /events/{event_id}`
pub async fn event(
    State(app): State<Arc<App>>,
    Extension(invocation): Extension<Invocation>,
    event_id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Response {
    answer(&app, &invocation, async {
        let what = "event with this id";
        let event_id = id(event_id, what)?;
        let include_body = Query::parse(query.as_deref(), EVENT_PARAMETERS)?.include_body()?;
        // DynamoDB allows no empty key and no key over 2048 bytes, and no record has a key over `MAX_NAME_BYTES`.
        let record = match event_id.len() {
            1..=MAX_NAME_BYTES => app.store.get(&event_id).await?,
            _ => None,
        };
        let alive = record.filter(|record| record.expires_at > app.sources.now());
        let record = alive.ok_or(HttpError::NotFound { what })?;
        shown::fitted(&record, include_body)
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
        results: Vec<Box<RawValue>>,
        next: Option<String>,
    }
    answer(&app, &invocation, async {
        let what = "result for this session";
        let session_id = id(session_id, what)?;
        let query = Query::parse(query.as_deref(), SESSION_PARAMETERS)?;
        let (limit, cursor) = (query.limit()?, query.cursor::<Position>()?);
        let is_first = cursor.is_none();
        let (places, next) = match session_id.len() {
            1..=MAX_SESSION_BYTES => {
                let now = app.sources.now();
                app.store.by_session(&session_id, limit, cursor, now).await?
            }
            // No index key has this length.
            _ => (Vec::new(), None),
        };
        let page = session::read(&app.store, &places).await?;
        let next = page.cut.or(next);
        if is_first && page.results.is_empty() && next.is_none() {
            return Err(HttpError::NotFound { what });
        }
        json(&Body {
            session_id: &session_id,
            count: page.results.len(),
            results: page.results,
            next: next.map(|position| position.encode()),
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
    answer(&app, &invocation, async {
        let query = Query::parse(query.as_deref(), ALL_PARAMETERS)?;
        let filter = query.filter()?;
        let limit = query.limit()?;
        let cursor = query.shards(&filter)?;

        let now = app.sources.now();
        // DynamoDB's limit counts records before the filter, so a filter would make many empty pages.
        let narrow = filter.event_type.is_some() || filter.outcome.is_some();
        let looked_at = if narrow {
            MAX_LIMIT
        } else {
            records_of_a_shard(limit)
        };
        let pages = cursor.open().map(async |(shard, start)| {
            let store = &app.store;
            let page = store.by_time(shard, &filter, &cursor.until, looked_at, start, now);
            Ok::<_, StoreError>((shard, page.await?))
        });
        let pages = try_join_all(pages).await?;
        let mut used = 0;
        let fits = |record: &Record| {
            used += json(&Shown::summary(record)).map_or(0, |json| cost(&json));
            used <= MAX_ANSWER
        };
        let (records, next) = merge(cursor, pages, limit.into(), fits);
        json(&Body {
            count: records.len(),
            results: records.iter().map(Shown::summary).collect(),
            next: next.map(|shards| shards.encode()),
        })
    })
    .await
}

/// The number of records to read from each shard for a page of `limit` records.
///
/// The shard of a record is random, so each shard has about a sixteenth of the newest records. A shard has more of them than this
/// number in less than one of 10^15 pages. Such a page holds fewer records than `limit`, and its `next` continues there. Expired
/// records that DynamoDB has not deleted yet have the same effect.
fn records_of_a_shard(limit: u8) -> u8 {
    (limit / 4 + 12).min(limit)
}

/// Reads an id from the path. No record has an id that is not UTF-8.
fn id(path: Result<Path<String>, PathRejection>, what: &'static str) -> Result<String, HttpError> {
    path.map(|Path(id)| id).map_err(|_| HttpError::NotFound { what })
}

async fn answer(
    app: &App,
    invocation: &Invocation,
    body: impl Future<Output = Result<String, HttpError>>,
) -> Response {
    let result = tokio::time::timeout(app.time_for_request(app.sources.now()), body)
        .await
        .unwrap_or_else(|_| Err(HttpError::deadline()));
    match result {
        Ok(body) => body.into_response(),
        Err(error) => error.into_response(invocation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema::SHARDS;

    #[test]
    fn a_shard_has_more_records_of_a_page_than_are_read_once_in_10_to_the_power_of_15_pages() {
        let p = 1.0 / f64::from(SHARDS);
        for limit in 1..=MAX_LIMIT {
            let read = records_of_a_shard(limit);
            assert!((1..=limit).contains(&read));
            // The chance that a shard has exactly `n` of the newest `limit` records (binomial distribution).
            let mut chance = (1.0 - p).powi(limit.into());
            let mut more = 0.0;
            for n in 0..=limit {
                if n > read {
                    more += chance;
                }
                chance *= f64::from(limit - n) / f64::from(n + 1) * p / (1.0 - p);
            }
            assert!(more * f64::from(SHARDS) < 1e-15, "{limit}: {more}");
        }
    }
}
