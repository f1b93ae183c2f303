//! Lambda's side of a function ("Using the Lambda runtime API"): it hands out one event at a time and
//! takes the answer.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// The Runtime API of one environment.
pub struct RuntimeApi {
    /// For `AWS_LAMBDA_RUNTIME_API`.
    pub address: String,
    idle: mpsc::UnboundedReceiver<oneshot::Sender<Event>>,
    answers: Answers,
    server: JoinHandle<io::Result<()>>,
}

struct Event {
    id: String,
    payload: String,
}

/// The answers that are waited for, by the invocation's id.
type Answers = Arc<Mutex<HashMap<String, oneshot::Sender<Result<Value, String>>>>>;

#[derive(Clone)]
struct Shared {
    idle: mpsc::UnboundedSender<oneshot::Sender<Event>>,
    answers: Answers,
}

/// The environment's process is gone, or does not ask for events.
#[derive(Debug)]
pub struct Gone;

impl RuntimeApi {
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let (sender, idle) = mpsc::unbounded_channel();
        let answers = Answers::default();
        let shared = Shared {
            idle: sender,
            answers: answers.clone(),
        };
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .with_state(shared);
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self {
            address,
            idle,
            answers,
            server,
        })
    }

    /// Gives the function an event once it asks for one, and starts the wait for the answer: what it
    /// says, or how it says that it failed.
    ///
    /// `patience` is how long it may take until it asks.
    pub async fn invoke(
        &mut self,
        id: String,
        payload: String,
        patience: Duration,
    ) -> Result<oneshot::Receiver<Result<Value, String>>, Gone> {
        let (sender, receiver) = oneshot::channel();
        self.lock().insert(id.clone(), sender);
        let mut event = Event { id, payload };
        loop {
            let asked = tokio::time::timeout(patience, self.idle.recv()).await;
            let Ok(Some(asks)) = asked else {
                return Err(Gone);
            };
            // One that asked and went away has left its question behind.
            match asks.send(event) {
                Ok(()) => return Ok(receiver),
                Err(unsent) => event = unsent,
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<Result<Value, String>>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn next(State(shared): State<Shared>) -> Response {
    let (sender, event) = oneshot::channel();
    let sent = shared.idle.send(sender);
    let (Ok(()), Ok(event)) = (sent, event.await) else {
        return StatusCode::GONE.into_response();
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let deadline = (now.as_millis() + 5000).to_string();
    let headers = [
        ("content-type", "application/json"),
        ("lambda-runtime-aws-request-id", &event.id),
        ("lambda-runtime-deadline-ms", &deadline),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:123456789012:function:receiver",
        ),
        (
            "lambda-runtime-trace-id",
            "Root=1-6970c8c0-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=0",
        ),
    ];
    (headers, event.payload).into_response()
}

async fn response(State(shared): State<Shared>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    let answer = serde_json::from_slice(&body).map_err(|error| error.to_string());
    shared.answer(&id, answer)
}

async fn error(State(shared): State<Shared>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    shared.answer(&id, Err(String::from_utf8_lossy(&body).into_owned()))
}

async fn init_error() -> StatusCode {
    StatusCode::ACCEPTED
}

impl Shared {
    fn answer(&self, id: &str, answer: Result<Value, String>) -> StatusCode {
        let waiting = self
            .answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
        if let Some(waiting) = waiting {
            let _ = waiting.send(answer);
        }
        StatusCode::ACCEPTED
    }
}
