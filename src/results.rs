//! The reads: one event, a session, all (contract, section 3). Each page costs one bounded query, or
//! one a shard; a page may hold fewer than `limit`, even none, and still have a `next`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::try_join_all;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::app::App;
use crate::aws::REQUEST_DEADLINE;
use crate::error::{Failure, json};
use crate::event::{Payload, Problem};
use crate::store::{Filter, Outcome, Page, Position, Record, SHARDS};
use crate::telemetry::Invocation;
use crate::timestamp::{Parsed, Timestamp};

/// How much payload a page may hold: Lambda's answer is 6 MB at most, and quoting can double it.
const MAX_PAGE_BYTES: usize = 2_500_000;

const DEFAULT_LIMIT: u8 = 25;
const MAX_LIMIT: u8 = 100;

/// `GET /events/{event_id}`
pub async fn event(
    State(app): State<Arc<App>>,
    Extension(invocation): Extension<Invocation>,
    event_id: Result<Path<String>, PathRejection>,
) -> Response {
    answer(&invocation, async {
        let what = "event with this id";
        let event_id = id(event_id, what)?;
        // DynamoDB takes no empty key, nor one over 2048 bytes; no event has such an id either.
        let record = match event_id.len() {
            1..=512 => app.store.get(&event_id).await?,
            _ => None,
        };
        let alive = record.filter(|record| record.expires_at > Timestamp::now());
        let record = alive.ok_or(Failure::NotFound { what })?;
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
            return Err(Failure::NotFound { what });
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
        // DynamoDB counts what it looks at and not what passes: a narrow filter would make for empty pages.
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

/// An id out of a path. Bytes that are no text are nobody's.
fn id(path: Result<Path<String>, PathRejection>, what: &'static str) -> Result<String, Failure> {
    path.map(|Path(id)| id).map_err(|_| Failure::NotFound { what })
}

async fn answer(invocation: &Invocation, body: impl Future<Output = Result<String, Failure>>) -> Response {
    let result = tokio::time::timeout(REQUEST_DEADLINE, body)
        .await
        .unwrap_or_else(|_| Err(Failure::deadline()));
    match result {
        Ok(body) => body.into_response(),
        Err(failure) => failure.into_response(invocation),
    }
}

/// A record as a reader sees it.
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

/// A query string whose parameters are known and there once.
struct Query<'a>(HashMap<Cow<'a, str>, Cow<'a, str>>);

impl<'a> Query<'a> {
    fn parse(query: Option<&'a str>, known: &[&str]) -> Result<Self, Failure> {
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&&*name) {
                return Err(invalid(&name, format!("is not one of {}", known.join(", "))));
            }
            if parameters.contains_key(&name) {
                return Err(invalid(&name, "is there more than once"));
            }
            parameters.insert(name, value);
        }
        Ok(Self(parameters))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| &**value)
    }

    fn limit(&self) -> Result<u8, Failure> {
        let Some(limit) = self.get("limit") else {
            return Ok(DEFAULT_LIMIT);
        };
        // `parse` alone would take a plus sign.
        let is_digits = limit.bytes().all(|byte| byte.is_ascii_digit());
        let number = limit
            .parse()
            .ok()
            .filter(|n| is_digits && (1..=MAX_LIMIT).contains(n));
        number.ok_or_else(|| invalid("limit", "is not a number from 1 to 100"))
    }

    fn cursor<C: Cursor>(&self) -> Result<Option<C>, Failure> {
        let bad = || invalid("cursor", "is not one that `next` gave for this query");
        self.get("cursor")
            .map(|cursor| C::decode(cursor).ok_or_else(bad))
            .transpose()
    }

    fn time(&self, name: &str) -> Result<Option<Timestamp>, Failure> {
        match self.get(name).map(Timestamp::parse) {
            None => Ok(None),
            Some(Some(Parsed::Moment(time))) => Ok(Some(time)),
            Some(_) => Err(invalid(
                name,
                "is not a time in RFC 3339, such as 2026-01-21T12:00:00Z",
            )),
        }
    }

    fn filter(&self) -> Result<Filter, Failure> {
        let outcome = self.get("outcome").map(|name| {
            Outcome::from_name(name).ok_or_else(|| invalid("outcome", "is neither `accepted` nor `rejected`"))
        });
        let event_type = match self.get("type") {
            Some(name) if name.is_empty() || name.len() > 256 => {
                return Err(invalid("type", "is empty, or longer than 256 bytes"));
            }
            name => name.map(str::to_owned),
        };
        let (from, to) = (self.time("from")?, self.time("to")?);
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            return Err(invalid("from", "is after `to`"));
        }
        Ok(Filter {
            event_type,
            outcome: outcome.transpose()?,
            from,
            to,
        })
    }
}

fn invalid(parameter: &str, fault: impl Into<String>) -> Failure {
    Failure::InvalidQuery {
        // What is not a name of ours may be anything.
        parameter: parameter.chars().take(64).collect(),
        fault: fault.into(),
    }
}

/// How far a query over all has come in one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    Start,
    After(Position),
    Done,
}

/// How far it has come in all of them: a cursor of `GET /results`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shards(Vec<Progress>);

impl Shards {
    fn start() -> Self {
        Self(vec![Progress::Start; SHARDS.into()])
    }

    /// DynamoDB refuses to start outside of what is asked for.
    fn check(&self, filter: &Filter) -> Result<(), Failure> {
        let (from, to) = filter.bounds();
        let outside = |progress: &Progress| match progress {
            Progress::After(position) => position.received_at < from || position.received_at > to,
            Progress::Start | Progress::Done => false,
        };
        if self.0.iter().any(outside) {
            return Err(invalid(
                "cursor",
                "belongs to a query with another `from` or `to`",
            ));
        }
        Ok(())
    }
}

/// One page out of a page of every shard, newest first.
///
/// A shard that has more beyond its page may have records right behind the page's end, so nothing
/// older than the newest of those ends is taken yet. The shard whose end that is has its page taken
/// whole, so that every round goes on.
fn merge(mut progress: Vec<Progress>, pages: Vec<Page>, limit: usize) -> (Vec<Record>, Option<Shards>) {
    let ends = pages.iter().filter_map(|page| page.next.as_ref());
    let frontier = ends.map(|end| end.received_at.clone()).max();

    let mut nexts = Vec::with_capacity(pages.len());
    let mut candidates = Vec::new();
    let mut left = Vec::with_capacity(pages.len());
    for (shard, page) in pages.into_iter().enumerate() {
        left.push(page.records.len());
        nexts.push(page.next);
        candidates.extend(page.records.into_iter().map(|record| (shard, record)));
    }
    // Stable: records of one shard keep the index's order where their times are the same.
    candidates.sort_by(|(_, a), (_, b)| b.received_at.cmp(&a.received_at));
    let taken = candidates
        .iter()
        .take(limit)
        .take_while(|(_, record)| frontier.as_ref().is_none_or(|end| record.received_at >= *end))
        .count();
    candidates.truncate(taken);

    for (shard, record) in &candidates {
        left[*shard] -= 1;
        progress[*shard] = Progress::After(Position {
            received_at: record.received_at.clone(),
            event_id: record.event_id.clone(),
        });
    }
    for ((progress, next), left) in progress.iter_mut().zip(nexts).zip(left) {
        if left == 0 && *progress != Progress::Done {
            *progress = next.map_or(Progress::Done, Progress::After);
        }
    }
    let done = progress.iter().all(|progress| *progress == Progress::Done);
    let records = candidates.into_iter().map(|(_, record)| record).collect();
    (records, (!done).then_some(Shards(progress)))
}

/// A place to go on from, as text that only this module reads.
trait Cursor: Sized {
    fn pack(&self) -> String;
    fn unpack(text: &str) -> Option<Self>;

    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.pack())
    }

    fn decode(cursor: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        Self::unpack(std::str::from_utf8(&bytes).ok()?)
    }
}

impl Cursor for Position {
    fn pack(&self) -> String {
        format!("{} {}", self.received_at, self.event_id)
    }

    fn unpack(text: &str) -> Option<Self> {
        let (received_at, event_id) = text.split_once(' ')?;
        let time = match Timestamp::parse(received_at)? {
            Parsed::Moment(time) => time,
            Parsed::WithoutOffset(_) => return None,
        };
        // Ids have no control characters; a cursor over all records, which is lines of these, has.
        let ours = time.to_string() == received_at
            && (1..=512).contains(&event_id.len())
            && !event_id.contains(char::is_control);
        ours.then(|| Self {
            received_at: received_at.to_owned(),
            event_id: event_id.to_owned(),
        })
    }
}

/// A line a shard: empty at the start, `.` at the end.
impl Cursor for Shards {
    fn pack(&self) -> String {
        let line = |progress: &Progress| match progress {
            Progress::Start => String::new(),
            Progress::After(position) => position.pack(),
            Progress::Done => ".".to_owned(),
        };
        let lines: Vec<_> = self.0.iter().map(line).collect();
        lines.join("\n")
    }

    fn unpack(text: &str) -> Option<Self> {
        let progress = |line| match line {
            "" => Some(Progress::Start),
            "." => Some(Progress::Done),
            position => Position::unpack(position).map(Progress::After),
        };
        let shards: Option<Vec<_>> = text.split('\n').map(progress).collect();
        shards
            .filter(|shards| shards.len() == usize::from(SHARDS))
            .map(Self)
    }
}
