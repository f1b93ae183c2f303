//! `register`: the call, and when it is made.

use axum::body::Body;
use axum::response::Response;
use serde_json::{Value, json};
use sonotheia_webhook::event::types::known_types;

use super::mock::{Mock, answer};
use super::{failed, run_with, succeeded, text};
use testkit::SECRET;

const URL: &str = "https://receiver.example/live/webhook";

const WITH_SECRET: (&str, &str) = ("SONOTHEIA_WEBHOOK_SECRET", SECRET);

#[test]
fn the_call_is_printed_without_the_secret_and_not_made() {
    let output = run_with(&["register", URL], &[WITH_SECRET], "");
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
    let output = run_with(&["register", URL, "--show-secret"], &[WITH_SECRET], "");
    assert!(succeeded(&output).contains(SECRET));
    // Sonotheia's documents write the API's address with its version.
    let versioned = ["register", URL, "--base-url", "https://api.sonotheia.com/v1/"];
    let output = run_with(&versioned, &[WITH_SECRET], "");
    assert!(succeeded(&output).contains("POST https://api.sonotheia.com/v1/webhooks\n"));
}

#[test]
fn with_apply_the_call_is_made_and_the_answer_is_shown_without_the_secret() {
    let sender = Mock::start(|seen| {
        let call: Value = serde_json::from_slice(&seen.body).unwrap();
        // JSON can spell a text in many ways.
        let spelled: String = call["secret"]
            .as_str()
            .unwrap()
            .chars()
            .map(|c| format!("\\u{:04x}", c as u32))
            .collect();
        let body = format!(
            r#"{{"webhook_id":"wh_1","secret":{},"again":["{spelled}"],"key":"the key","status":"active"}}"#,
            call["secret"]
        );
        answer(201, body)
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
    assert_eq!(seen[0].header("x-api-key"), "the key");
    assert_eq!(seen[0].header("content-type"), "application/json");
    assert_eq!(
        serde_json::from_slice::<Value>(&seen[0].body).unwrap(),
        json!({"url": URL, "events": ["sar.filed", "mfa.failed"], "secret": "one with a \" in it"})
    );
}

#[test]
fn a_call_that_is_refused_or_cannot_be_made_fails() {
    let sender = Mock::start(|_| answer(422, "{}"));
    let arguments = ["register", URL, "--base-url", &sender.url, "--apply"];
    failed(
        &run_with(&arguments, &[WITH_SECRET], ""),
        "SONOTHEIA_API_KEY is not set",
    );
    let output = run_with(&arguments, &[WITH_SECRET, ("SONOTHEIA_API_KEY", "k")], "");
    failed(&output, "answered 422");
    assert!(!text(&output.stdout).contains("Registered"));
    failed(
        &run_with(&["register", URL], &[("SONOTHEIA_WEBHOOK_SECRET", " ")], ""),
        "empty",
    );
}

#[test]
fn an_address_that_is_no_webhook_gets_no_secret() {
    let sender = Mock::start(|_| answer(201, "{}"));
    let environment = [WITH_SECRET, ("SONOTHEIA_API_KEY", "k")];
    let register = |url: &str, more: &[&str]| {
        let arguments = [&["register", url, "--base-url", &sender.url, "--apply"], more].concat();
        run_with(&arguments, &environment, "")
    };
    for url in [
        "http://receiver.example/webhook",
        "http://localhost:8080/webhook",
        "https://127.1/webhook",
        "https://[::1]/webhook",
        "https://abc.example/",
        "https://abc.example",
        "https://abc.example/webhook/",
        "https://abc.example/hook",
    ] {
        let output = register(url, &[]);
        assert_eq!(output.status.code(), Some(2), "{url}");
        assert!(text(&output.stderr).contains("--force"), "{url}");
        assert_eq!(text(&output.stdout), "", "{url}");
    }
    for url in [
        "https://user:password@abc.example/webhook",
        "https://abc.example:8O80/webhook",
        "https://abc.example/web hook",
        " https://abc.example/webhook",
        "abc.example/webhook",
        "",
    ] {
        let output = register(url, &["--force"]);
        assert_eq!(output.status.code(), Some(2), "{url}");
    }
    assert_eq!(sender.seen().len(), 0);
    succeeded(&register("http://localhost:8080/webhook", &["--force"]));
    assert_eq!(sender.seen().len(), 1);
}

#[test]
fn an_answer_that_is_no_json_object_is_no_registration() {
    let html = "<html><title>Sign in</title></html>";
    for (kind, body, says) in [
        ("text/html; charset=utf-8", html, "35 bytes (text/html)"),
        ("application/json", html, "35 bytes (application/json)"),
        ("text/html", "{}", "2 bytes (text/html)"),
        ("application/json", "[]", "2 bytes (application/json)"),
        ("application/json", "", "0 bytes (application/json)"),
        ("", "{}", "2 bytes (no Content-Type)"),
    ] {
        let sender = Mock::start(move |_| {
            let mut response = Response::builder().status(200);
            if !kind.is_empty() {
                response = response.header("content-type", kind);
            }
            response.body(Body::from(body)).unwrap()
        });
        let arguments = ["register", URL, "--base-url", &sender.url, "--apply"];
        let output = run_with(&arguments, &[WITH_SECRET, ("SONOTHEIA_API_KEY", "k")], "");
        failed(&output, says);
        let shown = text(&output.stdout);
        assert!(
            !shown.contains("Registered") && !shown.contains("Sign in"),
            "{shown}"
        );
    }
    let sender = Mock::start(|_| {
        let response = Response::builder().header("content-type", "application/vnd.api+json; charset=utf-8");
        response.body(Body::from("{}")).unwrap()
    });
    let arguments = ["register", URL, "--base-url", &sender.url, "--apply"];
    succeeded(&run_with(
        &arguments,
        &[WITH_SECRET, ("SONOTHEIA_API_KEY", "k")],
        "",
    ));
}

#[test]
fn no_redirect_takes_the_key_and_the_secret_elsewhere() {
    let thief = Mock::start(|_| answer(201, "{}"));
    let target = format!("{}/v1/webhooks", thief.url);
    for status in [301, 302, 307, 308] {
        let target = target.clone();
        let sender = Mock::start(move |_| {
            let response = Response::builder().status(status).header("location", &target);
            response.body(Body::empty()).unwrap()
        });
        let arguments = ["register", URL, "--base-url", &sender.url, "--apply"];
        let output = run_with(&arguments, &[WITH_SECRET, ("SONOTHEIA_API_KEY", "k")], "");
        failed(&output, "redirects");
    }
    assert_eq!(thief.seen().len(), 0);
    let plain = ["register", URL, "--base-url", "http://api.example", "--apply"];
    let output = run_with(&plain, &[WITH_SECRET, ("SONOTHEIA_API_KEY", "k")], "");
    assert_eq!(output.status.code(), Some(2));
}
