//! `mock-api` and `demo`, and the commands that call Sonotheia's API, run against `mock-api`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::mock::{Mock, answer};
use super::{Running, interrupted, run, run_with, serve, sonotheia, succeeded, text};
use testkit::{SECRET, sign};

struct MockApi {
    _process: Running,
    url: String,
}

const KEY: [(&str, &str); 2] = [
    ("SONOTHEIA_API_KEY", "key-1"),
    ("SONOTHEIA_WEBHOOK_SECRET", SECRET),
];

impl MockApi {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Running::start(&mut sonotheia(
            &[&["mock-api", "--port", "0"], arguments].concat(),
        ));
        let output = process.output_to("Listening on ");
        let url = output.trim().strip_prefix("Listening on ").unwrap().to_owned();
        Self {
            _process: process,
            url,
        }
    }

    fn register(&self, arguments: &[&str]) -> std::process::Output {
        let base = format!("{}/v1", self.url);
        run_with(
            &[&["register"], arguments, &["--base-url", &base]].concat(),
            &KEY,
            "",
        )
    }

    fn reconcile(&self, table: &[&str]) -> std::process::Output {
        run_with(
            &[
                &[
                    "reconcile",
                    "--base-url",
                    &self.url,
                    "--since",
                    "1h",
                    "--retention-days",
                    "3650",
                ],
                table,
            ]
            .concat(),
            &KEY,
            "",
        )
    }

    fn request(&self, method: &str, path: &str) -> (u16, Value) {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .into();
        let request = axum::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", "Bearer key-1");
        let mut answer = agent.run(request.body("").unwrap()).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        (
            answer.status().as_u16(),
            serde_json::from_str(&text).unwrap_or_default(),
        )
    }

    /// Waits until `count` events have a status.
    fn wait(&self, status: &str, count: usize) -> Value {
        let begun = Instant::now();
        loop {
            let (_, events) = self.request("GET", &format!("/v1/webhooks/events?status={status}"));
            let list = events
                .as_array()
                .or(events["events"].as_array())
                .or(events["data"].as_array());
            let list = list.or(events["results"].as_array()).cloned().unwrap_or_default();
            if list.len() == count {
                return list.into();
            }
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "{count} {status} events did not come: {events}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn the_demo_plays_the_whole_story() {
    let output = run(&["demo"], "");
    let said = succeeded(&output);
    for step in [
        "receiver",
        "register",
        "analysis",
        "every type",
        "duplicate",
        "forgery",
        "outage",
        "reconcile",
        "results",
    ] {
        assert!(
            said.lines().any(|line| line.starts_with(step)),
            "{step} in {said}"
        );
    }
    assert!(said.contains("All answers were right"), "{said}");
}

#[test]
fn an_interrupted_demo_leaves_no_process_and_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_str().unwrap();
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    let has_data = || {
        let mut folders = std::fs::read_dir(folder.path()).unwrap().flatten();
        folders.any(|entry| entry.path().join("events.db").exists())
    };
    let output = interrupted(&["demo"], &[("TMPDIR", home)], has_data);
    super::failed(&output, "interrupted: the demo did not come to its end");
    assert_eq!(files(), 0);
    // Each process of the demo has this folder in its environment.
    let has_folder = |environment: Vec<u8>| {
        environment
            .windows(home.len())
            .any(|part| part == home.as_bytes())
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut environments = processes.filter_map(|process| std::fs::read(process.path().join("environ")).ok());
    assert!(!environments.any(has_folder), "a process goes on");
}

#[test]
fn an_analysis_ends_in_signed_deliveries_that_a_receiver_accepts() {
    let server = serve(&[], Some(SECRET));
    let api = MockApi::start(&["--time-scale", "1000", "--list", "wrapped"]);
    succeeded(&api.register(&[
        &format!("{}/webhook", server.url.trim_end_matches("/results")),
        "--force",
        "--apply",
    ]));
    for (path, count) in [
        ("/v1/voice/deepfake", 1),
        ("/v1/reports/sar", 2),
        ("/v1/mfa/voice/verify?fail=true", 1),
    ] {
        let (status, answer) = api.request("POST", path);
        assert_eq!(
            (status, answer["event_ids"].as_array().unwrap().len()),
            (202, count),
            "{path}"
        );
    }
    let delivered = api.wait("delivered", 4);
    for event in delivered.as_array().unwrap() {
        assert_eq!(event["attempts"][0]["status"], 200, "{event}");
        assert_eq!(event["attempts"][0]["answer"]["duplicate"], false, "{event}");
    }
    let (status, attempt) = api.request(
        "POST",
        &format!(
            "/v1/webhooks/events/{}/retry",
            delivered[0]["event_id"].as_str().unwrap()
        ),
    );
    assert_eq!(
        (status, &attempt["answer"]["duplicate"]),
        (200, &Value::Bool(true)),
        "{attempt}"
    );
}

#[test]
fn reconcile_reads_every_shape_of_the_list() {
    let server = serve(&[], Some(SECRET));
    for list in ["events", "data", "results", "bare", "wrapped", "text"] {
        for next in ["cursor", "address", "has-more", "link", "none"] {
            // The six attempts take 4 ms.
            let api = MockApi::start(&[
                "--time-scale",
                "1000000",
                "--list",
                list,
                "--next-page",
                next,
                "--page-size",
                "2",
            ]);
            // Nobody listens on the discard port.
            succeeded(&api.register(&["http://127.0.0.1:9/webhook", "--force", "--apply"]));
            for _ in 0..5 {
                assert_eq!(api.request("POST", "/v1/voice/deepfake").0, 202);
            }
            let begun = Instant::now();
            let report = loop {
                let output = api.reconcile(&server.table());
                let report = succeeded(&output).to_owned();
                if report.contains("5 undelivered") {
                    break report;
                }
                assert!(
                    begun.elapsed() < Duration::from_secs(30),
                    "{list}, {next}: {report}"
                );
            };
            assert!(
                report.contains("5 missing, 0 here already, 0 refused"),
                "{list}, {next}: {report}"
            );
        }
    }
}

#[test]
fn both_documented_ways_to_send_the_key_work() {
    for authorization in ["either", "bearer", "api-key"] {
        let api = MockApi::start(&["--authorization", authorization]);
        succeeded(&api.register(&["https://receiver.example/webhook", "--apply"]));
    }
    let api = MockApi::start(&["--authorization", "api-key"]);
    let (status, answer) = api.request("GET", "/v1/webhooks");
    assert_eq!((status, &answer["error"]["code"]), (401, &"unauthorized".into()));
}

#[test]
fn register_lists_webhooks_without_their_secrets_and_deletes_one() {
    let api = MockApi::start(&[]);
    succeeded(&api.register(&["https://receiver.example/webhook", "--apply"]));
    let output = api.register(&["--list"]);
    let listed: Value = serde_json::from_str(succeeded(&output)).unwrap();
    assert_eq!(listed["webhooks"][0]["url"], "https://receiver.example/webhook");
    assert!(!text(&output.stdout).contains(SECRET));
    let id = listed["webhooks"][0]["id"].as_str().unwrap();

    let dry = api.register(&["--delete", id]);
    assert!(succeeded(&dry).contains("Not sent"), "{}", text(&dry.stdout));
    assert_eq!(
        api.request("GET", "/v1/webhooks").1["webhooks"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert!(
        succeeded(&api.register(&["--delete", id, "--apply"])).contains("Deleted: Sonotheia answered 204")
    );
    assert_eq!(
        api.request("GET", "/v1/webhooks").1["webhooks"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    super::failed(&api.register(&["--delete", id, "--apply"]), "404");
}

#[test]
fn a_bad_registration_is_refused_with_its_fault() {
    let api = MockApi::start(&[]);
    for usage in [
        vec!["register"],
        vec!["register", "--list", "--apply"],
        vec!["register", "--list", "--delete", "wh_1"],
        vec!["register", "https://receiver.example/webhook", "--delete", "wh_1"],
        vec!["mock-api", "--time-scale", "0"],
        vec!["mock-api", "--time-scale", "fast"],
        vec!["mock-api", "--page-size", "0"],
    ] {
        assert_eq!(run(&usage, "").status.code(), Some(2), "{usage:?}");
    }
    let (status, _) = api.request("POST", "/v1/webhooks");
    assert_eq!(status, 400);
    assert_eq!(api.request("POST", "/v1/mfa/voice/enroll?fail=true").0, 400);
    assert_eq!(api.request("GET", "/v1/webhooks/events?since=yesterday").0, 400);
    assert_eq!(api.request("GET", "/v1/webhooks/events?cursor=evt_none").0, 400);
    assert_eq!(api.request("POST", "/v1/webhooks/events/evt_none/retry").0, 404);
    assert_eq!(api.request("GET", "/v1/nothing").0, 404);
}

/// The headers of the contract's section 1. Sonotheia does not sign them, and its own samples read some of them.
#[test]
fn a_delivery_has_every_documented_header() {
    let receiver = Mock::start(|_| answer(200, r#"{"received":true}"#));
    let api = MockApi::start(&[]);
    succeeded(&api.register(&[&format!("{}/webhook", receiver.url), "--force", "--apply"]));
    api.request("POST", "/v1/voice/deepfake");
    api.wait("delivered", 1);
    let delivery = receiver.seen().pop().unwrap();
    let body: Value = serde_json::from_slice(&delivery.body).unwrap();
    assert_eq!(delivery.header("x-sonotheia-event"), body["type"]);
    assert_eq!(delivery.header("x-sonotheia-event-id"), body["id"]);
    assert_eq!(
        delivery.header("x-sonotheia-signature"),
        sign(&delivery.body, SECRET)
    );
    assert_eq!(delivery.header("user-agent"), "Sonotheia-Webhook/1.0");
    assert_eq!(delivery.header("content-type"), "application/json");
    for name in ["x-sonotheia-timestamp", "x-sonotheia-delivery-id"] {
        assert_ne!(delivery.header(name), "", "{name}");
    }
}

#[test]
fn an_event_for_two_webhooks_is_listed_once_and_retried_at_each_of_them() {
    static ACCEPTS: AtomicBool = AtomicBool::new(false);
    let application = Mock::start(|_| {
        let status = if ACCEPTS.load(Ordering::SeqCst) { 200 } else { 400 };
        answer(status, "{}".to_owned())
    });
    let api = MockApi::start(&["--time-scale", "100000", "--page-size", "1", "--list", "wrapped"]);
    for path in ["one", "two"] {
        let url = format!("{}/{path}/webhook", application.url);
        succeeded(&api.register(&[&url, "--force", "--apply"]));
    }
    api.request("POST", "/v1/voice/deepfake");
    let failed = api.wait("failed", 1);
    let id = failed[0]["event_id"].as_str().unwrap();
    let (status, page) = api.request("GET", &format!("/v1/webhooks/events?status=failed&cursor={id}"));
    assert_eq!(status, 200);
    assert!(
        !page.to_string().contains(id),
        "the second page has the event again: {page}"
    );

    ACCEPTS.store(true, Ordering::SeqCst);
    let before = application.seen().len();
    for _ in 0..2 {
        let (status, attempt) = api.request("POST", &format!("/v1/webhooks/events/{id}/retry"));
        assert_eq!(
            (status, &attempt["status"]),
            (200, &Value::from(200)),
            "{attempt}"
        );
    }
    let seen = application.seen();
    let mut paths: Vec<_> = seen[before..].iter().map(|seen| seen.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/one/webhook", "/two/webhook"]);
    assert!(api.wait("failed", 0).as_array().unwrap().is_empty());
}
