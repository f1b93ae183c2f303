//! `serve --table`: the receiver on a table of DynamoDB itself. `backends` stands in for AWS.

use std::process::Output;

use serde_json::{Value, json};

use super::mock::{Mock, answer};
use super::serve_hosts::{Raw, raw};
use super::{Running, failed, run, run_with, sonotheia, succeeded, text};
use testkit::{SECRET, at, deepfake};

/// The variables that `backends` prints, without the region's metadata.
struct Aws {
    _process: Running,
    variables: Vec<(String, String)>,
}

impl Aws {
    fn start() -> Self {
        let mut command = sonotheia(&["backends", "--dynamodb-port", "0", "--secrets-port", "0"]);
        command.env("SONOTHEIA_WEBHOOK_SECRET", SECRET);
        let mut process = Running::start(&mut command);
        let output = process.output_to("export AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH=");
        let exports = output.lines().filter_map(|line| line.strip_prefix("export "));
        let variables = exports
            .filter_map(|line| line.split_once('='))
            // `serve --table` needs no EVENTS_TABLE.
            .filter(|(name, _)| *name != "EVENTS_TABLE")
            .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
            .collect();
        Self {
            _process: process,
            variables,
        }
    }

    /// The environment, with `more`. A variable without a value is left out.
    fn command(&self, arguments: &[&str], more: &[(&str, Option<&str>)]) -> std::process::Command {
        let mut command = sonotheia(&[&["serve", "--port", "0"], arguments].concat());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        for (name, value) in more {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// A running `serve --table`, and its address.
    fn serve(&self, arguments: &[&str], more: &[(&str, Option<&str>)]) -> (Running, String) {
        let arguments = [&["--table", "sonotheia-events"], arguments].concat();
        let mut process = Running::start(&mut self.command(&arguments, more));
        let banner = process.output_to("Routes: ");
        assert!(!banner.contains("Secret"), "{banner}");
        let address = banner
            .lines()
            .next()
            .unwrap()
            .trim_start_matches("Listening on http://");
        (process, address.replace("0.0.0.0", "127.0.0.1"))
    }

    fn output(&self, arguments: &[&str], more: &[(&str, Option<&str>)]) -> Output {
        self.command(arguments, more).output().unwrap()
    }
}

fn send(address: &str, body: &Value) -> Output {
    let url = format!("http://{address}");
    run(
        &["send", "--url", &url, "--secret", SECRET, "--file", "-"],
        &body.to_string(),
    )
}

fn get(address: &str, path: &str, host: &str) -> Raw {
    raw(
        address,
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"),
    )
}

#[test]
fn it_accepts_deliveries_and_has_no_other_route() {
    let aws = Aws::start();
    let (mut process, address) = aws.serve(&[], &[]);
    let event = deepfake("event-1", "session-1", 0.5);
    assert!(succeeded(&send(&address, &event)).contains("1 accepted"));
    assert!(succeeded(&send(&address, &event)).contains("1 duplicate"));
    assert_eq!(get(&address, "/health", "receiver.example").status, 200);
    let port = address.rsplit(':').next().unwrap();
    succeeded(&run_with(&["health"], &[("PORT", port)], ""));
    succeeded(&run(&["health", "--url", &address], ""));
    for path in [
        "/",
        "/results",
        "/results/",
        "/results/session-1",
        "/events/event-1",
        "/inspector/page.js",
        "/inspector/deliveries",
    ] {
        let answer = get(&address, path, &address);
        assert_eq!(answer.status, 404, "{path}");
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["code"], "not_found", "{path}");
        assert!(!answer.body.contains("event-1"), "{path}");
    }
    // The retention is the function's default.
    let old =
        json!({"id": "old", "type": "sar.filed", "data": {"case_id": "c", "timestamp": at(-91 * 86_400)}});
    let answer = send(&address, &old);
    assert!(text(&answer.stdout).contains("400"), "{}", text(&answer.stdout));
    assert_eq!(process.terminate(), Some(0));
    failed(&run_with(&["health"], &[("PORT", port)], ""), "no answer from");

    // Another process on the same table; the secret is in a variable this time.
    let variables = [
        ("SONOTHEIA_WEBHOOK_SECRET", Some(SECRET)),
        ("SONOTHEIA_WEBHOOK_SECRET_ARN", None),
    ];
    let (_process, address) = aws.serve(&[], &variables);
    assert!(succeeded(&send(&address, &event)).contains("1 duplicate"));
}

#[test]
fn a_route_answers_if_it_is_named() {
    let aws = Aws::start();
    let (_process, address) = aws.serve(&["--routes", "webhook,results"], &[]);
    succeeded(&send(&address, &deepfake("event-1", "session-1", 0.5)));
    let results = get(&address, "/results", &address);
    assert!(
        results.status == 200 && results.body.contains("event-1"),
        "{}",
        results.body
    );
    for path in ["/health", "/events/event-1"] {
        assert_eq!(get(&address, path, &address).status, 404, "{path}");
    }
    // On a loopback address the reads are for this machine, as without a table.
    assert_eq!(get(&address, "/results", "evil.example").status, 403);
    // An operator who opens the address to other machines wants their requests.
    let (_process, address) = aws.serve(
        &["--host", "0.0.0.0", "--routes", "results", "--routes", "events"],
        &[],
    );
    for path in ["/results", "/results/session-1", "/events/event-1"] {
        assert_eq!(get(&address, path, "receiver.example:8080").status, 200, "{path}");
    }
    assert_eq!(get(&address, "/webhook", &address).status, 404);
}

#[test]
fn the_log_is_json_with_the_metrics_of_the_function() {
    let aws = Aws::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    let arguments = ["--table", "sonotheia-events", "--host", "0.0.0.0"];
    let mut command = aws.command(&arguments[..], &[("SERVICE_NAME", Some("a-stack"))]);
    let piped = command
        .stdout(std::process::Stdio::piped())
        .stderr(file.reopen().unwrap());
    let mut process = Running(piped.spawn().unwrap());
    let banner = process.output_to("Routes: webhook, health");
    let port = banner.lines().next().unwrap().rsplit(':').next().unwrap();
    succeeded(&send(
        &format!("127.0.0.1:{port}"),
        &deepfake("event-1", "s", 0.5),
    ));
    assert_eq!(process.terminate(), Some(0));
    let log = std::fs::read_to_string(file.path()).unwrap();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert_eq!(lines[0]["outcome"], "accepted");
    assert_eq!(lines[0]["Service"], "a-stack");
    assert_eq!(lines[0]["Accepted"], 1);
}

#[test]
fn a_table_that_cannot_be_used_and_faults_of_the_environment_end_it_at_once() {
    let aws = Aws::start();
    let table = ["--table", "sonotheia-events"];
    failed(
        &aws.output(&["--table", "no-such-table"], &[]),
        "cannot use table no-such-table",
    );
    let nobody = [("AWS_ACCESS_KEY_ID", None), ("AWS_SECRET_ACCESS_KEY", None)];
    failed(&aws.output(&table, &nobody), "there are no AWS credentials");
    let nowhere = [("AWS_REGION", None)];
    failed(&aws.output(&table, &nowhere), "AWS_REGION");
    let faulty = [
        ("SONOTHEIA_WEBHOOK_SECRET", Some(SECRET)),
        ("RETENTION_DAYS", Some("0")),
        ("AWS_RETRY_MODE", Some("x")),
    ];
    let output = aws.output(&table, &faulty);
    for variable in ["SONOTHEIA_WEBHOOK_SECRET ", "RETENTION_DAYS ", "AWS_RETRY_MODE "] {
        failed(&output, variable);
    }
    let no_secret = [("SONOTHEIA_WEBHOOK_SECRET_ARN", None)];
    failed(
        &aws.output(&table, &no_secret),
        "SONOTHEIA_WEBHOOK_SECRET_ARN is not set",
    );
    for arguments in [
        &["serve", "--table", ""][..],
        &["serve", "--table", "t", "--data", "f"],
        &["serve", "--table", "t", "--dynamodb-port", "1"],
        &["serve", "--table", "t", "--routes", "inspector"],
        &["serve", "--routes", "webhook"],
    ] {
        assert_eq!(run(arguments, "").status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn it_starts_while_dynamodb_does_not_answer() {
    let aws = Aws::start();
    let (mut process, address) = aws.serve(&[], &[("AWS_ENDPOINT_URL_DYNAMODB", Some("http://127.0.0.1:9"))]);
    assert_eq!(get(&address, "/health", "a").status, 200);
    let answer = send(&address, &deepfake("event-1", "s", 0.5));
    assert!(text(&answer.stdout).contains("503"), "{}", text(&answer.stdout));
    assert_eq!(process.terminate(), Some(0));
}

#[test]
fn the_health_check_believes_a_receiver_only() {
    for (status, body, says) in [
        (503, "{}", "answered 503"),
        (404, "{}", "answered 404"),
        (200, "<html>", "not a receiver's"),
        (200, r#"{"status":"failing","version":"1"}"#, "not a receiver's"),
    ] {
        let mock = Mock::start(move |_| answer(status, body.to_owned()));
        failed(&run(&["health", "--url", &mock.url], ""), says);
    }
    failed(
        &run_with(&["health"], &[("PORT", "http")], ""),
        "PORT is not the number of a port",
    );
}

#[test]
fn the_ports_of_backends_are_for_programs_of_this_machine() {
    let aws = Aws::start();
    for name in ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_SECRETS_MANAGER"] {
        let (_, url) = aws
            .variables
            .iter()
            .find(|(variable, _)| variable == name)
            .unwrap();
        let address = url.trim_start_matches("http://");
        assert_ne!(get(address, "/", address).status, 403, "{name}");
        assert_eq!(get(address, "/", "evil.example").status, 403, "{name}");
    }
}

#[test]
fn send_finds_the_secret_of_a_serve_over_a_table() {
    let aws = Aws::start();
    let fixed = [
        ("SONOTHEIA_WEBHOOK_SECRET_ARN", None),
        ("SONOTHEIA_WEBHOOK_SECRET", Some(SECRET)),
    ];
    let (_process, address) = aws.serve(&[], &fixed);
    let url = format!("http://{address}/webhook");
    let sent = run(&["send", "sar.filed", "--url", &url], "");
    assert!(
        succeeded(&sent).contains("200 accepted"),
        "{}",
        text(&sent.stdout)
    );
}
