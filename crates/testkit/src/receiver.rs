//! The real router on real emulators, and the tools to break what is between them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::Router;
use axum::body::Body;
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
use sonotheia_webhook::store::{DeliveryToken, Store};
use sonotheia_webhook::telemetry::Telemetry;
use sonotheia_webhook::timestamp::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

pub const SECRET: &str = "the shared secret of these tests";
pub const TABLE: &str = "events";

pub async fn loopback() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a loopback port")
}

/// What was logged, to be looked at.
#[derive(Clone, Default)]
pub struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("the log").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("the log").clone()).expect("UTF-8")
    }

    pub fn last(&self) -> Value {
        let text = self.text();
        serde_json::from_str(text.lines().last().expect("a line")).expect("JSON")
    }
}

/// A receiver and the database under it.
pub struct Receiver {
    pub app: Arc<App>,
    pub router: Router,
    pub log: Log,
    /// A client that goes to the database straight, whatever stands between it and the receiver.
    pub direct: aws_sdk_dynamodb::Client,
    _dynamodb: DynamoDb,
}

/// An answer: status, headers, JSON.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
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
    /// Defaults, and the secret itself.
    pub async fn start() -> Self {
        Self::with(Config::new(TABLE, SecretSource::Fixed(SECRET.into())), None, None).await
    }

    pub async fn with(config: Config, secrets: Option<&SecretsManager>, fault: Option<Fault>) -> Self {
        let dynamodb = DynamoDb::start(loopback().await, None).expect("an embedded DynamoDB");
        let sdk = emulators::sdk_config(dynamodb.endpoint());
        let direct = aws_sdk_dynamodb::Client::new(&sdk);
        emulators::create_table(&direct, TABLE).await.expect("the table");
        let store = match fault {
            None => aws::dynamodb(&sdk),
            Some(fault) => {
                let proxy = Proxy::start(dynamodb.endpoint(), fault).await;
                aws::dynamodb(&emulators::sdk_config(&proxy))
            }
        };
        let secrets = match (&config.secret, secrets) {
            (SecretSource::Fixed(secret), _) => Secrets::Fixed(Secret::new(secret).expect("not empty")),
            (SecretSource::SecretsManager(id), secrets) => {
                let endpoint = secrets.map_or("http://127.0.0.1:9", SecretsManager::endpoint);
                let client = aws::secrets_manager(&emulators::sdk_config(endpoint));
                Secrets::managed(client, id, config.secret_cache)
            }
        };
        let log = Log::default();
        let store = Store::new(store, &config.events_table);
        let app = App::new(config, secrets, store, Telemetry::new(log.clone()));
        Self {
            router: router(app.clone()),
            app,
            log,
            direct,
            _dynamodb: dynamodb,
        }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        assert_eq!(parts.headers["content-type"], "application/json");
        assert_eq!(parts.headers["cache-control"], "no-store");
        assert!(!parts.headers["x-request-id"].is_empty());
        let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
        let body = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).expect("JSON")
        };
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
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

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).expect("a request"))
            .await
    }

    /// Every item of the table, straight from the database.
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

pub fn post(body: impl AsRef<[u8]>, signatures: &[&str]) -> Request<Body> {
    let mut request = Request::post("/webhook").header("content-type", "application/json");
    for signature in signatures {
        request = request.header("x-sonotheia-signature", *signature);
    }
    request
        .body(Body::from(body.as_ref().to_vec()))
        .expect("a request")
}

pub fn sign(body: impl AsRef<[u8]>, secret: &str) -> String {
    Secret::new(secret)
        .expect("not empty")
        .sign(body.as_ref())
        .to_string()
}

pub fn signed(body: impl AsRef<[u8]>, secret: &str) -> Request<Body> {
    let signature = sign(&body, secret);
    post(body, &[&signature])
}

/// Now, and so many seconds.
pub fn at(seconds: i64) -> String {
    Timestamp::from_millis(Timestamp::now().as_millis() + seconds * 1000).to_string()
}

/// A deepfake result without problems, in the guide's envelope.
pub fn deepfake(id: &str, session: &str, score: f64) -> Value {
    json!({
        "type": "deepfake.completed",
        "id": id,
        "data": {
            "session_id": session, "score": score, "label": "uncertain", "latency_ms": 640, "timestamp": at(0),
        },
    })
}

/// What the proxy does to a request.
#[derive(Clone)]
pub enum Fault {
    /// Passes the request on and drops the answer, so many times.
    LoseAnswers(Arc<AtomicUsize>),
    /// Answers with this status and error code, so many times, and passes on after that.
    Answer(u16, &'static str, Arc<AtomicUsize>),
    /// Answers nothing.
    Hang,
    /// Closes every connection.
    Refuse,
    /// Passes on, and counts what it passed.
    Count(Arc<AtomicUsize>),
    /// Makes another answer, status and body, out of the request's text and the true one.
    Rewrite(fn(&str, (u16, String)) -> (u16, String)),
}

/// An HTTP/1.1 proxy, in front of DynamoDB or Secrets Manager, that breaks what it is told to. It understands as much as the SDK's client and
/// the emulator need: a request with a Content-Length, one answer a connection.
pub struct Proxy;

impl Proxy {
    /// Endpoint to endpoint.
    pub async fn start(upstream: &str, fault: Fault) -> String {
        let upstream = upstream.trim_start_matches("http://");
        let upstream = upstream.parse().expect("an address");
        let listener = loopback().await;
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, upstream, fault.clone()));
            }
        });
        endpoint
    }
}

async fn serve(mut client: TcpStream, upstream: SocketAddr, fault: Fault) -> std::io::Result<()> {
    let Some(request) = read_request(&mut client).await? else {
        return Ok(());
    };
    let left = |counter: &AtomicUsize| {
        counter
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
            .is_ok()
    };
    match &fault {
        Fault::Refuse => return Ok(()),
        Fault::Hang => {
            tokio::time::sleep(Duration::from_secs(30)).await;
            return Ok(());
        }
        Fault::Answer(status, code, times) if left(times) => {
            let body =
                format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"injected"}}"#);
            return client.write_all(http_answer(*status, &body).as_bytes()).await;
        }
        Fault::Count(count) => {
            count.fetch_add(1, Ordering::SeqCst);
        }
        _ => {}
    }
    let mut server = TcpStream::connect(upstream).await?;
    server.write_all(&request).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    match &fault {
        Fault::LoseAnswers(times) if left(times) => Ok(()),
        Fault::Rewrite(rewrite) => {
            let (request, answer) = (
                String::from_utf8_lossy(&request),
                String::from_utf8_lossy(&answer),
            );
            let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
            let status = head[9..12].parse().expect("a status");
            let (status, body) = rewrite(&request, (status, body.to_owned()));
            client.write_all(http_answer(status, &body).as_bytes()).await
        }
        _ => client.write_all(&answer).await,
    }
}

/// The id that every injected answer has.
pub const REQUEST_ID: &str = "INJECTED0REQUEST";

fn http_answer(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Injected\r\ncontent-type: application/x-amz-json-1.0\r\nx-amzn-requestid: {REQUEST_ID}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// A whole request, its connection header changed so that the upstream closes after the answer.
async fn read_request(client: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length: usize = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.trim().parse().expect("a length"));
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        if client.read_buf(&mut body).await? == 0 {
            return Ok(None);
        }
    }
    let mut request = head.into_bytes();
    request.extend_from_slice(b"\r\nconnection: close\r\n\r\n");
    request.extend_from_slice(&body);
    Ok(Some(request))
}
