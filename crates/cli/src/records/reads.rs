//! The place that `results`, `event` and `tail` read from: a receiver, or the table of a deployment.
//!
//! Both give the receiver's own answers. Over a table, the receiver's router runs in this process.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Uri};
use clap::Args;
use serde::Deserialize;
use sonotheia_webhook::router::router;
use tower::ServiceExt;
use ureq::Agent;

use crate::address::{Address, join};
use crate::client::{self, Answer};
use crate::failure::Failure;
use crate::interrupt::blocking;
use crate::remote::RemoteError;
use crate::table::Account;

/// The largest answer that a command reads: more than a page of the largest bodies.
const MAX_ANSWER_BYTES: u64 = 1 << 26;

/// The list of all records. A receiver with reads always answers it with 200.
pub const RESULTS: &str = "/results";

/// A receiver, or a table.
#[derive(Args)]
pub struct Place {
    /// A receiver that asks for no credentials: the address that `serve` prints, with or without /webhook
    #[arg(long, default_value = "http://127.0.0.1:8080", value_parser = Address::parse, conflicts_with_all = ["table", "region", "dynamodb"])]
    url: Address,
    /// The table of a deployment, read with the usual AWS credentials
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
    #[command(flatten)]
    pub account: Account,
}

impl Place {
    /// The address of the receiver, which counts if there is no table.
    pub fn url(&self) -> &Uri {
        self.url.base()
    }

    /// The place in words that differ for each place: the table, or the receiver's address.
    ///
    /// # Errors
    /// The table cannot be described.
    pub async fn name(&self) -> Result<String, Failure> {
        Ok(match &self.table {
            Some(table) => self.account.name(table).await?,
            None => format!("the receiver {}", self.url.base()),
        })
    }

    /// Connects to the table, or prepares requests to the receiver.
    ///
    /// # Errors
    /// The table's, if it does not exist or these credentials cannot read it.
    pub async fn open(&self) -> Result<Reader, Failure> {
        let Some(table) = &self.table else {
            if self.account.is_embedded() {
                crate::args::usage("--dynamodb needs --table; `serve` prints both");
            }
            if self.account.region.is_some() {
                crate::args::usage("--region needs --table");
            }
            let url = self.url.base().clone();
            client::check(&url)?;
            return Ok(Reader::Receiver {
                agent: client::agent(client::config(&url).build()),
                url,
            });
        };
        let app = self.account.app(table).await?;
        Ok(Reader::Table {
            router: router(app),
            table: table.clone(),
        })
    }
}

/// The reads of a receiver.
pub enum Reader {
    /// A receiver with an address.
    Receiver { agent: Agent, url: Uri },
    /// A receiver in this process, over a table.
    Table { router: Router, table: String },
}

/// The parts of an error's body that a command uses.
#[derive(Default, Deserialize)]
struct ErrorBody {
    code: Option<String>,
    message: Option<String>,
}

impl Reader {
    /// Reads the list of all records, with a query.
    ///
    /// # Errors
    /// There is no answer, or it is an error, or it is not the receiver's.
    pub async fn all(&self, query: &str) -> Result<Vec<u8>, Failure> {
        match self.ask(&format!("{RESULTS}?{query}")).await? {
            Asked::Body(body) => Ok(body),
            Asked::NotFound { from } => Err(RemoteError::NoReads { from, path: RESULTS }.into()),
        }
    }

    /// Reads a record or a session. `None` if it does not exist.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub async fn get(&self, path_and_query: &str) -> Result<Option<Vec<u8>>, Failure> {
        let Asked::NotFound { .. } = (match self.ask(path_and_query).await? {
            Asked::Body(body) => return Ok(Some(body)),
            other => other,
        }) else {
            return Ok(None);
        };
        // A receiver without this path gives the same code. Only the list of all records always exists.
        match self.ask(&format!("{RESULTS}?limit=1")).await {
            Ok(Asked::NotFound { from }) => Err(RemoteError::NoReads { from, path: RESULTS }.into()),
            _ => Ok(None),
        }
    }

    async fn ask(&self, path_and_query: &str) -> Result<Asked, Failure> {
        let (from, status, body) = match self {
            Self::Receiver { agent, url } => {
                let (agent, url) = (agent.clone(), join(url, path_and_query));
                let from = url.to_string();
                let read = move || Answer::read(&url, agent.get(&url).call(), MAX_ANSWER_BYTES);
                let answer = blocking(read).await?;
                (from, answer.status, answer.body)
            }
            Self::Table { router, table } => {
                let request = Request::get(path_and_query).body(Body::empty());
                let request = request.map_err(|_| RemoteError::NotARead {
                    text: path_and_query.to_owned(),
                })?;
                let Ok(response) = router.clone().oneshot(request).await;
                let status = response.status().as_u16();
                // The router's bodies are in memory.
                let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
                let body = body.map(Vec::from).unwrap_or_default();
                (format!("table {table}"), status, body)
            }
        };
        if status == 200 {
            return Ok(Asked::Body(body));
        }
        let error: ErrorBody = serde_json::from_slice(&body).unwrap_or_default();
        if status == 404 && error.code.as_deref() == Some("not_found") {
            return Ok(Asked::NotFound { from });
        }
        Err(RemoteError::Answered {
            from,
            status,
            message: error.message,
        }
        .into())
    }
}

/// The receiver's answer to a read.
enum Asked {
    Body(Vec<u8>),
    /// The receiver has no such record, or no such path.
    NotFound {
        from: String,
    },
}
