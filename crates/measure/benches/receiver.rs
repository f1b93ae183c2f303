//! The cost of a delivery in this process: the signature, the event, and the router on the embedded DynamoDB.
//!
//! `cargo bench -p measure` runs it. Most of the router's time is the emulator's.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::Request;
use divan::Bencher;
use sonotheia_webhook::event::Event;
use sonotheia_webhook::signature::Secret;
use testkit::{SECRET, at, post, signed};
use tokio::runtime::Runtime;

/// Body sizes in bytes: a usual event, and the largest that the receiver accepts by default.
const SIZES: [usize; 2] = [1024, 262_144];

fn main() {
    divan::main();
}

fn body(id: usize, size: usize) -> String {
    // The receiver rejects an old event, so the event is new.
    let now = at(0);
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
    let request = || signed(body(next.fetch_add(1, Ordering::Relaxed), size), SECRET);
    bencher
        .with_inputs(request)
        .bench_local_values(|request| receiver.send(request, 200));
}

#[divan::bench(args = SIZES, sample_count = 50)]
fn router_duplicate(bencher: Bencher<'_, '_>, size: usize) {
    let receiver = Receiver::start();
    let body = body(0, size);
    receiver.send(signed(&body, SECRET), 200);
    bencher
        .with_inputs(|| signed(&body, SECRET))
        .bench_local_values(|request| receiver.send(request, 200));
}

#[divan::bench(args = SIZES)]
fn router_forged(bencher: Bencher<'_, '_>, size: usize) {
    let receiver = Receiver::start();
    let forged = || post(body(0, size), &[&"0".repeat(64)]);
    bencher
        .with_inputs(forged)
        .bench_local_values(|request| receiver.send(request, 401));
}

/// A receiver and the runtime that serves its back end.
struct Receiver {
    receiver: testkit::Receiver,
    runtime: Runtime,
}

impl Receiver {
    fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let receiver = runtime.block_on(testkit::Receiver::start());
        Self { receiver, runtime }
    }

    fn send(&self, request: Request<Body>, expected: u16) {
        let reply = self.runtime.block_on(self.receiver.send_raw(request));
        assert_eq!(reply.status, expected);
    }
}
