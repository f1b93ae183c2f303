//! Kills, failing answers, late records, a table that fails: no event is lost.

use super::*;

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
        // 16 queries make a look: the second look fails.
        if is_query && (16..20).contains(&queries.fetch_add(1, Ordering::SeqCst)) {
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
