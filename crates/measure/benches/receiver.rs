//! What a delivery costs in this process: signature, event, and the router on the embedded DynamoDB.
//!
//! `cargo bench` runs it. The router's figures hold the emulator's, which is most of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use divan::Bencher;
use emulators::DynamoDb;
use sonotheia_webhook::app::App;
use sonotheia_webhook::aws;
use sonotheia_webhook::config::{Config, SecretSource};
use sonotheia_webhook::event::Event;
use sonotheia_webhook::router::router;
use sonotheia_webhook::secrets::Secrets;
use sonotheia_webhook::signature::Secret;
use sonotheia_webhook::store::Store;
use sonotheia_webhook::telemetry::Telemetry;
use sonotheia_webhook::timestamp::Timestamp;
use tower::ServiceExt;

const SECRET: &str = "a benchmark's secret";

/// Body sizes in bytes: a schema-size event, and the largest that is taken by default.
const SIZES: [usize; 2] = [1024, 262_144];

fn main() {
    divan::main();
}

fn body(id: usize, size: usize) -> String {
    // The receiver rejects an old event, so the event is new.
    let now = Timestamp::now();
    let event = |pad: &str| {
        format!(
            r#"{{"type":"deepfake.completed","id":"event-{id}","data":{{"session_id":"session-{id}","score":0.82,"label":"likely_synthetic","latency_ms":640,"timestamp":"{now}","analysis":{{"pad":"{pad}"}}}}}}"#
        )
    };
    let bare = event("").len();
    event(&"x".repeat(size.saturating_sub(bare)))
}

#[divan::bench(args = SIZES)]
fn verify(bencher: Bencher<'_, '_>, size: usize) {
    let secret = Secret::new(SECRET).expect("not empty");
    let body = body(0, size);
    let signature = secret.sign(body.as_bytes());
    bencher.bench(|| secret.verify(divan::black_box(body.as_bytes()), &signature));
}

#[divan::bench(args = SIZES)]
fn parse(bencher: Bencher<'_, '_>, size: usize) {
    let body = body(0, size);
    bencher.bench(|| Event::parse(divan::black_box(body.as_bytes()), 0.8).map(|event| event.content_hash));
}

#[divan::bench(args = SIZES, sample_count = 50)]
fn router_new_event(bencher: Bencher<'_, '_>, size: usize) {
    let receiver = Receiver::start();
    let next = AtomicUsize::new(0);
    let request = || receiver.signed(next.fetch_add(1, Ordering::Relaxed), size);
    bencher
        .with_inputs(request)
        .bench_local_values(|request| receiver.send(request, 200));
}

#[divan::bench(args = SIZES, sample_count = 50)]
fn router_duplicate(bencher: Bencher<'_, '_>, size: usize) {
    let receiver = Receiver::start();
    receiver.send(receiver.signed(0, size), 200);
    bencher
        .with_inputs(|| receiver.signed(0, size))
        .bench_local_values(|request| receiver.send(request, 200));
}

#[divan::bench(args = SIZES)]
fn router_forged(bencher: Bencher<'_, '_>, size: usize) {
    let receiver = Receiver::start();
    let forged = || post(body(0, size), "0".repeat(64));
    bencher
        .with_inputs(forged)
        .bench_local_values(|request| receiver.send(request, 401));
}

struct Receiver {
    runtime: tokio::runtime::Runtime,
    router: Router,
    secret: Secret,
    _dynamodb: DynamoDb,
}

fn post(body: String, signature: String) -> Request<Body> {
    let request = Request::post("/webhook").header("x-sonotheia-signature", signature);
    request.body(Body::from(body)).expect("a request")
}

impl Receiver {
    fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (router, dynamodb) = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                .await
                .expect("a port");
            let dynamodb = DynamoDb::start(listener, None).expect("an embedded DynamoDB");
            let sdk = emulators::sdk_config(dynamodb.endpoint());
            let client = aws::dynamodb(&sdk);
            emulators::create_table(&client, "events")
                .await
                .expect("the table");
            let store = Store::new(client, "events");
            let secrets = Secrets::Fixed(Secret::new(SECRET).expect("not empty"));
            let config = Config::new("events", SecretSource::Fixed(SECRET.into()));
            let app: Arc<App> = App::new(config, secrets, store, Telemetry::new(std::io::sink()));
            (router(app), dynamodb)
        });
        Self {
            runtime,
            router,
            secret: Secret::new(SECRET).expect("not empty"),
            _dynamodb: dynamodb,
        }
    }

    fn signed(&self, id: usize, size: usize) -> Request<Body> {
        let body = body(id, size);
        let signature = self.secret.sign(body.as_bytes()).to_string();
        post(body, signature)
    }

    fn send(&self, request: Request<Body>, expected: u16) {
        let answer = self.runtime.block_on(self.router.clone().oneshot(request));
        assert_eq!(answer.expect("infallible").status(), expected);
    }
}
