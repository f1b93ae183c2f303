//! `listen`: an application gets each accepted event, in order, at least once.

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
use super::{Running, Server, failed, run, runtime, serve, sonotheia, succeeded};
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

/// Stores many events at once: copies of one stored item with other ids and times, spread over the shards.
fn put_many(server: &Server, ids: &[String], received_at: impl Fn(usize) -> Timestamp) {
    put(server, [(event(&ids[0]), received_at(0))]);
    let key = AttributeValue::S(ids[0].clone());
    let client = server.dynamodb();
    runtime().block_on(async {
        let get = client
            .get_item()
            .table_name("sonotheia-events")
            .key("event_id", key);
        let first = get.send().await.unwrap().item.unwrap();
        let body = first["body"].as_s().unwrap();
        let numbered: Vec<_> = ids.iter().enumerate().skip(1).collect();
        for batch in numbered.chunks(25) {
            let writes = batch.iter().map(|(n, id)| {
                let mut item = first.clone();
                let mut set =
                    |name: &str, text: String| item.insert(name.to_owned(), AttributeValue::S(text));
                set("event_id", (*id).clone());
                set("body", body.replace(&ids[0], id));
                set("received_at", received_at(*n).to_string());
                set("shard", (n % 16).to_string());
                let put = PutRequest::builder().set_item(Some(item)).build().unwrap();
                WriteRequest::builder().put_request(put).build()
            });
            let writes = writes.collect::<Vec<_>>();
            let sent = client
                .batch_write_item()
                .request_items("sonotheia-events", writes)
                .send();
            let unprocessed = sent.await.unwrap().unprocessed_items.unwrap_or_default();
            assert!(unprocessed.is_empty());
        }
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
fn twenty_kills_and_failing_answers_lose_no_event_of_ten_thousand() {
    const COUNT: usize = 10_000;
    const KILLS: usize = 20;
    let server = serve(&[], Some(SECRET));
    let begin = ago(3600);
    let received = |n: usize| Timestamp::from_millis(begin.as_millis() + n as i64 * 200);
    let ids: Vec<_> = (0..COUNT).map(|n| format!("event-{n:05}")).collect();
    put_many(&server, &ids, received);

    let application = Application::start(|n| match n % 30 {
        3 => 500,
        13 => 404,
        23 => 302,
        _ => 204,
    });
    let folder = tempfile::tempdir().unwrap();
    let cursor = folder.path().join("cursor");
    let since = begin.to_string();
    let target = format!("{}/hook", application.mock.url);
    let table = server.table();
    let arguments = [&arguments(&target, &cursor, &table)[..], &["--since", &since]].concat();
    for kill in 1..=KILLS {
        let mut listener = listen(&arguments);
        application.wait_for(kill * COUNT / (KILLS + 2));
        // SIGKILL, so that nothing can be saved.
        listener.0.kill().unwrap();
        listener.0.wait().unwrap();
    }
    let _listener = listen(&arguments);
    let begun = Instant::now();
    while application.taken().len() < COUNT {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{} came",
            application.taken().len()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(application.taken(), ids, "each event, first in order of receipt");
    let answered = application.answered.lock().unwrap().len();
    let again = application.successes.load(Ordering::SeqCst) - COUNT;
    assert!(
        answered > COUNT + COUNT / 11,
        "a tenth of the answers failed: {answered}"
    );
    assert!(
        again < COUNT / 2,
        "a kill costs few deliveries: {again} came again"
    );
    let seen = application.mock.seen();
    assert!(seen.iter().all(|seen| seen.path == "/hook"));
    for seen in seen.iter().step_by(97) {
        let body = seen.body_text();
        assert_eq!(seen.header("x-sonotheia-signature"), sign(body, SECRET));
    }
}

#[test]
fn records_that_appear_late_are_delivered_and_no_other_record_again() {
    let server = serve(&[], Some(SECRET));
    let application = Application::start(|_| 200);
    let folder = tempfile::tempdir().unwrap();
    let cursor = folder.path().join("cursor");
    let place = server.table();
    let arguments = [
        &arguments(&application.mock.url, &cursor, &place)[..],
        &["--since", "1d"],
    ]
    .concat();
    let newest = ago(0);
    let before = |seconds: i64| Timestamp::from_millis(newest.as_millis() - seconds * 1000);
    put(&server, [(event("a"), before(50)), (event("b"), newest)]);
    let mut listener = listen(&arguments);
    application.wait_for(2);
    put(
        &server,
        [(event("late-1"), before(20)), (event("late-2"), before(55))],
    );
    application.wait_for(4);
    // A killed listener knows which records of the last minute it has delivered.
    std::thread::sleep(Duration::from_millis(1500));
    listener.0.kill().unwrap();
    listener.0.wait().unwrap();
    put(&server, [(event("late-3"), before(59)), (event("c"), ago(0))]);
    let mut listener = listen(&arguments);
    application.wait_for(6);
    std::thread::sleep(Duration::from_millis(1500));
    let answered: Vec<_> = application
        .answered
        .lock()
        .unwrap()
        .iter()
        .map(|(id, _)| id.clone())
        .collect();
    assert_eq!(&answered[..2], ["a", "b"]);
    let mut late = answered[2..4].to_vec();
    late.sort();
    assert_eq!(late, ["late-1", "late-2"]);
    assert_eq!(&answered[4..], ["late-3", "c"]);
    assert_eq!(listener.terminate(), Some(0));
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
    let rest = listener.output_to("Stopped");
    assert!(rest.contains("Stopped: 1 delivered, 1 skipped"), "{rest}");
    assert_eq!(application.taken().last().unwrap(), "third");
}

#[test]
fn without_since_only_new_events_count() {
    let server = serve(&[], Some(SECRET));
    put(&server, [(event("old"), ago(300)), (event("recent"), ago(5))]);
    for place in [&server.table()[..], &["--url", &server.url]] {
        let application = Application::start(|_| 200);
        let folder = tempfile::tempdir().unwrap();
        let cursor = folder.path().join("cursor");
        let mut listener = listen(&arguments(&application.mock.url, &cursor, place));
        let begun = Instant::now();
        while !cursor.exists() {
            assert!(begun.elapsed() < Duration::from_secs(20), "no cursor");
            std::thread::sleep(Duration::from_millis(5));
        }
        let id = format!("new-{}", place.len());
        server.deliver(&event(&id));
        application.wait_for(1);
        assert_eq!(application.taken(), [id]);
        assert_eq!(listener.terminate(), Some(0));
    }
}

#[test]
fn an_application_that_is_away_gets_its_events_when_it_comes_back() {
    let server = serve(&[], Some(SECRET));
    put(&server, [(event("a"), ago(30)), (event("b"), ago(20))]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let target = format!("http://{address}");
    let folder = tempfile::tempdir().unwrap();
    let cursor = folder.path().join("cursor");
    let place = server.table();
    let arguments = [&arguments(&target, &cursor, &place)[..], &["--since", "1h"]].concat();
    let mut command = sonotheia(&arguments);
    let mut process = Running(
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    assert!(
        line.contains("---") && line.contains("attempt 1") && line.contains("again in 0.01 s"),
        "{line}"
    );
    let third = lines.nth(1).unwrap().unwrap();
    assert!(third.contains("attempt 3") && third.contains("  a  "), "{third}");

    let listener = std::net::TcpListener::bind(address).unwrap();
    listener.set_nonblocking(true).unwrap();
    let runtime = runtime();
    let _guard = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let router = axum::Router::new().fallback(|| async { "ok" });
    runtime.spawn(async { axum::serve(listener, router).await });
    let mut delivered = lines.map(Result::unwrap).filter(|line| line.contains("  200  "));
    assert!(delivered.next().unwrap().ends_with("  a"));
    assert!(delivered.next().unwrap().ends_with("  b"));
}

#[test]
fn a_table_that_fails_for_a_while_costs_no_event() {
    let server = serve(&[], Some(SECRET));
    put(&server, [(event("a"), ago(10))]);
    let endpoint = server.table().last().unwrap().to_string();
    let queries = AtomicUsize::new(0);
    let flaky = Mock::start(move |seen| {
        let is_query = seen.header("x-amz-target").ends_with("Query");
        // 16 queries make a look: the second look and the third fail.
        if is_query && (16..48).contains(&queries.fetch_add(1, Ordering::SeqCst)) {
            return answer(400, r#"{"__type":"AccessDeniedException","message":"not now"}"#);
        }
        forward(&endpoint, seen)
    });
    let application = Application::start(|_| 200);
    let folder = tempfile::tempdir().unwrap();
    let cursor = folder.path().join("cursor");
    let place = ["--table", "sonotheia-events", "--dynamodb", &flaky.url];
    let arguments = [
        &arguments(&application.mock.url, &cursor, &place)[..],
        &["--since", "1h"],
    ]
    .concat();
    let mut command = sonotheia(&arguments);
    let mut process = Running(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    application.wait_for(1);
    let stderr = BufReader::new(process.0.stderr.take().unwrap()).lines();
    let note = stderr
        .map(Result::unwrap)
        .find(|line| line.contains("no events for now"))
        .unwrap();
    assert!(note.contains("cannot use table"), "{note}");
    put(&server, [(event("b"), ago(0))]);
    application.wait_for(2);
    assert_eq!(application.taken(), ["a", "b"]);
}

#[test]
fn a_cursor_that_is_not_this_commands_is_refused_and_stays_as_it_is() {
    let server = serve(&[], Some(SECRET));
    put(&server, [(event("a"), ago(10))]);
    let application = Application::start(|_| 200);
    let folder = tempfile::tempdir().unwrap();
    let cursor = folder.path().join("cursor");
    let place = server.table();
    let fixed = arguments(&application.mock.url, &cursor, &place);

    let first = [&fixed[..], &["--since", "1h"]].concat();
    let mut listener = listen(&first);
    application.wait_for(1);
    failed(&run(&first, ""), "another listener uses the cursor");
    assert_eq!(listener.terminate(), Some(0));

    let kept = std::fs::read(&cursor).unwrap();
    failed(
        &run(&[&fixed[..], &["--type", "sar.filed"]].concat(), ""),
        "belongs to the events of table sonotheia-events",
    );
    let elsewhere = arguments("127.0.0.1:9", &cursor, &place);
    failed(&run(&elsewhere, ""), "--cursor");
    for text in [&kept[..kept.len() / 2], b"", b"{}", b"[\"another program's\"]"] {
        std::fs::write(&cursor, text).unwrap();
        failed(&run(&first, ""), "is not a cursor");
        assert_eq!(std::fs::read(&cursor).unwrap(), text);
    }
    let later = String::from_utf8(kept)
        .unwrap()
        .replace("\"version\":1", "\"version\":2");
    std::fs::write(&cursor, later).unwrap();
    failed(&run(&first, ""), "version 2");
    failed(
        &run(&arguments(&application.mock.url, folder.path(), &place), ""),
        "cannot read the cursor",
    );
}

#[test]
fn a_cursor_without_a_name_is_in_the_users_state_folder() {
    let server = serve(&[], Some(SECRET));
    put(&server, [(event("a"), ago(10))]);
    let application = Application::start(|_| 200);
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let place = server.table();
    let fixed = [
        "listen",
        "--forward-to",
        &application.mock.url,
        "--since",
        "1h",
        "--interval",
        "1",
    ];
    let arguments = [&fixed[..], &place].concat();
    for _ in 0..2 {
        let mut command = sonotheia(&arguments);
        command
            .env("SONOTHEIA_WEBHOOK_SECRET", SECRET)
            .env("XDG_STATE_HOME", &state);
        let mut listener = Running(
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        application.wait_for(1);
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(listener.terminate(), Some(0));
    }
    assert_eq!(application.successes.load(Ordering::SeqCst), 1);
    let files: Vec<_> = std::fs::read_dir(state.join("sonotheia"))
        .unwrap()
        .map(|file| file.unwrap())
        .collect();
    let cursors: Vec<_> = files
        .iter()
        .filter(|file| file.path().extension().is_some_and(|kind| kind == "json"))
        .collect();
    assert_eq!(cursors.len(), 1, "{files:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(cursors[0].metadata().unwrap().permissions().mode() & 0o077, 0);
    }
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
fn an_erasure_while_the_application_is_away_keeps_the_payload_back() {
    let server = serve(&[], Some(SECRET));
    // More than are read ahead.
    put(
        &server,
        (0..40).map(|n| (event(&format!("event-{n:02}")), ago(100 - n))),
    );
    let is_up = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let up = is_up.clone();
    let application = Application::start(move |_| if up.load(Ordering::SeqCst) { 200 } else { 503 });
    let folder = tempfile::tempdir().unwrap();
    let cursor = folder.path().join("cursor");
    let place = server.table();
    let arguments = [
        &arguments(&application.mock.url, &cursor, &place)[..],
        &["--since", "1h"],
    ]
    .concat();
    let _listener = listen(&arguments);
    let begun = Instant::now();
    while application.answered.lock().unwrap().len() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(20), "no attempt");
        std::thread::sleep(Duration::from_millis(5));
    }
    succeeded(&server.over_table(&["erase", "--event", "event-39", "--apply"]));
    is_up.store(true, Ordering::SeqCst);
    application.wait_for(39);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!application.taken().contains(&"event-39".to_owned()));
    assert_eq!(application.taken().len(), 39);
    let key = AttributeValue::S("event-39".into());
    let request = server
        .dynamodb()
        .get_item()
        .table_name("sonotheia-events")
        .key("event_id", key);
    assert!(
        runtime()
            .block_on(request.send())
            .unwrap()
            .item
            .unwrap()
            .contains_key("erased_at")
    );
}
