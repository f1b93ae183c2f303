//! The parts that all targets share: the real router on the embedded DynamoDB, and requests to it.

use std::cell::RefCell;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sonotheia_webhook::app::App;
use sonotheia_webhook::config::{Config, SecretSource};
use emulators::DynamoDb;
use sonotheia_webhook::secrets::Secrets;
use sonotheia_webhook::signature::Secret;
use sonotheia_webhook::store::Store;
use sonotheia_webhook::telemetry::Telemetry;
use sonotheia_webhook::aws;
use sonotheia_webhook::router::router;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tower::ServiceExt;

const SECRET: &str = "the shared secret of the fuzz targets";
const TABLE: &str = "events";

/// The inputs for one table, so that a long run does not make a large table.
const INPUTS_PER_TABLE: u32 = 1000;

/// A receiver with a table of its own.
pub struct Receiver {
    pub app: Arc<App>,
    router: Router,
    _dynamodb: DynamoDb,
}

/// An answer: status and body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let dynamodb = DynamoDb::start(listener, None).expect("an embedded DynamoDB");
        let client = aws::dynamodb(&emulators::sdk_config(dynamodb.endpoint()));
        emulators::create_table(&client, TABLE).await.expect("a table");
        let app = App::new(
            Config::new(TABLE, SecretSource::Fixed(SECRET.into())),
            Secrets::Fixed(secret()),
            Store::new(client, TABLE),
            Telemetry::new(std::io::sink()),
        );
        Self {
            router: router(app.clone()),
            app,
            _dynamodb: dynamodb,
        }
    }

    /// Sends a request, and checks the parts that all answers have.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        assert!(parts.status.as_u16() < 500, "{}", parts.status);
        assert_eq!(parts.headers["content-type"], "application/json");
        assert_eq!(parts.headers["cache-control"], "no-store");
        assert!(!parts.headers["x-request-id"].is_empty());
        let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
        Answer {
            status: parts.status.as_u16(),
            body: body.to_vec(),
        }
    }

    /// Posts a body with its signature.
    pub async fn deliver(&self, body: &[u8]) -> Answer {
        let request = Request::post("/webhook").header("x-sonotheia-signature", sign(body));
        self.send(request.body(Body::from(body.to_vec())).expect("a request"))
            .await
    }

    pub async fn get(&self, uri: &str) -> Answer {
        self.send(Request::get(uri).body(Body::empty()).expect("a request"))
            .await
    }

    /// The body that is stored under a key.
    pub async fn body_in_table(&self, key: &str) -> Option<Vec<u8>> {
        self.app.store.get(key).await.expect("a record")?.body
    }
}

/// Runs a target's check on a receiver that serves many inputs. A new receiver runs `prepare` first.
pub fn with_receiver(prepare: impl AsyncFnOnce(&Receiver), check: impl AsyncFnOnce(&Receiver)) {
    thread_local! {
        static KEPT: RefCell<Option<(Runtime, Receiver, u32)>> = const { RefCell::new(None) };
    }
    KEPT.with_borrow_mut(|kept| {
        if kept
            .as_ref()
            .is_none_or(|(_, _, inputs)| *inputs == INPUTS_PER_TABLE)
        {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let receiver = runtime.block_on(async {
                let receiver = Receiver::start().await;
                prepare(&receiver).await;
                receiver
            });
            // The server of the old receiver ends with its runtime.
            *kept = Some((runtime, receiver, 0));
        }
        let (runtime, receiver, inputs) = kept.as_mut().expect("made above");
        *inputs += 1;
        runtime.block_on(check(receiver));
    });
}

pub fn secret() -> Secret {
    Secret::new(SECRET).expect("not empty")
}

pub fn sign(body: &[u8]) -> String {
    secret().sign(body).to_string()
}

/// The key of a rejected record.
pub fn rejected_key(body: &[u8]) -> String {
    format!("rejected:sha256:{}", hex::encode(Sha256::digest(body)))
}

/// Every byte as `%XX`, so that any text is one segment of a path, or one value of a query.
pub fn percent(text: &[u8]) -> String {
    text.iter().map(|byte| format!("%{byte:02X}")).collect()
}
