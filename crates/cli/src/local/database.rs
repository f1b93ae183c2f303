//! The embedded DynamoDB, behind a guard.
//!
//! The emulator lets the pages of all sites read and write: it takes any Host, and answers with
//! `Access-Control-Allow-Origin: *`. So the emulator listens on a port of a loopback address that no page can guess, and the
//! announced port passes on the requests of programs on this machine only.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use emulators::DynamoDb;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::guard::Guard;
use crate::address;
use crate::failure::Failure;

/// The embedded DynamoDB.
pub struct Database {
    emulator: DynamoDb,
    endpoint: String,
    front: JoinHandle<()>,
}

/// The way from the announced port to the emulator.
struct Front {
    client: Client<HttpConnector, Body>,
    emulator: Uri,
}

impl Database {
    /// Starts the emulator, in memory or in a file. `listener` has the port for other programs.
    ///
    /// # Errors
    /// [`Failure::Data`] if the emulator cannot use the file.
    pub async fn start(listener: TcpListener, data: Option<&Path>) -> Result<Self, Failure> {
        let endpoint = format!("http://{}", listener.local_addr().map_err(Failure::Serve)?);
        let hidden = hidden().await?;
        let emulator = DynamoDb::start(hidden, data).map_err(|source| match data {
            Some(file) => Failure::Data {
                file: file.to_owned(),
                source,
            },
            None => Failure::BackEnd(source),
        })?;
        let front = Front {
            client: Client::builder(TokioExecutor::new()).build_http(),
            emulator: emulator.endpoint().parse().unwrap_or_default(),
        };
        let router = Router::new().fallback(pass_on).with_state(Arc::new(front));
        let guard = Guard {
            routes: None,
            any_host: false,
        };
        let router = guard.around(router);
        let front = tokio::spawn(async move {
            // It ends when the task is aborted.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            emulator,
            endpoint,
            front,
        })
    }

    /// The address for other programs on this machine.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The emulator's own address, for this process.
    pub fn direct(&self) -> &str {
        self.emulator.endpoint()
    }

    /// Stops the emulator, and waits until the file is complete.
    pub async fn stop(self) {
        self.front.abort();
        self.emulator.stop().await;
    }
}

/// Listens on a random address of the loopback network. Some systems have 127.0.0.1 only.
async fn hidden() -> Result<TcpListener, Failure> {
    let mut random = [0; 3];
    getrandom::fill(&mut random)?;
    let [a, b, c] = random;
    let address = Ipv4Addr::new(127, a, b, c.clamp(1, 254));
    match TcpListener::bind((address, 0)).await {
        Ok(listener) => Ok(listener),
        Err(_) => super::back_ends::listen("127.0.0.1", 0, "--dynamodb-port").await,
    }
}

/// Passes a request on. Browsers send the header Origin with requests that a page makes, and programs do not.
async fn pass_on(State(front): State<Arc<Front>>, mut request: Request) -> Response {
    if request.headers().contains_key(header::ORIGIN) {
        let text = "the embedded DynamoDB is not for web pages; use a program on this machine\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    let target = request.uri().path_and_query();
    let target = address::join(&front.emulator, target.map_or("/", |target| target.as_str()));
    *request.uri_mut() = target;
    match front.client.request(request).await {
        Ok(answer) => answer.map(Body::new),
        Err(error) => {
            tracing::warn!(%error, "the embedded DynamoDB does not answer");
            StatusCode::BAD_GATEWAY.into_response()
        }
    }
}
