//! The first commands of a new user, bad usage, and the samples.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use emulators::sample_events::{self, Envelope};
use sonotheia_webhook::event::Event;
use sonotheia_webhook::event::types::known_types;
use sonotheia_webhook::timestamp::Timestamp;
use testkit::{SECRET, sign};

use super::*;

#[test]
fn serve_makes_a_secret_and_prints_a_send_that_works() {
    let mut server = serve(&[], None);
    let line = server
        .banner
        .lines()
        .find_map(|line| line.trim().strip_prefix("cargo sonotheia "))
        .unwrap();
    let arguments: Vec<&str> = line.split_whitespace().collect();
    let output = run(&arguments, "");
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    for event_type in known_types() {
        assert!(said.contains(event_type), "{event_type} in {said}");
    }
    assert!(said.contains("8 accepted, 0 duplicate, 0 refused"), "{said}");
    assert_eq!(server.process.terminate(), Some(0));
}

#[test]
fn serve_accepts_the_dated_samples_of_sonotheias_documents() {
    let server = serve(&[], Some(SECRET));
    let file = tempfile::NamedTempFile::new().unwrap();
    let sample = r#"{"type":"sar.submitted","id":"event-ghi789","data":{"session_id":"session-xyz789","case_id":"sar-001234","status":"submitted","timestamp":"2026-01-21T12:00:10Z"}}"#;
    std::fs::write(file.path(), sample).unwrap();
    let url = format!("{}/webhook", server.url.trim_end_matches("/results"));
    let arguments = [
        "send",
        "--url",
        &url,
        "--secret",
        SECRET,
        "--file",
        file.path().to_str().unwrap(),
    ];
    let output = run(&arguments, "");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

#[test]
fn serve_ends_on_sigterm_while_a_client_holds_a_connection() {
    let mut server = serve(&[], Some(SECRET));
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream
        .write_all(b"POST /webhook HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n{")
        .unwrap();
    assert_eq!(server.process.terminate(), Some(0));
    let _ = stream.read(&mut [0; 1]);
}

#[test]
fn send_makes_duplicates_and_forgeries_and_checks_each_answer() {
    let server = serve(&[], Some(SECRET));
    for (envelope, concurrency) in [("guide", "1"), ("schema", "8")] {
        let output = run(
            &[
                "send",
                "--url",
                &server.url,
                "--secret",
                SECRET,
                "--envelope",
                envelope,
                "--count",
                "200",
                "--concurrency",
                concurrency,
                "--duplicates",
                "20",
                "--corrupt",
                "10",
            ],
            "",
        );
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
        assert!(said.contains("140 accepted, 40 duplicate, 20 refused"), "{said}");
    }
}

#[test]
fn send_fails_where_an_answer_is_not_the_expected_one() {
    let server = serve(&[], Some(SECRET));
    let output = run(
        &["send", "sar.filed", "--url", &server.url, "--secret", "another"],
        "",
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("401"), "{}", text(&output.stdout));
    // Nobody listens on the discard port.
    let output = run(&["send", "--url", "http://127.0.0.1:9", "--secret", SECRET], "");
    failed(&output, "sonotheia serve");
}

#[test]
fn a_data_file_keeps_the_records_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("events.db");
    let body = folder.path().join("body.json");
    std::fs::write(
        &body,
        r#"{"id":"event-1","type":"sar.filed","data":{"case_id":"c"}}"#,
    )
    .unwrap();
    let data = data.to_str().unwrap();
    for duplicate in [false, true] {
        let mut server = serve(&["--data", data], Some(SECRET));
        let file = body.to_str().unwrap();
        let output = run(
            &["send", "--url", &server.url, "--secret", SECRET, "--file", file],
            "",
        );
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert_eq!(said.contains("1 duplicate"), duplicate, "{said}");
        assert_eq!(server.process.terminate(), Some(0));
    }
}

#[test]
fn serve_says_what_is_wrong_in_one_go() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    failed(&run(&["serve", "--port", &port], ""), &port);
    failed(
        &run(
            &["serve", "--port", "0", "--data", "/no/such/folder/events.db"],
            "",
        ),
        "/no/such/folder",
    );
    let faulty = sonotheia(&["serve", "--port", "0"])
        .env("RETENTION_DAYS", "0")
        .env("MAX_BODY_BYTES", "many")
        .output()
        .unwrap();
    failed(&faulty, "RETENTION_DAYS");
    failed(&faulty, "MAX_BODY_BYTES");
}

#[test]
fn bad_usage_is_status_2() {
    for arguments in [
        vec![],
        vec!["serv"],
        vec!["serve", "--port", "70000"],
        vec!["send", "no.such.type", "--secret", "s"],
        vec!["send", "--duplicates", "101", "--secret", "s"],
        vec!["send", "--duplicates", "60", "--corrupt", "60", "--secret", "s"],
        vec!["send", "--count", "0", "--secret", "s"],
        vec!["send", "--url", "ftp://a", "--secret", "s"],
        vec!["verify", "--secret", "s"],
        vec!["results", "--limit", "0"],
        vec!["results", "--from", "yesterday"],
        vec!["results", "--from", "1h", "--to", "2h"],
        vec!["redrive", "--table", "t", "--from", "1h", "--to", "2h"],
        vec!["results", "a session", "--type", "sar.filed"],
        vec!["results", "--url", "http://127.0.0.1:1", "--table", "t"],
        vec!["results", "--dynamodb", "http://127.0.0.1:1"],
        vec!["results", "--region", "eu-central-1"],
        vec!["results", "--url", "http://127.0.0.1:8O80"],
        vec!["results", "--url", "ftp://127.0.0.1"],
        vec!["results", "--url", "http://127.0.0.1:8080/results"],
        vec!["tail", "--url", "http://127.0.0.1:8080/live"],
        vec!["event", "e", "--url", "http://user@127.0.0.1"],
        vec!["doctor", "--url", "http://127.0.0.1:8O80/webhook"],
        vec!["doctor", "--url", "http://127.0.0.1:8080/health"],
        vec!["results", ""],
        vec!["redrive", "--table", "t", "--dynamodb", "http://127.0.0.1:8O80"],
        vec![
            "reconcile",
            "--table",
            "t",
            "--base-url",
            "https://api.example:44E",
        ],
        vec!["event"],
        vec!["event", ""],
        vec!["event", "an id", "--body", "--json"],
        vec!["tail", "--interval", "1"],
        vec!["inspect"],
        vec!["inspect", "--table", ""],
        vec!["redrive"],
        vec!["reconcile"],
        vec!["reconcile", "--table", "t", "--base-url", "http://api.example"],
        vec!["register"],
        vec!["register", "http://receiver.example/webhook", "--secret", "s"],
        vec!["register", "https://receiver.example/webhook"],
        vec![
            "register",
            "https://receiver.example/webhook",
            "--secret",
            "s",
            "--events",
            "sar.lost",
        ],
        vec!["doctor", "--dynamodb", "http://127.0.0.1:1"],
        vec!["completions", "cmd"],
        vec!["man", "nothing"],
    ] {
        let output = run(&arguments, "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
}

#[test]
fn sign_and_verify_agree_with_rfc_4231() {
    let known = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    let data = "what do ya want for nothing?";
    let signed = run(&["sign", "--secret", "Jefe"], data);
    assert_eq!(text(&signed.stdout).trim(), known);
    let prefixed = format!("sha256={known}");
    let verify =
        |signature: &str, data: &str| run(&["verify", "--secret", "Jefe", "--signature", signature], data);
    let valid = verify(&prefixed, data);
    assert_eq!(
        (valid.status.code(), text(&valid.stdout).trim()),
        (Some(0), "valid")
    );
    assert_eq!(verify(known, "another body").status.code(), Some(1));
    failed(&verify("abc", data), "64 hex digits");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, "in a file\n").unwrap();
    let signed = run(&["sign", "--secret", SECRET, file.to_str().unwrap()], "");
    assert_eq!(text(&signed.stdout).trim(), sign("in a file\n", SECRET));
    failed(
        &run(&["sign", "--secret", SECRET, "/no/such/file"], ""),
        "/no/such/file",
    );
}

#[test]
fn the_output_of_backends_is_an_environment_for_a_shell() {
    let mut command = sonotheia(&["backends", "--dynamodb-port", "0", "--secrets-port", "0"]);
    let mut backends = Running::start(&mut command);
    let output = backends.output_to("export AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH=");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backends.env");
    std::fs::write(&file, &output).unwrap();
    let shell = Command::new("sh")
        .env("SONOTHEIA_WEBHOOK_SECRET", "would be one too many")
        .args(["-euc", ". \"$0\"; env", Path::to_str(&file).unwrap()])
        .output()
        .unwrap();
    assert!(shell.status.success(), "{}", text(&shell.stderr));
    let environment: std::collections::HashMap<_, _> = text(&shell.stdout)
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    assert!(!environment.contains_key("SONOTHEIA_WEBHOOK_SECRET"));
    assert_eq!(environment["EVENTS_TABLE"], "sonotheia-events");

    // Both answer the SDK's clients, and hold what a receiver needs.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let sdk = |endpoint| emulators::sdk_config(environment[endpoint]);
        let dynamodb = aws_sdk_dynamodb::Client::new(&sdk("AWS_ENDPOINT_URL_DYNAMODB"));
        dynamodb
            .describe_table()
            .table_name(environment["EVENTS_TABLE"])
            .send()
            .await
            .unwrap();
        let secrets = aws_sdk_secretsmanager::Client::new(&sdk("AWS_ENDPOINT_URL_SECRETS_MANAGER"));
        let id = environment["SONOTHEIA_WEBHOOK_SECRET_ARN"];
        let secret = secrets.get_secret_value().secret_id(id).send().await.unwrap();
        assert!(secret.secret_string().unwrap().contains("webhook_secret"));
    });
    assert_eq!(backends.terminate(), Some(0));
}

#[test]
fn every_sample_in_both_envelopes_is_free_of_problems() {
    for event_type in known_types() {
        for envelope in [Envelope::Guide, Envelope::Schema] {
            let body =
                sample_events::event(event_type, envelope, "event-1", "session-1", Timestamp::now()).unwrap();
            let body = body.to_string();
            let event = Event::parse(body.as_bytes(), 0.8).unwrap();
            assert_eq!(event.problems, [], "{body}");
            assert_eq!(event.event_type, event_type);
            assert!(event.known_type && event.occurred_at.is_some());
        }
    }
}
