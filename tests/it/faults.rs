//! Deliveries while DynamoDB is down, slow or throttling, and while answers get lost.

use std::time::{Duration, Instant};

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use axum::body::Body;
use emulators::SecretsManager;
use sonotheia_webhook::app::App;
use sonotheia_webhook::config::{Config, SecretSource};
use sonotheia_webhook::deadline::SECRETS_MANAGER;
use sonotheia_webhook::router::router;
use sonotheia_webhook::telemetry::Telemetry;

use testkit::*;

fn config() -> Config {
    Config::new(TABLE, SecretSource::Fixed(SECRET.into()))
}

/// A receiver with this fault between it and DynamoDB.
async fn receiver(faults: Faults) -> Receiver {
    Receiver::with(config(), None, Some(faults)).await
}

/// The fault that loses the answer of a call that DynamoDB has made.
const LOSE_ANSWER: Fault = Fault::CutAfter(Duration::ZERO);

/// The contract's time for an answer.
#[track_caller]
fn in_time(begun: Instant) {
    let taken = begun.elapsed();
    assert!(taken < Duration::from_millis(4500), "{taken:?}");
}

#[tokio::test]
async fn a_write_that_the_sdk_retried_after_a_lost_answer_is_no_duplicate() {
    for lost in 1..=2 {
        let receiver = receiver(LOSE_ANSWER.times(lost)).await;
        let body = deepfake("event-1", "session-1", 0.5).to_string();
        receiver.deliver(&body).await.received(false);
        assert_eq!(receiver.items().await.len(), 1);
        // The sender's retry is a duplicate.
        receiver.deliver(&body).await.received(true);
    }
}

#[tokio::test]
async fn if_all_answers_of_a_write_are_lost_the_delivery_is_unavailable_and_its_retry_is_a_duplicate() {
    let receiver = receiver(LOSE_ANSWER.times(3)).await;
    let body = deepfake("event-1", "session-1", 0.5).to_string();
    receiver.deliver(&body).await.expect(503, "unavailable");
    assert_eq!(receiver.items().await.len(), 1);
    receiver.deliver(&body).await.received(true);
    assert_eq!(receiver.items().await.len(), 1);
}

#[tokio::test]
async fn the_request_retries_after_throttling_and_failures() {
    for (status, code) in [
        (400, "ProvisionedThroughputExceededException"),
        (400, "ThrottlingException"),
        (500, "InternalServerError"),
        (503, "ServiceUnavailable"),
    ] {
        let receiver = receiver(Fault::Answer(status, code).times(2)).await;
        let body = deepfake("event-1", "session-1", 0.5).to_string();
        receiver.deliver(&body).await.received(false);
    }
}

#[tokio::test]
async fn while_dynamodb_fails_throttles_or_hangs_every_answer_is_unavailable_and_in_time() {
    let faults = [
        Fault::Answer(400, "ProvisionedThroughputExceededException"),
        Fault::Answer(500, "InternalServerError"),
        Fault::Answer(400, "AccessDeniedException"),
        Fault::Answer(400, "ResourceNotFoundException"),
        Fault::Hang,
        Fault::CutBefore,
    ];
    for fault in faults {
        let receiver = receiver(fault.always()).await;
        for body in [deepfake("event-1", "session-1", 0.5).to_string(), "{}".to_owned()] {
            let begun = Instant::now();
            let answer = receiver.deliver(&body).await.expect(503, "unavailable");
            assert!(answer.headers.contains_key("retry-after"));
            in_time(begun);
        }
        for path in ["/results", "/results/session-1", "/events/event-1"] {
            let begun = Instant::now();
            receiver.get(path).await.expect(503, "unavailable");
            in_time(begun);
        }
        // A forgery needs no DynamoDB, and neither does the health check.
        receiver
            .send(post("{}", &[]))
            .await
            .expect(401, "invalid_signature");
        assert_eq!(receiver.get("/health").await.status, 200);
    }
}

#[tokio::test]
async fn with_both_back_ends_slow_the_answer_still_leaves_in_time() {
    // Secrets Manager answers shortly before the limit of an attempt, so that the delivery has a secret and goes on to
    // DynamoDB, which never answers.
    let manager = SecretsManager::start(loopback().await).unwrap();
    let sdk = emulators::sdk_config(manager.endpoint());
    let client = aws_sdk_secretsmanager::Client::new(&sdk);
    let create = client.create_secret().name("webhook").secret_string(SECRET);
    create.send().await.unwrap();
    let slow = SECRETS_MANAGER.attempt - Duration::from_millis(100);
    manager.break_with(Some(emulators::Fault::Hang(slow)));
    let config = Config::new(TABLE, SecretSource::SecretsManager("webhook".into()));
    let receiver = Receiver::with(config, Some(&manager), Some(Fault::Hang.always())).await;
    let begun = Instant::now();
    let body = deepfake("event-1", "session-1", 0.5).to_string();
    receiver.deliver(body).await.expect(503, "unavailable");
    in_time(begun);
    assert!(begun.elapsed() > slow, "the delivery waited for the secret");
    assert!(receiver.calls() > 0, "the delivery reached DynamoDB");
}

#[tokio::test]
async fn while_secrets_manager_hangs_the_answer_leaves_in_time_and_costs_no_call_to_dynamodb() {
    let manager = SecretsManager::start(loopback().await).unwrap();
    manager.break_with(Some(emulators::Fault::Hang(Duration::from_secs(20))));
    let config = Config::new(TABLE, SecretSource::SecretsManager("any".into()));
    let receiver = Receiver::with(config, Some(&manager), Some(Fault::Hang.always())).await;
    let begun = Instant::now();
    receiver.deliver("{}").await.expect(503, "unavailable");
    in_time(begun);
    assert_eq!(receiver.calls(), 0);
}

#[tokio::test]
async fn a_request_that_dynamodb_calls_invalid_is_a_defect_of_the_receiver() {
    let fault = Fault::Answer(400, "ValidationException");
    let receiver = receiver(fault.always()).await;
    let answer = receiver
        .deliver(deepfake("event-1", "s", 0.5).to_string())
        .await
        .expect(500, "internal");
    assert!(
        !answer.body["message"].as_str().unwrap().contains("injected"),
        "the answer must not quote the cause"
    );
}

#[derive(Debug)]
struct Panics;

impl HttpConnector for Panics {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        panic!("injected: a defect in the place of the network")
    }
}

#[tokio::test]
async fn a_panic_is_answered_with_500() {
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
        "the answer must not quote the cause"
    );
    assert_eq!(receiver.log.last()["status"], 500);
    // The receiver still serves requests.
    receiver
        .send(post(&body, &[]))
        .await
        .expect(401, "invalid_signature");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_unreadable_and_not_too_large() {
    let receiver = Receiver::start().await;
    let parts = [Ok("{"), Err(std::io::Error::other("the connection broke"))];
    let mut request = signed("{", SECRET);
    *request.body_mut() = Body::from_stream(futures_util::stream::iter(parts));
    receiver.send(request).await.expect(400, "invalid_request");
    assert_eq!(receiver.log.last()["outcome"], "unreadable");
}
