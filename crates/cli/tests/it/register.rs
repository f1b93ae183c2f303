//! `register`: the call, and whether it is sent.

use serde_json::{Value, json};
use sonotheia_webhook::event::types::known_types;

use super::mock::{Mock, answer};
use super::{failed, run_with, succeeded, text};
use testkit::SECRET;

const URL: &str = "https://receiver.example/live/webhook";

#[test]
fn the_call_is_printed_without_the_secret_and_not_sent() {
    let secret = [("SONOTHEIA_WEBHOOK_SECRET", SECRET)];
    let output = run_with(&["register", URL], &secret, "");
    let shown = succeeded(&output);
    assert!(
        shown.contains("POST https://api.sonotheia.com/v1/webhooks\n"),
        "{shown}"
    );
    assert!(
        shown.contains("(redacted)") && shown.contains("Not sent"),
        "{shown}"
    );
    assert!(!shown.contains(SECRET));
    for event_type in known_types() {
        assert!(shown.contains(event_type), "{shown}");
    }
    let output = run_with(&["register", URL, "--show-secret"], &secret, "");
    assert!(succeeded(&output).contains(SECRET));
}

#[test]
fn with_apply_it_is_sent_and_the_answer_shown_without_the_secret() {
    let sender = Mock::start(|seen| {
        let call: Value = serde_json::from_slice(&seen.body).unwrap();
        answer(
            201,
            json!({"webhook_id": "wh_1", "secret": call["secret"], "status": "active"}).to_string(),
        )
    });
    let environment = [
        ("SONOTHEIA_WEBHOOK_SECRET", "one with a \" in it"),
        ("SONOTHEIA_API_KEY", "the key"),
    ];
    let arguments = [
        "register",
        URL,
        "--events",
        "sar.filed,mfa.failed",
        "--base-url",
        &sender.url,
        "--apply",
    ];
    let output = run_with(&arguments, &environment, "");
    let shown = succeeded(&output);
    assert!(
        shown.contains("Sonotheia answered 201") && shown.contains("wh_1"),
        "{shown}"
    );
    assert!(!shown.contains("in it") && !shown.contains("the key"), "{shown}");
    let seen = sender.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (seen[0].method.as_str(), seen[0].path.as_str()),
        ("POST", "/v1/webhooks")
    );
    assert_eq!(seen[0].header("authorization"), "Bearer the key");
    assert_eq!(seen[0].header("content-type"), "application/json");
    assert_eq!(
        serde_json::from_slice::<Value>(&seen[0].body).unwrap(),
        json!({"url": URL, "events": ["sar.filed", "mfa.failed"], "secret": "one with a \" in it"})
    );
}

#[test]
fn a_call_that_is_refused_or_can_not_be_made_fails() {
    let sender = Mock::start(|_| answer(422, "{}"));
    let arguments = ["register", URL, "--base-url", &sender.url, "--apply"];
    let secret = ("SONOTHEIA_WEBHOOK_SECRET", SECRET);
    failed(
        &run_with(&arguments, &[secret], ""),
        "SONOTHEIA_API_KEY is not set",
    );
    let output = run_with(&arguments, &[secret, ("SONOTHEIA_API_KEY", "k")], "");
    failed(&output, "answered 422");
    assert!(!text(&output.stdout).contains("Registered"));
    failed(
        &run_with(&["register", URL], &[("SONOTHEIA_WEBHOOK_SECRET", " ")], ""),
        "empty",
    );
}
