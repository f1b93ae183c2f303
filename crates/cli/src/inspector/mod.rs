//! The inspector: a page that shows deliveries as they come, and the records of the table.
//!
//! Under `serve` it stands around the receiver's router and changes nothing in it: it copies bodies as the receiver reads
//! them, and answers as they leave. It keeps the newest deliveries in memory, bounded in number and in bytes, and reads
//! older ones through the receiver's own reads. Under `inspect` it has only those reads.
//!
//! Everything that came from outside is bounded before the page gets it: `pretty` and `detail` have the limits.

mod compare;
mod curl;
mod delivery;
mod detail;
mod diagnosis;
mod guard;
mod hex_dump;
mod history;
mod kept;
mod observe;
mod page;
mod pretty;
mod send;
mod stream;

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::middleware;
use axum::routing::{get, post};
use futures_util::FutureExt;
use futures_util::future::Shared as SharedFuture;
use serde_json::{Value, json};
use sonotheia_webhook::event::types::known_types;
use sonotheia_webhook::timestamp::Timestamp;

use self::diagnosis::Keys;
use self::kept::Kept;
use crate::args::random_hex;
use crate::failure::Failure;

/// What the inspector looks at.
enum Subject {
    /// The receiver of this process, with its secret.
    Receiver { keys: Keys },
    /// The table of a deployment, read only.
    Table { name: String },
}

/// The state of the page.
pub struct Inspector {
    /// Tells this process's deliveries from those of an earlier process.
    run: String,
    started_at: Timestamp,
    subject: Subject,
    kept: Kept,
    /// The body of the newest accepted event, for the samples that repeat or contradict it.
    accepted: Mutex<Option<Bytes>>,
}

impl Inspector {
    /// An inspector for the receiver of this process. It knows the secrets, to find out what a signature was made with.
    ///
    /// # Errors
    /// The secret is empty, or there are no random bytes.
    pub fn new(secret: &str, previous: Option<&str>) -> Result<Arc<Self>, Failure> {
        let keys = Keys::new(secret, previous)?;
        Self::of(Subject::Receiver { keys })
    }

    /// An inspector for a table. It can send nothing.
    ///
    /// # Errors
    /// There are no random bytes.
    pub fn read_only(table: &str) -> Result<Arc<Self>, Failure> {
        let name = table.to_owned();
        Self::of(Subject::Table { name })
    }

    fn of(subject: Subject) -> Result<Arc<Self>, Failure> {
        Ok(Arc::new(Self {
            run: random_hex::<4>()?,
            started_at: Timestamp::now(),
            subject,
            kept: Kept::default(),
            accepted: Mutex::default(),
        }))
    }

    fn keys(&self) -> Option<&Keys> {
        match &self.subject {
            Subject::Receiver { keys } => Some(keys),
            Subject::Table { .. } => None,
        }
    }

    fn last_accepted(&self) -> Option<Bytes> {
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.clone()
    }

    fn set_last_accepted(&self, body: Bytes) {
        *self.accepted.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }

    /// The newest time of receipt of the records that the page shows as history. The deliveries after it are in memory.
    /// `None`: all records are history.
    fn history_to(&self) -> Option<String> {
        self.keys()?;
        let oldest = self.kept.after(0).filter(|oldest| oldest.number() > 1);
        Some(oldest.map_or_else(
            || self.started_at.to_string(),
            |oldest| oldest.row.received_at.clone(),
        ))
    }

    /// What the page has to know first.
    fn about(&self) -> Value {
        let table = match &self.subject {
            Subject::Receiver { .. } => None,
            Subject::Table { name } => Some(name),
        };
        json!({
            "run": self.run,
            "history_to": self.history_to(),
            "table": table,
            "types": known_types().collect::<Vec<_>>(),
            "kept": kept::MAX_DELIVERIES,
        })
    }
}

/// A future that resolves when the process ends.
type Stop = SharedFuture<Pin<Box<dyn Future<Output = ()> + Send>>>;

/// What the handlers need: the inspector, the receiver that it looks at, and the end.
#[derive(Clone)]
struct Shared {
    inspector: Arc<Inspector>,
    receiver: Router,
    stop: Stop,
}

/// The receiver's router with the page around it. Streams end when `stop` does.
pub fn around<S>(receiver: Router, inspector: Arc<Inspector>, stop: S) -> Router
where
    S: Future<Output = ()> + Send + 'static,
{
    let observe = middleware::from_fn_with_state(inspector.clone(), observe::observe);
    let shared = Shared {
        inspector,
        receiver: receiver.layer(observe),
        stop: stop.boxed().shared(),
    };
    let mut pages = reads();
    if shared.inspector.keys().is_some() {
        pages = pages
            .route("/inspector/deliveries", get(stream::deliveries))
            .route("/inspector/deliveries/{n}", get(detail::delivery))
            .route("/inspector/deliveries/{n}/body", get(detail::delivery_body))
            .route("/inspector/search", get(detail::search))
            .route("/inspector/send", post(send::button))
            .route("/inspector/replay", post(send::replay));
    }
    let guard = middleware::from_fn(guard::guard);
    // Other methods of `/` are the receiver's.
    pages
        .route("/", page::index().fallback_service(shared.receiver.clone()))
        .route_layer(guard)
        .fallback_service(shared.receiver.clone())
        .with_state(shared)
}

/// The page over a table: `receiver` has the reads, and the router has nothing but the page.
pub fn over_table(receiver: Router, inspector: Arc<Inspector>) -> Router {
    let guard = middleware::from_fn(guard::guard);
    let shared = Shared {
        inspector,
        receiver,
        stop: std::future::pending().boxed().shared(),
    };
    reads()
        .route("/", page::index())
        .fallback(page::nothing)
        .layer(guard)
        .with_state(shared)
}

/// The parts of the page that only read.
fn reads() -> Router<Shared> {
    page::files()
        .route("/inspector/about", get(page::about))
        .route("/inspector/records", get(history::list))
        .route("/inspector/record", get(history::one))
        .route("/inspector/record/body", get(history::body))
}
