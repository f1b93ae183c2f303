//! The back ends of a laptop: DynamoDB and Secrets Manager in this process, on loopback ports, spoken
//! to by the real SDK clients (feature `cli`; nothing of this is in the Lambda package).

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use rustls::RootCertStore;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use winterbaume_core::{MockRequest, MockService};
use winterbaume_secretsmanager::SecretsManagerService;

use crate::https::HttpsClient;

/// A boxed error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The region the embedded back ends are said to be in.
pub const REGION: &str = "us-east-1";

/// The key id and the key that they take; any would do.
pub const CREDENTIALS: (&str, &str) = ("local", "local");

/// Crates to be quiet in the log: to the embedded DynamoDB every failed condition is worth a warning,
/// and here each one is a duplicate.
pub const NOISY: &[&str] = &["dynoxide"];

/// A server in this process. It stops when it is told to, or dropped.
#[derive(Debug)]
struct Server {
    endpoint: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    async fn stop(mut self) {
        drop(self.stop.take());
        // A connection that a client keeps open holds a graceful stop up.
        if tokio::time::timeout(Duration::from_secs(2), &mut self.task)
            .await
            .is_err()
        {
            self.task.abort();
        }
    }
}

/// DynamoDB, in memory or in a file.
#[derive(Debug)]
pub struct DynamoDb(Server);

impl DynamoDb {
    /// Serves on `listener`, which should be on loopback: there is no authentication.
    ///
    /// # Errors
    /// The file's, where there is one and it can't be opened.
    pub fn start(listener: TcpListener, data: Option<&Path>) -> Result<Self, BoxError> {
        let database = match data {
            Some(path) => dynoxide::Database::new(&path.to_string_lossy())?,
            None => dynoxide::Database::memory()?,
        };
        let endpoint = format!("http://{}", listener.local_addr()?);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let shutdown = async { drop(stopped.await) };
            if let Err(error) = dynoxide::server::serve_with_shutdown(listener, database, shutdown).await {
                tracing::error!(error, "the embedded DynamoDB ended");
            }
        });
        Ok(Self(Server {
            endpoint,
            stop: Some(stop),
            task,
        }))
    }

    /// Where it listens: `http://127.0.0.1:8000`.
    pub fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    /// Ends it, and waits until the file is whole.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}

/// Something that Secrets Manager may do instead of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 500 `InternalServiceError`.
    InternalError,
    /// 400 `ThrottlingException`.
    Throttling,
    /// No answer for so long.
    Hang(Duration),
}

/// Secrets Manager, in memory, with a place to break it.
#[derive(Debug)]
pub struct SecretsManager {
    server: Server,
    state: Arc<SecretsManagerState>,
}

#[derive(Default)]
struct SecretsManagerState {
    service: SecretsManagerService,
    fault: Mutex<Option<Fault>>,
    calls: AtomicUsize,
}

impl std::fmt::Debug for SecretsManagerState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretsManagerState")
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}

impl SecretsManager {
    /// Serves on `listener`, which should be on loopback: there is no authentication.
    ///
    /// # Errors
    /// The listener's.
    pub fn start(listener: TcpListener) -> Result<Self, BoxError> {
        let endpoint = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(SecretsManagerState::default());
        let router = Router::new().fallback(secrets_manager).with_state(state.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(async { drop(stopped.await) });
            if let Err(error) = served.await {
                tracing::error!(%error, "the embedded Secrets Manager ended");
            }
        });
        let server = Server {
            endpoint,
            stop: Some(stop),
            task,
        };
        Ok(Self { server, state })
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        &self.server.endpoint
    }

    /// From now on it does this instead of answering; with `None` it answers again.
    pub fn break_with(&self, fault: Option<Fault>) {
        *self.state.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// How many requests came, broken ones included.
    pub fn calls(&self) -> usize {
        self.state.calls.load(Ordering::SeqCst)
    }

    /// Ends it.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

async fn secrets_manager(State(state): State<Arc<SecretsManagerState>>, request: Request<Body>) -> Response {
    state.calls.fetch_add(1, Ordering::SeqCst);
    let fault = *state.fault.lock().unwrap_or_else(PoisonError::into_inner);
    let error = |status, code: &str| {
        (status, format!(r#"{{"__type":"{code}","message":"injected"}}"#)).into_response()
    };
    match fault {
        None => {}
        Some(Fault::InternalError) => {
            return error(StatusCode::INTERNAL_SERVER_ERROR, "InternalServiceError");
        }
        Some(Fault::Throttling) => return error(StatusCode::BAD_REQUEST, "ThrottlingException"),
        Some(Fault::Hang(time)) => tokio::time::sleep(time).await,
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, 1 << 20).await else {
        return error(StatusCode::BAD_REQUEST, "InvalidRequestException");
    };
    let request = MockRequest {
        method: parts.method.to_string(),
        // The service looks for a region in the host.
        uri: format!(
            "https://secretsmanager.{REGION}.amazonaws.com{}",
            parts.uri.path()
        ),
        headers: parts.headers,
        body,
    };
    let answer = state.service.handle(request).await;
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, answer.headers, answer.body).into_response()
}

/// SDK settings for embedded back ends. `endpoint` goes to every client that is made from it.
pub fn sdk_config(endpoint: &str) -> SdkConfig {
    let (id, key) = CREDENTIALS;
    let credentials = Credentials::new(id, key, None, None, "local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .http_client(HttpsClient::new(RootCertStore::empty()))
        .build()
}
