//! The figures and the levels of the log (contract, section 7): each value is exact.

use std::time::Duration;

use serde_json::{Value, json};
use sonotheia_webhook::config::{Config, SecretSource};
use sonotheia_webhook::ingest::{Rules, judge};
use sonotheia_webhook::telemetry::{Delivered, DeliveryLog, Invocation, Line, Telemetry, log_panics};
use sonotheia_webhook::timestamp::Timestamp;
use testkit::*;

const NOW: Timestamp = Timestamp::from_millis(1_768_996_800_250);

fn line(status: u16, delivery: Option<&DeliveryLog>) -> Value {
    let line = Line {
        service: "service",
        received_at: NOW,
        invocation: &Invocation::default(),
        method: "POST",
        route: "/webhook",
        status,
        duration: Duration::from_nanos(12_345_678),
        delivery,
        cold_start: false,
    };
    serde_json::to_value(&line).unwrap()
}

#[test]
fn durations_are_milliseconds_with_three_decimals() {
    let delivery = DeliveryLog {
        delivered: Delivered::Accepted,
        store_latency: Some(Duration::from_nanos(2_500_400)),
        lag_ms: Some(-1500),
        problems: 3,
        secret_refreshes: 2,
        previous_secret: true,
        ..DeliveryLog::default()
    };
    let line = line(200, Some(&delivery));
    let figures = json!({
        "duration_ms": 12.345, "HandlerLatency": 12.346, "StoreLatency": 2.5, "DeliveryLag": -1500.0,
        "Accepted": 1, "FieldProblem": 3, "SecretRefresh": 2, "PreviousSecretUsed": 1,
    });
    for (name, figure) in figures.as_object().unwrap() {
        assert_eq!(&line[name], figure, "{name}");
    }
    assert_eq!(line["timestamp"], "2026-01-21T12:00:00.250Z");
    assert_eq!(line["_aws"]["Timestamp"], 1_768_996_800_250_i64);
}

#[test]
fn the_lag_is_the_time_of_receipt_less_the_signed_time() {
    let rules = Rules {
        retention_days: 90,
        alert_threshold: 0.8,
        write_limit: Duration::from_secs(5),
    };
    for (time, lag) in [
        ("2026-01-21T11:59:00.000Z", Some(60_250)),
        ("2026-01-21T12:00:01.000Z", Some(-750)),
        ("no time", None),
    ] {
        let body = json!({"id": "event-1", "type": "t", "timestamp": time, "data": {}}).to_string();
        let mut log = DeliveryLog::default();
        log.judged(&judge(body.as_bytes(), &rules, NOW), NOW);
        assert_eq!(log.lag_ms, lag, "{time}");
    }
}

#[test]
fn a_request_that_is_no_delivery_has_the_outcome_of_its_status() {
    for (status, outcome) in [
        (200, "ok"),
        (399, "ok"),
        (400, "refused"),
        (404, "refused"),
        (499, "refused"),
        (500, "internal"),
        (502, "internal"),
        (503, "unavailable"),
    ] {
        let line = line(status, None);
        assert_eq!(line["outcome"], outcome, "{status}");
        assert_eq!(line.get("Unavailable").is_some(), status == 503, "{status}");
    }
}

#[tokio::test]
async fn a_read_that_succeeds_is_logged_as_ok_and_a_read_that_fails_as_refused() {
    let receiver = Receiver::start().await;
    for (path, status, outcome) in [
        ("/health", 200, "ok"),
        ("/results", 200, "ok"),
        ("/results/none", 404, "refused"),
        ("/results?limit=0", 400, "refused"),
        ("/nowhere", 404, "refused"),
    ] {
        assert_eq!(receiver.get(path).await.status, status, "{path}");
        let line = receiver.log.last();
        assert_eq!(
            (&line["outcome"], &line["status"]),
            (&json!(outcome), &json!(status)),
            "{path}"
        );
    }
}

/// The log of events at each level, from this project, from a crate of which only errors are logged, and from another crate.
fn log_of_all_levels() -> String {
    let log = Log::default();
    let subscriber = Telemetry::new(log.clone()).subscriber(&["noisy"]);
    tracing::subscriber::with_default(subscriber, || {
        let _span = tracing::error_span!(target: "sonotheia_webhook", "a span", private = "words").entered();
        tracing::trace!(target: "sonotheia_webhook", "our trace");
        tracing::debug!(target: "sonotheia_webhook", "our debug");
        tracing::info!(target: "sonotheia_webhook", text = "t", count = 7_u64, less = -7_i64, part = 0.5, is = true, "our info");
        tracing::warn!(target: "sonotheia_webhook", "our warn");
        tracing::error!(target: "sonotheia_webhook", "our error");
        tracing::warn!(target: "noisy::part", "noisy warn");
        tracing::error!(target: "noisy::part", "noisy error");
        tracing::debug!(target: "other", "other debug");
        tracing::info!(target: "other", "other info");
    });
    log.text()
}

#[test]
fn the_log_has_our_events_from_info_on_and_only_the_place_of_the_events_of_other_crates() {
    let log = log_of_all_levels();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let shown: Vec<_> = lines
        .iter()
        .map(|line| (line["level"].as_str().unwrap(), line["target"].as_str().unwrap()))
        .collect();
    assert_eq!(
        shown,
        [
            ("INFO", "sonotheia_webhook"),
            ("WARN", "sonotheia_webhook"),
            ("ERROR", "sonotheia_webhook"),
            ("ERROR", "noisy::part"),
            ("INFO", "other"),
        ]
    );
    let ours = &lines[0];
    assert_eq!(ours["message"], "our info");
    assert_eq!(
        [
            &ours["text"],
            &ours["count"],
            &ours["less"],
            &ours["part"],
            &ours["is"]
        ],
        [&json!("t"), &json!(7), &json!(-7), &json!(0.5), &json!(true)]
    );
    assert!(
        !log.contains("noisy error") && !log.contains("other info") && !log.contains("words"),
        "{log}"
    );
    assert!(
        lines[4]["place"]
            .as_str()
            .unwrap()
            .starts_with("tests/it/figures.rs:"),
        "{log}"
    );
}

#[tokio::test]
async fn the_cause_of_a_500_is_in_the_log_and_a_refused_request_has_no_cause_there() {
    let config = Config::new(TABLE, SecretSource::Fixed(SECRET.into()));
    let fault = Fault::Answer(400, "ValidationException");
    let receiver = Receiver::with(config, None, Some(fault.always())).await;
    let _logged = tracing::subscriber::set_default(receiver.app.telemetry.subscriber(emulators::ERRORS_ONLY));
    let answer = receiver
        .deliver(deepfake("event-1", "s", 0.5).to_string())
        .await
        .expect(500, "internal");
    let log = receiver.log.text();
    let cause: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(cause["level"], "ERROR");
    assert_eq!(cause["request_id"], answer.body["request_id"]);
    assert!(
        cause["cause"].as_str().unwrap().contains("ValidationException"),
        "{cause}"
    );
    assert_eq!(log.lines().count(), 2, "{log}");
    assert_eq!(receiver.log.last()["outcome"], "internal");

    receiver
        .send(post("{}", &[]))
        .await
        .expect(401, "invalid_signature");
    assert_eq!(receiver.log.text().lines().count(), 3, "{log}");
}

#[test]
fn a_panic_is_one_line_with_its_place_and_without_its_message() {
    let log = Log::default();
    let subscriber = Telemetry::new(log.clone()).subscriber(&[]);
    tracing::subscriber::with_default(subscriber, || {
        let before = std::panic::take_hook();
        log_panics();
        let panicked = std::panic::catch_unwind(|| panic!("private words"));
        std::panic::set_hook(before);
        assert!(panicked.is_err());
    });
    let line = log.last();
    assert_eq!(log.text().lines().count(), 1);
    assert_eq!(
        (&line["level"], &line["message"]),
        (&json!("ERROR"), &json!("a panic"))
    );
    assert!(
        line["location"]
            .as_str()
            .unwrap()
            .starts_with("tests/it/figures.rs:"),
        "{line}"
    );
    assert!(!log.text().contains("private words"), "{line}");
}
