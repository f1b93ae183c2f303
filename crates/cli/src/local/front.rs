//! The announced port of an emulator, for programs on this machine and not for web pages.
//!
//! An emulator answers requests with any Host, and the embedded DynamoDB lets the pages of all sites read and write (it
//! answers with `Access-Control-Allow-Origin: *`). So an emulator listens on a port of a loopback address that no page can
//! guess, and the announced port passes on the requests of programs only.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::guard::Guard;
use super::ports;
use crate::address;
use crate::failure::Failure;

/// The announced port of an emulator.
pub struct Front {
    endpoint: String,
    task: JoinHandle<()>,
}

/// The way from the announced port to the emulator.
struct Way {
    client: Client<HttpConnector, Body>,
    emulator: Uri,
}

impl Front {
    /// Serves on `listener` until [`stop`](Self::stop), for the emulator at the endpoint `emulator`.
    ///
    /// # Errors
    /// [`Failure::Serve`] if the listener has no address.
    pub fn start(listener: TcpListener, emulator: &str) -> Result<Self, Failure> {
        let endpoint = format!("http://{}", listener.local_addr().map_err(Failure::Serve)?);
        let way = Way {
            client: Client::builder(TokioExecutor::new()).build_http(),
            emulator: emulator.parse().unwrap_or_default(),
        };
        let router = Router::new().fallback(pass_on).with_state(Arc::new(way));
        let guard = Guard {
            routes: None,
            any_host: false,
        };
        let router = guard
            .around(router)
            .into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async move {
            // It ends when the task is aborted.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { endpoint, task })
    }

    /// The address for other programs on this machine.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Closes the port.
    pub fn stop(self) {
        self.task.abort();
    }
}

/// Listens on a random address of the loopback network. Some systems have 127.0.0.1 only.
///
/// # Errors
/// [`Failure::Listen`], [`Failure::Randomness`].
pub async fn hidden() -> Result<TcpListener, Failure> {
    let mut random = [0; 3];
    getrandom::fill(&mut random)?;
    let [a, b, c] = random;
    let address = Ipv4Addr::new(127, a, b, c.clamp(1, 254));
    match TcpListener::bind((address, 0)).await {
        Ok(listener) => Ok(listener),
        Err(_) => ports::listen("127.0.0.1", 0, "--dynamodb-port").await,
    }
}

/// Passes a request on. Browsers send the header Origin with requests that a page makes, and programs do not.
async fn pass_on(State(way): State<Arc<Way>>, mut request: Request) -> Response {
    if request.headers().contains_key(header::ORIGIN) {
        let text = "an emulator is not for web pages; use a program on this machine\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    let target = request.uri().path_and_query();
    let target = address::join(&way.emulator, target.map_or("/", |target| target.as_str()));
    *request.uri_mut() = target;
    match way.client.request(request).await {
        Ok(answer) => answer.map(Body::new),
        Err(error) => {
            tracing::warn!(%error, "an emulator does not answer");
            StatusCode::BAD_GATEWAY.into_response()
        }
    }
}
