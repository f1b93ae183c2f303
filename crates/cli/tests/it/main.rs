//! The command line, driven as a person would: the real binary, its output and its exit status.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop where it stands"
)]

mod addresses;
mod display;
mod doctor;
mod doctor_faults;
mod documents;
mod ends;
mod environment;
mod erase;
mod guide;
mod inspector;
mod inspector_bounds;
mod inspector_browser;
mod inspector_page;
mod inspector_page_use;
mod inspector_records;
mod listen;
mod lists;
mod manual;
mod mock;
mod mock_api;
mod names;
mod proxies;
mod reads;
mod reconcile;
mod redrive;
mod register;
mod serve_data;
mod serve_ends;
mod serve_hosts;
mod serve_log;
mod serve_secret;
mod serve_table;
mod tls;
mod transcripts;
mod unanswered;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use emulators::sample_events::{self, Envelope};
use sonotheia_webhook::event::Event;
use sonotheia_webhook::event::types::known_types;
use sonotheia_webhook::timestamp::Timestamp;

use testkit::{SECRET, sign};

fn sonotheia(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sonotheia"));
    command.args(arguments);
    for variable in [
        "SONOTHEIA_WEBHOOK_SECRET",
        "SONOTHEIA_WEBHOOK_SECRET_ARN",
        "SONOTHEIA_WEBHOOK_PREVIOUS_SECRET",
        "SONOTHEIA_API_KEY",
        "NO_COLOR",
        "EVENTS_TABLE",
        "RETENTION_DAYS",
        "PORT",
        "AWS_PROFILE",
        "SSL_CERT_FILE",
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
        "NO_PROXY",
        "no_proxy",
    ] {
        command.env_remove(variable);
    }
    // Nobody's credentials are looked for on this machine, nor in its network.
    for (variable, value) in [
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        // `serve` leaves the secret for `send` there.
        ("XDG_RUNTIME_DIR", env!("CARGO_TARGET_TMPDIR")),
    ] {
        command.env(variable, value);
    }
    command
}

#[track_caller]
fn run(arguments: &[&str], input: &str) -> Output {
    run_with(arguments, &[], input)
}

/// Runs with these variables set.
#[track_caller]
fn run_with(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Output {
    let mut command = sonotheia(arguments);
    command.envs(environment.iter().copied());
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    // One that refuses its arguments ends without reading.
    if let Err(error) = child.stdin.take().unwrap().write_all(input.as_bytes()) {
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    }
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A failure is one line that says what to do, and status 1.
#[track_caller]
fn failed(output: &Output, says: &str) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(says), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    assert!(said.lines().all(|line| line.starts_with("error: ")), "{said}");
}

/// The output of a command that succeeds and has nothing to complain of.
#[track_caller]
fn succeeded(output: &Output) -> &str {
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    said
}

/// The output of a command that succeeds, as JSON.
#[track_caller]
fn document(output: &Output) -> serde_json::Value {
    serde_json::from_str(succeeded(output)).unwrap()
}

/// Runs a command, and interrupts it as Ctrl-C does once `is_time`.
#[track_caller]
fn interrupted(arguments: &[&str], environment: &[(&str, &str)], is_time: impl Fn() -> bool) -> Output {
    let mut command = sonotheia(arguments);
    command.envs(environment.iter().copied());
    let piped = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = piped.spawn().unwrap();
    let begun = Instant::now();
    while !is_time() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "the command did not come that far"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    let status = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
    child.wait_with_output().unwrap()
}

/// A command that goes on until it is told to stop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    /// The output up to and with the first line that has `last` in it.
    fn output_to(&mut self, last: &str) -> String {
        let mut reader = BufReader::new(self.0.stdout.as_mut().unwrap());
        let mut output = String::new();
        while !output.lines().any(|line| line.contains(last)) {
            assert_ne!(
                reader.read_line(&mut output).unwrap(),
                0,
                "it ended after {output:?}"
            );
        }
        output
    }

    /// Sends SIGTERM, and gives the status it ends with.
    fn terminate(&mut self) -> Option<i32> {
        let told = Command::new("kill")
            .arg(self.0.id().to_string())
            .status()
            .unwrap();
        assert!(told.success());
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("it goes on after SIGTERM");
    }
}

struct Server {
    process: Running,
    url: String,
    banner: String,
}

impl Server {
    /// The arguments that name its table, as it prints them.
    fn table(&self) -> Vec<&str> {
        let line = self.banner.lines().find_map(|line| line.strip_prefix("Table: "));
        line.unwrap().split_whitespace().collect()
    }

    /// A command over its table.
    #[track_caller]
    fn over_table(&self, arguments: &[&str]) -> Output {
        run(&[arguments, &self.table()].concat(), "")
    }

    /// A command over its address.
    #[track_caller]
    fn over_url(&self, arguments: &[&str]) -> Output {
        run(&[arguments, &["--url", &self.url]].concat(), "")
    }

    /// Delivers a body, whatever becomes of it.
    fn deliver(&self, body: &str) {
        run(
            &["send", "--url", &self.url, "--secret", SECRET, "--file", "-"],
            body,
        );
    }

    /// Delivers samples of these types.
    fn samples(&self, types: &[&str]) {
        succeeded(&run(
            &[&["send", "--url", &self.url, "--secret", SECRET], types].concat(),
            "",
        ));
    }

    /// A client of its database.
    fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let endpoint = self.table().last().unwrap().to_string();
        aws_sdk_dynamodb::Client::new(&emulators::sdk_config(&endpoint))
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

fn serve(arguments: &[&str], secret: Option<&str>) -> Server {
    let mut command = sonotheia(&[&["serve", "--port", "0"], arguments].concat());
    if let Some(secret) = secret {
        command.env("SONOTHEIA_WEBHOOK_SECRET", secret);
    }
    let mut process = Running::start(&mut command);
    let banner = process.output_to("curl http");
    let url = banner.lines().find_map(|line| {
        line.split_once("http://")
            .map(|(_, rest)| format!("http://{rest}"))
    });
    Server {
        url: url.unwrap(),
        process,
        banner,
    }
}

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
