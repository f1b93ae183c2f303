//! Where `results`, `event` and `tail` read: a receiver on this machine, or the table of a deployment.
//! Both are the receiver's own reads; over a table its router runs in this process.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Uri};
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;
use sonotheia_webhook::router::router;
use sonotheia_webhook::timestamp::{Parsed, Timestamp};
use tower::ServiceExt;
use ureq::Agent;

use crate::client::{self, Answer, encode};
use crate::failure::Failure;
use crate::show::Row;
use crate::table::Account;

/// The most of an answer that is read: more than a page of the largest bodies.
const MAX_ANSWER_BYTES: u64 = 1 << 26;

/// The most that a page holds.
const MAX_PAGE: usize = 100;

/// A receiver, or a table.
#[derive(Args)]
pub struct Place {
    /// A receiver that asks for no credentials: `cargo sonotheia serve`
    #[arg(long, default_value = "http://127.0.0.1:8080", value_parser = client::base, conflicts_with_all = ["table", "region", "dynamodb"])]
    url: Uri,
    /// The table of a deployment, read with the usual AWS credentials
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
    #[command(flatten)]
    pub account: Account,
}

impl Place {
    /// Connects.
    ///
    /// # Errors
    /// The table's, where there is none or it may not be read.
    pub async fn open(&self) -> Result<Reader, Failure> {
        let Some(table) = &self.table else {
            if self.account.is_embedded() {
                crate::args::usage("--dynamodb needs --table; `serve` prints both");
            }
            return Ok(Reader::Receiver {
                agent: client::config(&self.url).build().into(),
                url: self.url.clone(),
            });
        };
        let app = self.account.app(table).await?;
        Ok(Reader::Table {
            router: router(app),
            table: table.clone(),
        })
    }
}

/// What is read from.
pub enum Reader {
    Receiver { agent: Agent, url: Uri },
    Table { router: Router, table: String },
}

/// What the receiver says of a failure.
#[derive(Default, Deserialize)]
struct Told {
    message: Option<String>,
}

impl Reader {
    /// One of the receiver's reads; a 404 is none.
    ///
    /// # Errors
    /// No answer, one that is an error, one that is not the receiver's.
    pub async fn get(&self, path_and_query: &str) -> Result<Option<Vec<u8>>, Failure> {
        let (from, Answer { status, body, .. }) = match self {
            Self::Receiver { agent, url } => {
                let url = client::join(url, path_and_query);
                let sent = agent.get(&url).call();
                let answer = Answer::read(&url, sent, MAX_ANSWER_BYTES)?;
                (url.to_string(), answer)
            }
            Self::Table { router, table } => {
                let request = Request::get(path_and_query).body(Body::empty());
                let request = request.map_err(|_| Failure::NotARead {
                    text: path_and_query.to_owned(),
                })?;
                let Ok(response) = router.clone().oneshot(request).await;
                let status = response.status().as_u16();
                // The router's bodies are whole and in memory.
                let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
                let answer = Answer {
                    status,
                    date: None,
                    body: body.map(Into::into).unwrap_or_default(),
                };
                (format!("table {table}"), answer)
            }
        };
        match status {
            200 => Ok(Some(body)),
            404 if is_ours(&body) => Ok(None),
            _ => {
                let told: Told = serde_json::from_slice(&body).unwrap_or_default();
                Err(Failure::Answered {
                    from,
                    status,
                    message: told.message,
                })
            }
        }
    }

    /// Records of a listing, newest first, until there are `limit` that pass, or no more.
    ///
    /// # Errors
    /// As [`get`](Self::get), for any page: a part is not taken for the whole.
    pub async fn list(&self, query: &Query, limit: usize) -> Result<Listing, Failure> {
        let mut listing = Listing::default();
        let mut cursor: Option<String> = None;
        loop {
            let page = self
                .page(query, limit - listing.found.len(), cursor.as_deref())
                .await?;
            let Some(page) = page else { return Ok(listing) };
            for raw in page.results {
                let row = serde_json::from_str(raw.get()).map_err(|_| Failure::NotOurs)?;
                if !query.alerts || is_alert(&row) {
                    listing.found.push(Found { row, raw });
                }
            }
            listing.more = page.next.is_some() || listing.found.len() > limit;
            listing.found.truncate(limit);
            if page.next.is_some() && page.next == cursor {
                return Err(Failure::Endless);
            }
            cursor = page.next;
            if cursor.is_none() || listing.found.len() == limit {
                return Ok(listing);
            }
        }
    }

    async fn page(
        &self,
        query: &Query,
        wanted: usize,
        cursor: Option<&str>,
    ) -> Result<Option<Page>, Failure> {
        // Of a page that is filtered here, any number may pass.
        let size = if query.alerts {
            MAX_PAGE
        } else {
            wanted.min(MAX_PAGE)
        };
        let mut path = query.path();
        path.push_str(&format!("limit={size}"));
        if let Some(cursor) = cursor {
            path.push_str(&format!("&cursor={}", encode(cursor)));
        }
        let body = self.get(&path).await?;
        body.map(|body| serde_json::from_slice(&body).map_err(|_| Failure::NotOurs))
            .transpose()
    }
}

fn is_ours(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Ours {
        code: String,
    }
    serde_json::from_slice(body).is_ok_and(|Ours { code }| code == "not_found")
}

fn is_alert(row: &Row) -> bool {
    row.alert.is_some()
}

#[derive(Deserialize)]
struct Page {
    results: Vec<Box<RawValue>>,
    next: Option<String>,
}

/// A record: what a line shows, and all of it as it was answered.
pub struct Found {
    pub row: Row,
    pub raw: Box<RawValue>,
}

/// Records, newest first.
#[derive(Default)]
pub struct Listing {
    pub found: Vec<Found>,
    /// Whether there may be more behind them.
    pub more: bool,
}

/// Which records a listing wants.
#[derive(Clone, Default)]
pub struct Query {
    pub session: Option<String>,
    pub event_type: Option<String>,
    pub outcome: Option<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// Only those that a person should see.
    pub alerts: bool,
}

impl Query {
    /// The path, up to where another parameter may follow.
    fn path(&self) -> String {
        if let Some(session) = &self.session {
            return format!("/results/{}?", encode(session));
        }
        let parameters = [
            ("type", self.event_type.clone()),
            ("outcome", self.outcome.clone()),
            ("from", self.from.map(|time| time.to_string())),
            ("to", self.to.map(|time| time.to_string())),
        ];
        let mut path = "/results?".to_owned();
        for (name, value) in parameters {
            if let Some(value) = value {
                path.push_str(&format!("{name}={}&", encode(&value)));
            }
        }
        path
    }
}

/// Reads a time: RFC 3339, or so long ago (`90s`, `15m`, `2h`, `7d`).
pub fn time(text: &str) -> Result<Timestamp, &'static str> {
    const FORM: &str = "a time looks like 2026-01-21T12:00:00Z, or like 15m, 2h or 7d, which is so long ago";
    if let Some(Parsed::Moment(time)) = Timestamp::parse(text) {
        return Ok(time);
    }
    let Some(unit) = text.chars().last() else {
        return Err(FORM);
    };
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(FORM),
    };
    let count: u32 = text[..text.len() - 1].parse().map_err(|_| FORM)?;
    let ago = i64::from(count) * seconds * 1000;
    let time = Timestamp::now().as_millis() - ago;
    // The years before this are not written with four digits.
    if time < -62_000_000_000_000 {
        Err(FORM)
    } else {
        Ok(Timestamp::from_millis(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_or_so_long_ago() {
        assert_eq!(
            time("2026-01-21T12:00:00Z")
                .map(|time| time.to_string())
                .as_deref(),
            Ok("2026-01-21T12:00:00.000Z")
        );
        let ago = Timestamp::now().as_millis() - time("2h").expect("a time").as_millis();
        assert!((7_200_000..7_260_000).contains(&ago), "{ago}");
        for text in [
            "",
            "2",
            "h",
            "-1h",
            "2 weeks",
            "2026-01-21",
            "2026-01-21T12:00:00",
            "é",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
