//! `listen`: an application gets each accepted event, in order, at least once.

mod cursors;
mod faults;

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use futures_util::{StreamExt, stream};
use serde_json::Value;
use sonotheia_webhook::event::Event;
use sonotheia_webhook::store::{DeliveryToken, NewRecord, Outcome, Store};
use sonotheia_webhook::timestamp::Timestamp;

use super::mock::{Mock, Seen, answer, forward};
use super::{Running, Server, failed, interrupted, run, runtime, serve, sonotheia, succeeded, text};
use testkit::{SECRET, deepfake, sign};

/// A time before now.
fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_millis(Timestamp::now().as_millis() - seconds * 1000)
}

/// Stores events as accepted, each at its time of receipt.
fn put(server: &Server, events: impl IntoIterator<Item = (String, Timestamp)>) {
    let store = Store::new(server.dynamodb(), "sonotheia-events");
    runtime().block_on(async {
        let puts = stream::iter(events).map(|(body, received_at)| {
            let store = &store;
            async move {
                let event = Event::parse(body.as_bytes(), 0.8).unwrap();
                let record = NewRecord {
                    event_id: event.id.as_deref().unwrap().into(),
                    outcome: Outcome::Accepted,
                    reason: None,
                    event: Some(&event),
                    problems: Vec::new().into(),
                    body: body.as_bytes(),
                    received_at,
                    expires_at: received_at.plus_days(90),
                    token: DeliveryToken::new().unwrap(),
                };
                store.put(record).await.unwrap();
            }
        });
        puts.buffer_unordered(16).collect::<Vec<_>>().await;
    });
}

fn event(id: &str) -> String {
    deepfake(id, "session-1", 0.5).to_string()
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

/// An application that remembers the ids of its deliveries, with its answer to each.
struct Application {
    mock: Mock,
    answered: Arc<std::sync::Mutex<Vec<(String, u16)>>>,
    successes: Arc<AtomicUsize>,
}

impl Application {
    /// `status` chooses the answer by the number of the delivery.
    fn start(status: impl Fn(usize) -> u16 + Send + Sync + 'static) -> Self {
        let answered: Arc<std::sync::Mutex<Vec<(String, u16)>>> = Arc::default();
        let successes = Arc::new(AtomicUsize::new(0));
        let (log, count) = (answered.clone(), successes.clone());
        let mock = Mock::start(move |seen| {
            let mut log = log.lock().unwrap();
            let status = status(log.len());
            log.push((seen.header("x-sonotheia-event-id").to_owned(), status));
            if is_success(status) {
                count.fetch_add(1, Ordering::SeqCst);
            }
            answer(status, "{}")
        });
        Self {
            mock,
            answered,
            successes,
        }
    }

    /// The ids that the application has taken, each at its first time.
    fn taken(&self) -> Vec<String> {
        let answered = self.answered.lock().unwrap();
        let mut known = HashSet::new();
        let taken = answered.iter().filter(|(_, status)| is_success(*status));
        let first = taken.filter(|(id, _)| known.insert(id.clone()));
        first.map(|(id, _)| id.clone()).collect()
    }

    #[track_caller]
    fn wait_for(&self, count: usize) {
        let begun = Instant::now();
        while self.successes.load(Ordering::SeqCst) < count {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{} of {count} came",
                self.successes.load(Ordering::SeqCst)
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Checks what a verifying application checks.
#[track_caller]
fn check(seen: &Seen, body: &str) {
    assert_eq!(seen.method, "POST");
    assert_eq!(seen.body_text(), body);
    assert_eq!(seen.header("x-sonotheia-signature"), sign(body, SECRET));
    assert_eq!(seen.header("content-type"), "application/json");
    assert_eq!(seen.header("user-agent"), "Sonotheia-Webhook/1.0");
    let event: Value = serde_json::from_str(body).unwrap();
    assert_eq!(seen.header("x-sonotheia-event-id"), event["id"]);
    assert_eq!(seen.header("x-sonotheia-event"), event["type"]);
    for header in ["x-sonotheia-timestamp", "x-sonotheia-delivery-id"] {
        assert_ne!(seen.header(header), "", "{header}");
    }
}

/// The arguments of a listener at `place` with this cursor.
fn arguments<'a>(application: &'a str, cursor: &'a Path, place: &[&'a str]) -> Vec<&'a str> {
    let cursor = cursor.to_str().unwrap();
    let fixed = [
        "listen",
        "--forward-to",
        application,
        "--cursor",
        cursor,
        "--interval",
        "1",
    ];
    [&fixed[..], &["--secret", SECRET], place].concat()
}

fn listen(arguments: &[&str]) -> Running {
    let mut command = sonotheia(arguments);
    Running(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap(),
    )
}

#[test]
fn a_listener_over_an_address_passes_the_original_bytes_on() {
    let server = serve(&[], Some(SECRET));
    let application = Application::start(|_| 200);
    let folder = tempfile::tempdir().unwrap();
    let cursor = folder.path().join("cursor");
    let place = ["--url", &server.url];
    let target = format!("{}/hooks/?key=1", application.mock.url);
    let arguments = [
        &arguments(&target, &cursor, &place)[..],
        &[
            "--since",
            "1h",
            "--type",
            "deepfake.completed",
            "--type",
            "new.type",
        ],
    ]
    .concat();
    let odd = " {\"type\":\"new.type\", \"id\":\"odd/é?#\",\n\"data\":{\"n\":1.0e3,\"n\":2}}";
    server.deliver(&event("first"));
    server.samples(&["sar.filed"]);
    server.deliver("not an event");
    server.deliver(odd);
    let mut listener = listen(&arguments);
    application.wait_for(2);
    server.deliver(&event("second"));
    application.wait_for(3);
    assert_eq!(listener.terminate(), Some(0));

    let seen = application.mock.seen();
    assert_eq!(seen.len(), 3);
    assert!(
        seen.iter().all(|seen| seen.path == "/hooks/?key=1"),
        "{}",
        seen[0].path
    );
    let body = seen[0].body_text();
    assert!(body.contains("first"), "{body}");
    check(&seen[0], body);
    assert_eq!(seen[1].body_text(), odd);
    assert_eq!(seen[1].header("x-sonotheia-signature"), sign(odd, SECRET));
    // Servers read a header with such an id differently, so it is left out.
    assert!(!seen[1].headers.contains_key("x-sonotheia-event-id"));
    assert_eq!(seen[1].header("x-sonotheia-event"), "new.type");
    let ids: HashSet<_> = seen
        .iter()
        .map(|seen| seen.header("x-sonotheia-delivery-id"))
        .collect();
    assert_eq!(ids.len(), 3);

    // The next run goes on from the cursor. An erased event is skipped.
    let erased = event("erased");
    server.deliver(&erased);
    succeeded(&server.over_table(&["erase", "--event", "erased", "--apply"]));
    server.deliver(&event("third"));
    let mut command = sonotheia(&arguments);
    let mut listener = Running::start(&mut command);
    let lines = listener.output_to("third");
    assert!(
        lines.contains("skip") && lines.contains("erased  an operator has erased it"),
        "{lines}"
    );
    application.wait_for(4);
    assert_eq!(listener.terminate(), Some(0));
    let rest = listener.output_to("Forwarded");
    assert!(rest.contains("Forwarded: 1 delivered, 1 skipped"), "{rest}");
    assert_eq!(application.taken().last().unwrap(), "third");
}

#[test]
fn a_command_that_cannot_mean_anything_is_refused_before_anything_is_sent() {
    let server = serve(&[], Some(SECRET));
    let port = server
        .url
        .rsplit(':')
        .next()
        .unwrap()
        .trim_end_matches('/')
        .to_owned();
    for host in ["127.0.0.1", "localhost", "[::1]", "0.0.0.0"] {
        let target = format!("http://{host}:{port}/hook");
        let arguments = [
            "listen",
            "--url",
            &server.url,
            "--secret",
            SECRET,
            "--forward-to",
            &target,
        ];
        failed(&run(&arguments, ""), "is the receiver itself");
    }
    let table = server.table();
    let arguments = [&["listen", "--forward-to", "127.0.0.1:9"][..], &table].concat();
    failed(&run(&arguments, ""), "no secret to sign with");
    for arguments in [
        &["listen"][..],
        &["listen", "--forward-to", "127.0.0.1:9x"],
        &["listen", "--forward-to", "ftp://127.0.0.1"],
        &["listen", "--forward-to", "127.0.0.1:9", "--since", "yesterday"],
    ] {
        assert_eq!(run(arguments, "").status.code(), Some(2), "{arguments:?}");
    }
    let nowhere = [
        "listen",
        "--url",
        "127.0.0.1:9",
        "--secret",
        SECRET,
        "--forward-to",
        "127.0.0.1:10",
    ];
    failed(&run(&nowhere, ""), "no answer from");
}

#[test]
fn a_receiver_that_has_the_event_already_is_named() {
    let server = serve(&[], Some(SECRET));
    server.deliver(&event("a"));
    let folder = tempfile::tempdir().unwrap();
    let cursor = folder.path().join("cursor");
    let place = server.table();
    let target = format!("{}/webhook", server.url);
    let arguments = [&arguments(&target, &cursor, &place)[..], &["--since", "1h"]].concat();
    let mut command = sonotheia(&arguments);
    let mut process = Running(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let stderr = BufReader::new(process.0.stderr.take().unwrap()).lines();
    let mut notes = stderr.map(Result::unwrap);
    assert!(notes.any(|line| line.contains("has this event already")));
}

#[test]
fn serve_forwards_its_own_events_and_goes_on_after_a_restart() {
    let application = Application::start(|n| if n == 1 { 503 } else { 200 });
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("events.db");
    let arguments = [
        "--data",
        data.to_str().unwrap(),
        "--forward-to",
        &application.mock.url,
    ];
    let mut server = serve(&arguments, Some(SECRET));
    for id in ["a", "b"] {
        server.deliver(&event(id));
    }
    server.deliver("not an event");
    application.wait_for(2);
    assert_eq!(server.process.terminate(), Some(0));
    check(
        &application.mock.seen()[0],
        application.mock.seen()[0].body_text(),
    );

    // No delivery comes while `serve` is away; the next run goes on behind the last event.
    let mut server = serve(&arguments, Some(SECRET));
    server.deliver(&event("c"));
    application.wait_for(3);
    assert_eq!(server.process.terminate(), Some(0));
    assert_eq!(application.taken(), ["a", "b", "c"]);
    // The signal may come before `serve` has noted the last answer. Then this one delivery comes again.
    let successes = application.successes.load(Ordering::SeqCst);
    assert!((3..=4).contains(&successes), "{successes} deliveries of 3 events");
}

#[test]
fn serve_does_not_forward_to_itself() {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = probe.local_addr().unwrap().port().to_string();
    drop(probe);
    let target = format!("localhost:{port}/webhook");
    let output = run(&["serve", "--port", &port, "--forward-to", &target], "");
    failed(&output, "is the receiver itself");
}

#[test]
fn a_serve_of_this_user_needs_no_secret() {
    let application = Application::start(|_| 200);
    let folder = tempfile::tempdir().unwrap();
    let cursor = folder.path().join("cursor");
    let server = serve(&[], Some(SECRET));
    server.deliver(&event("a"));
    let cursor = cursor.to_str().unwrap();
    let fixed = [
        "listen",
        "--forward-to",
        &application.mock.url,
        "--cursor",
        cursor,
    ];
    let mut listener = listen(&[&fixed[..], &["--since", "1h", "--url", &server.url]].concat());
    application.wait_for(1);
    let seen = application.mock.seen();
    check(&seen[0], seen[0].body_text());
    assert_eq!(listener.terminate(), Some(0));
}

#[test]
fn tables_with_the_same_name_at_two_endpoints_have_a_cursor_each() {
    let application = Application::start(|_| 200);
    let state = tempfile::tempdir().unwrap();
    let files = || {
        let folder = std::fs::read_dir(state.path().join("sonotheia"));
        let names = folder
            .into_iter()
            .flatten()
            .flatten()
            .map(|file| file.file_name());
        names
            .filter(|name| name.to_string_lossy().ends_with(".json"))
            .count()
    };
    for number in 1..=2 {
        let server = serve(&[], Some(SECRET));
        let endpoint = *server.table().last().unwrap();
        let environment = [
            ("XDG_STATE_HOME", state.path().to_str().unwrap()),
            ("AWS_ENDPOINT_URL_DYNAMODB", endpoint),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "any"),
            ("AWS_SECRET_ACCESS_KEY", "any"),
        ];
        let target = &application.mock.url;
        let table = ["--table", "sonotheia-events", "--secret", SECRET];
        let arguments = [&["listen", "--forward-to", target][..], &table].concat();
        let output = interrupted(&arguments, &environment, || files() == number);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
}
