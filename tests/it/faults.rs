//! DynamoDB down, slow, throttling, and answers lost on the way.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use emulators::SecretsManager;
use sonotheia_webhook::app::App;
use sonotheia_webhook::config::{Config, SecretSource};
use sonotheia_webhook::router::router;
use sonotheia_webhook::telemetry::Telemetry;

use testkit::*;

fn config() -> Config {
    Config::new(TABLE, SecretSource::Fixed(SECRET.into()))
}

fn times(n: usize) -> Arc<AtomicUsize> {
    Arc::new(AtomicUsize::new(n))
}

#[tokio::test]
async fn the_sdks_own_retry_of_a_landed_write_is_not_called_a_duplicate() {
    for lost in 1..=2 {
        let receiver = Receiver::with(config(), None, Some(Fault::LoseAnswers(times(lost)))).await;
        let body = deepfake("event-1", "session-1", 0.5).to_string();
        receiver.deliver(&body).await.received(false);
        assert_eq!(receiver.items().await.len(), 1);
        // The sender's retry is.
        receiver.deliver(&body).await.received(true);
    }
}

#[tokio::test]
async fn a_write_whose_answers_are_all_lost_is_unavailable_and_then_a_duplicate() {
    let receiver = Receiver::with(config(), None, Some(Fault::LoseAnswers(times(3)))).await;
    let body = deepfake("event-1", "session-1", 0.5).to_string();
    receiver.deliver(&body).await.expect(503, "unavailable");
    assert_eq!(receiver.items().await.len(), 1);
    receiver.deliver(&body).await.received(true);
    assert_eq!(receiver.items().await.len(), 1);
}

#[tokio::test]
async fn throttling_and_failures_are_tried_again_within_the_request() {
    for (status, code) in [
        (400, "ProvisionedThroughputExceededException"),
        (400, "ThrottlingException"),
        (500, "InternalServerError"),
        (503, "ServiceUnavailable"),
    ] {
        let receiver = Receiver::with(config(), None, Some(Fault::Answer(status, code, times(2)))).await;
        let body = deepfake("event-1", "session-1", 0.5).to_string();
        receiver.deliver(&body).await.received(false);
    }
}

#[tokio::test]
async fn while_dynamodb_fails_throttles_or_is_slow_every_answer_is_unavailable_in_time() {
    let faults = [
        Fault::Answer(400, "ProvisionedThroughputExceededException", times(usize::MAX)),
        Fault::Answer(500, "InternalServerError", times(usize::MAX)),
        Fault::Answer(400, "AccessDeniedException", times(usize::MAX)),
        Fault::Answer(400, "ResourceNotFoundException", times(usize::MAX)),
        Fault::Hang,
        Fault::Refuse,
    ];
    for fault in faults {
        let receiver = Receiver::with(config(), None, Some(fault)).await;
        for body in [deepfake("event-1", "session-1", 0.5).to_string(), "{}".to_owned()] {
            let begun = Instant::now();
            let answer = receiver.deliver(&body).await.expect(503, "unavailable");
            assert!(answer.headers.contains_key("retry-after"));
            assert!(
                begun.elapsed() < Duration::from_millis(4500),
                "{:?}",
                begun.elapsed()
            );
        }
        for path in ["/results", "/results/session-1", "/events/event-1"] {
            let begun = Instant::now();
            receiver.get(path).await.expect(503, "unavailable");
            assert!(
                begun.elapsed() < Duration::from_millis(4500),
                "{:?}",
                begun.elapsed()
            );
        }
        // Nothing of a forgery depends on DynamoDB, nor does health.
        receiver
            .send(post("{}", &[]))
            .await
            .expect(401, "invalid_signature");
        assert_eq!(receiver.get("/health").await.status, 200);
    }
}

#[tokio::test]
async fn with_both_back_ends_hanging_the_answer_still_leaves_in_time() {
    let manager = SecretsManager::start(loopback().await).unwrap();
    manager.break_with(Some(emulators::Fault::Hang(Duration::from_secs(20))));
    let config = Config::new(TABLE, SecretSource::SecretsManager("any".into()));
    let receiver = Receiver::with(config, Some(&manager), Some(Fault::Hang)).await;
    let begun = Instant::now();
    receiver.deliver("{}").await.expect(503, "unavailable");
    assert!(
        begun.elapsed() < Duration::from_millis(4500),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_request_that_dynamodb_does_not_understand_is_a_defect_of_ours() {
    let fault = Fault::Answer(400, "ValidationException", times(usize::MAX));
    let receiver = Receiver::with(config(), None, Some(fault)).await;
    let answer = receiver
        .deliver(deepfake("event-1", "s", 0.5).to_string())
        .await
        .expect(500, "internal");
    assert!(
        !answer.body["message"].as_str().unwrap().contains("injected"),
        "causes are for the log"
    );
}

#[derive(Debug)]
struct Panics;

impl HttpConnector for Panics {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        panic!("a defect, injected where the network would be")
    }
}

#[tokio::test]
async fn a_panic_is_a_defect_of_ours_and_still_an_answer() {
    let mut receiver = Receiver::start().await;
    let panics = http_client_fn(|_, _| SharedHttpConnector::new(Panics));
    let sdk = emulators::sdk_config("http://127.0.0.1:9")
        .into_builder()
        .http_client(panics)
        .build();
    let app = App::on_aws(config(), &sdk, Telemetry::new(receiver.log.clone())).unwrap();
    receiver.router = router(app);
    let body = deepfake("event-1", "s", 0.5).to_string();
    let answer = receiver.deliver(&body).await.expect(500, "internal");
    assert!(
        !answer.body.to_string().contains("injected"),
        "causes are for the log"
    );
    assert_eq!(receiver.log.last()["status"], 500);
    // The process goes on.
    receiver
        .send(post(&body, &[]))
        .await
        .expect(401, "invalid_signature");
}
