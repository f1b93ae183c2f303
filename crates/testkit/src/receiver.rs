//! The production router on an embedded DynamoDB.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use aws_sdk_dynamodb::types::AttributeValue;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use emulators::{DynamoDb, SecretsManager};
use serde_json::{Value, json};
use sonotheia_webhook::app::App;
use sonotheia_webhook::aws;
use sonotheia_webhook::config::{Config, SecretSource};
use sonotheia_webhook::ingest::{self, Ingested};
use sonotheia_webhook::router::router;
use sonotheia_webhook::secrets::Secrets;
use sonotheia_webhook::signature::Secret;
use sonotheia_webhook::sources::Sources;
use sonotheia_webhook::store::{DeliveryToken, Store};
use sonotheia_webhook::telemetry::Telemetry;
use sonotheia_webhook::timestamp::Timestamp;
use tower::ServiceExt;

use crate::{Faults, Log, Proxy, SECRET, TABLE, loopback, signed};

/// A receiver on an embedded DynamoDB of its own.
pub struct Receiver {
    /// The parts of the receiver.
    pub app: Arc<App>,
    /// The production router.
    pub router: Router,
    /// The receiver's log.
    pub log: Log,
    /// A client of the database without the proxy.
    pub direct: aws_sdk_dynamodb::Client,
    /// The proxy in front of the database, if there is one.
    pub proxy: Option<Proxy>,
    dynamodb: Arc<DynamoDb>,
}

/// An answer of the receiver, with the bytes of its body.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// An answer of the receiver, with its body as JSON.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as JSON; `null` if it is empty.
    pub body: Value,
}

impl Answer {
    /// Checks that the answer is this error, with all members of an error body.
    #[track_caller]
    pub fn expect(self, status: u16, code: &str) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.body["code"], code, "{self:?}");
        for key in ["error", "message", "request_id"] {
            assert!(
                self.body[key].as_str().is_some_and(|text| !text.is_empty()),
                "{key} in {self:?}"
            );
        }
        assert_eq!(
            self.body["request_id"],
            self.headers["x-request-id"].to_str().expect("ASCII")
        );
        self
    }

    /// Checks that the answer is a 200 for a delivery, and returns the event's id.
    #[track_caller]
    pub fn received(self, duplicate: bool) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        let event_id = self.body["event_id"].as_str().expect("an id").to_owned();
        let whole = json!({"received": true, "duplicate": duplicate, "event_id": event_id});
        assert_eq!(self.body, whole);
        event_id
    }
}

impl Receiver {
    /// A receiver with the default configuration and [`SECRET`].
    pub async fn start() -> Self {
        Self::with(Config::new(TABLE, SecretSource::Fixed(SECRET.into())), None, None).await
    }

    /// A receiver with this configuration. `secrets` is its Secrets Manager, and with `faults` a proxy stands between it
    /// and the database.
    pub async fn with(config: Config, secrets: Option<&SecretsManager>, faults: Option<Faults>) -> Self {
        let dynamodb = DynamoDb::start(loopback().await, None).expect("an embedded DynamoDB");
        let sdk = emulators::sdk_config(dynamodb.endpoint());
        let direct = aws_sdk_dynamodb::Client::new(&sdk);
        emulators::create_table(&direct, TABLE).await.expect("the table");
        let proxy = match faults {
            None => None,
            Some(faults) => Some(Proxy::start(dynamodb.endpoint(), faults).await),
        };
        let endpoint = proxy.as_ref().map_or(dynamodb.endpoint(), Proxy::endpoint);
        let client = aws::dynamodb(&emulators::sdk_config(endpoint));
        let secrets = match (&config.secret, secrets) {
            (SecretSource::Fixed(secret), _) => Secrets::Fixed(Secret::new(secret).expect("not empty")),
            (SecretSource::SecretsManager(id), secrets) => {
                let endpoint = secrets.map_or("http://127.0.0.1:9", SecretsManager::endpoint);
                let client = aws::secrets_manager(&emulators::sdk_config(endpoint));
                Secrets::managed(client, id, config.secret_cache)
            }
        };
        let log = Log::default();
        let store = Store::new(client, &config.events_table);
        let app = App::new(config, secrets, store, Telemetry::new(log.clone()));
        Self {
            router: router(app.clone()),
            app,
            log,
            direct,
            proxy,
            dynamodb: Arc::new(dynamodb),
        }
    }

    /// A receiver on the same table whose clock stands still at `now`, with [`SECRET`] and without the proxy.
    pub fn at(&self, now: Timestamp) -> Self {
        let now = UNIX_EPOCH + Duration::from_millis(now.as_millis().try_into().expect("a time after 1970"));
        let system = Sources::system();
        let sources = Sources::new(
            move || now,
            move |bytes| {
                *bytes = system.random()?;
                Ok(())
            },
        );
        let app = App::with_sources(
            self.app.config.clone(),
            Secrets::Fixed(Secret::new(SECRET).expect("not empty")),
            Store::new(self.direct.clone(), TABLE),
            Telemetry::new(self.log.clone()),
            sources,
        );
        Self {
            router: router(app.clone()),
            app,
            log: self.log.clone(),
            direct: self.direct.clone(),
            proxy: None,
            dynamodb: self.dynamodb.clone(),
        }
    }

    /// The address of the database without the proxy.
    pub fn dynamodb(&self) -> &str {
        self.dynamodb.endpoint()
    }

    /// Sends a request to the router, and checks the headers that all answers have.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let reply = self.send_raw(request).await;
        let body = if reply.body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&reply.body).expect("JSON")
        };
        Answer {
            status: reply.status,
            headers: reply.headers,
            body,
        }
    }

    /// Sends a request like [`send`](Self::send), and leaves the body as it is.
    pub async fn send_raw(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        assert_eq!(parts.headers["content-type"], "application/json");
        assert_eq!(parts.headers["cache-control"], "no-store");
        assert!(!parts.headers["x-request-id"].is_empty());
        let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
        Reply {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// The number of the receiver's calls to the database so far. Only a receiver with a proxy counts them.
    pub fn calls(&self) -> u64 {
        self.proxy.as_ref().expect("a proxy").requests()
    }

    /// Judges and stores a body as if it came at `now`.
    pub async fn ingest(&self, body: &[u8], now: Timestamp) -> Ingested {
        let judged = ingest::judge(body, &self.app.config.rules(), now);
        let token = DeliveryToken::new().expect("random bytes");
        ingest::ingest(&self.app.store, &judged, token)
            .await
            .expect("the table answers")
    }

    /// Posts a body with its signature.
    pub async fn deliver(&self, body: impl AsRef<[u8]>) -> Answer {
        self.send(signed(body, SECRET)).await
    }

    /// Sends a GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(get(path)).await
    }

    /// Sends a GET, and leaves the body as it is.
    pub async fn get_raw(&self, path: &str) -> Reply {
        self.send_raw(get(path)).await
    }

    /// The body of the record with this key.
    pub async fn stored_body(&self, key: &str) -> Option<Vec<u8>> {
        self.app.store.get(key).await.expect("the table answers")?.body
    }

    /// All items of the table, read without the proxy.
    pub async fn items(&self) -> Vec<std::collections::HashMap<String, AttributeValue>> {
        let scan = self
            .direct
            .scan()
            .table_name(TABLE)
            .into_paginator()
            .items()
            .send();
        scan.collect::<Result<_, _>>().await.expect("a scan")
    }
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).expect("a request")
}
