//! The embedded Secrets Manager.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use winterbaume_core::{MockRequest, MockService};
use winterbaume_secretsmanager::SecretsManagerService;

use crate::server::Server;
use crate::{BoxError, REGION};

/// A fault of Secrets Manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It answers 500 `InternalServiceError`.
    InternalError,
    /// It answers 400 `ThrottlingException`.
    Throttling,
    /// It answers late.
    Hang(Duration),
}

/// Secrets Manager, in memory, which can be made to fail.
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
    /// Serves on `listener`, which should be on loopback, since the emulator does not authenticate.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn start(listener: TcpListener) -> Result<Self, BoxError> {
        let endpoint = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(SecretsManagerState::default());
        let router = Router::new().fallback(secrets_manager).with_state(state.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(async { drop(stopped.await) });
            if let Err(error) = served.await {
                tracing::error!(%error, "the embedded Secrets Manager stopped");
            }
        });
        let server = Server {
            endpoint,
            stop: Some(stop),
            task,
        };
        Ok(Self { server, state })
    }

    /// The emulator's address.
    pub fn endpoint(&self) -> &str {
        &self.server.endpoint
    }

    /// Makes every request fail from now on, or succeed again with `None`.
    pub fn break_with(&self, fault: Option<Fault>) {
        *self.state.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// The number of requests so far, with those that failed.
    pub fn calls(&self) -> usize {
        self.state.calls.load(Ordering::SeqCst)
    }

    /// Stops the emulator.
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
        // The service reads the region from the host name.
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

/// Rotates a secret by the two steps of a rotation: the new version becomes the current one, and the version before it
/// becomes the previous one. (After `PutSecretValue` alone, the emulator would keep the older previous version, too.)
///
/// # Errors
/// The SDK's error.
pub async fn rotate(client: &Client, secret_id: &str, new_secret: &str) -> Result<(), BoxError> {
    const CURRENT: &str = "AWSCURRENT";
    let put = client
        .put_secret_value()
        .secret_id(secret_id)
        .secret_string(new_secret)
        .version_stages("AWSPENDING")
        .send()
        .await?;
    let now = client
        .get_secret_value()
        .secret_id(secret_id)
        .version_stage(CURRENT)
        .send()
        .await?;
    client
        .update_secret_version_stage()
        .secret_id(secret_id)
        .version_stage(CURRENT)
        .set_remove_from_version_id(now.version_id)
        .set_move_to_version_id(put.version_id)
        .send()
        .await?;
    Ok(())
}
