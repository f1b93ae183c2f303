//! `results`, `event` and `tail`, over an address and over a table.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use sonotheia_webhook::store::Store;
use sonotheia_webhook::timestamp::Timestamp;

use super::erase::put;
use super::{Running, document, failed, run, runtime, serve, sonotheia, succeeded, text};
use testkit::{SECRET, deepfake};

#[test]
fn results_are_the_same_over_an_address_and_over_a_table() {
    let server = serve(&[], Some(SECRET));
    server.samples(&[]);
    server.deliver("not an event");
    for arguments in [
        &["results", "--json"][..],
        &["results", "--json", "--type", "sar.filed"],
        &["results", "--json", "--outcome", "rejected", "--from", "1h"],
        &["results", "--json", "--alerts"],
        &["tail", "--json", "-n", "4"],
    ] {
        let documents = [server.over_url(arguments), server.over_table(arguments)].map(|o| document(&o));
        assert_eq!(documents[0], documents[1], "{arguments:?}");
        assert_ne!(documents[0]["count"], 0, "{arguments:?}");
    }
    let shown = server.over_table(&["results"]);
    let shown = succeeded(&shown);
    assert!(shown.starts_with("RECEIVED"), "{shown}");
    assert_eq!(shown.lines().count(), 10, "{shown}");
    assert!(
        shown.contains("ALERT high_deepfake_score") && shown.contains("invalid_event"),
        "{shown}"
    );
}

#[test]
fn results_go_over_pages_until_the_limit_and_say_that_there_are_more() {
    let server = serve(&[], Some(SECRET));
    let url = server.url.clone();
    let send = [
        "send",
        "--url",
        &url,
        "--secret",
        SECRET,
        "--count",
        "130",
        "--concurrency",
        "4",
    ];
    succeeded(&run(&send, ""));
    let ids = |output: &std::process::Output| -> Vec<String> {
        let document = document(output);
        let results = document["results"].as_array().unwrap();
        assert_eq!(document["count"], results.len());
        results
            .iter()
            .map(|result| result["event_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = ids(&server.over_url(&["results", "--all", "--json"]));
    assert_eq!(all.len(), 130);
    assert_eq!(
        ids(&server.over_url(&["results", "--limit", "117", "--json"])),
        all[..117]
    );
    let mut tail = ids(&server.over_table(&["tail", "-n", "117", "--json"]));
    tail.reverse();
    assert_eq!(tail, all[..117]);
    // 49 of the 130 events: three types of eight raise an alert.
    let alerts = document(&server.over_url(&["results", "--alerts", "--limit", "40", "--json"]));
    assert_eq!((&alerts["count"], &alerts["more"]), (&json!(40), &json!(true)));
    let alerts = document(&server.over_url(&["results", "--alerts", "--limit", "100", "--json"]));
    assert_eq!((&alerts["count"], &alerts["more"]), (&json!(49), &json!(false)));

    let some = server.over_url(&["results", "--limit", "5"]);
    assert!(text(&some.stderr).contains("more"));
    let session = server.over_url(&["results", "no such session", "--json"]);
    assert_eq!(document(&session)["count"], 0);
}

#[test]
fn an_event_is_shown_whole_and_its_body_byte_for_byte() {
    let server = serve(&[], Some(SECRET));
    let body = r#" {"type":"deepfake.completed", "id":"a/b ?\u00e9#%","data":{"session_id":"s\u001b[31m","score":0.9000000000000000001,"label":"uncertain"}}"#;
    server.deliver(body);
    let id = "a/b ?é#%";
    for place in [&server.table()[..], &["--url", &server.url]] {
        let record = document(&run(&[&["event", id, "--json"], place].concat(), ""));
        assert_eq!(record["event_id"], id);
        let shown = run(&[&["event", id], place].concat(), "");
        let shown = succeeded(&shown);
        assert!(
            shown.contains("0.9000000000000000001") && !shown.contains("ALERT"),
            "{shown}"
        );
        assert!(shown.contains("high_deepfake_score"), "{shown}");
        assert!(
            !shown.contains('\u{1b}') && shown.contains("s\\u{1b}[31m"),
            "{shown:?}"
        );
        let listed = run(&[&["results"], place].concat(), "");
        assert!(!succeeded(&listed).contains('\u{1b}'));
        failed(
            &run(&[&["event", "another"], place].concat(), ""),
            "there is no event another",
        );
    }
    for output in [
        server.over_table(&["event", id, "--body"]),
        server.over_url(&["event", id, "--body"]),
    ] {
        assert_eq!(succeeded(&output), body);
    }
    failed(&server.over_table(&["event", "another", "--body"]), "another");
}

#[test]
fn tail_follows_and_shows_each_record_once() {
    let server = serve(&[], Some(SECRET));
    // A receiver whose clock was two hours ahead stored this record.
    let ahead = Timestamp::now().plus(Duration::from_secs(7200));
    let store = Store::new(server.dynamodb(), "sonotheia-events");
    runtime().block_on(put(&store, &deepfake("ahead", "session", 0.5), ahead, 90));
    server.samples(&["sar.filed", "sar.submitted", "mfa.failed"]);
    for place in [server.table(), vec!["--url", &server.url]] {
        let arguments = [
            &["tail", "-n", "3", "--follow", "--interval", "1", "--json"],
            &place[..],
        ]
        .concat();
        let mut child = sonotheia(&arguments);
        let mut tail = Running(
            child
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        let mut lines = BufReader::new(tail.0.stdout.take().unwrap()).lines();
        let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
        assert_eq!(
            [next(), next()].map(|record| record["type"].clone()),
            ["sar.submitted", "mfa.failed"]
        );
        assert_eq!(next()["event_id"], "ahead");
        for round in 0..3 {
            let id = format!("{}-{round}", place.len());
            server.deliver(&deepfake(&id, "session", 0.5).to_string());
            assert_eq!(next()["event_id"], id);
        }
        // The second round of the loop begins with these two records.
        server.samples(&["sar.submitted", "mfa.failed"]);
        assert_eq!(
            [next(), next()].map(|record| record["type"].clone()),
            ["sar.submitted", "mfa.failed"]
        );
    }
}

#[test]
fn a_table_that_cannot_be_read_is_reported_in_one_line() {
    let server = serve(&[], Some(SECRET));
    let endpoint = *server.table().last().unwrap();
    failed(
        &run(&["results", "--table", "none", "--dynamodb", endpoint], ""),
        "EventsTableName",
    );
    failed(
        &run(&["tail", "--table", "t", "--dynamodb", "http://127.0.0.1:9"], ""),
        "the connection was refused",
    );
    failed(
        &run(&["results", "--url", "http://127.0.0.1:9"], ""),
        "sonotheia serve",
    );
    failed(
        &run(&["results", "--url", endpoint], ""),
        "not a receiver's address",
    );
    let nowhere = sonotheia(&["event", "e", "--table", "t"])
        .env_remove("AWS_REGION")
        .output()
        .unwrap();
    failed(&nowhere, "AWS_REGION");
    let nobody = sonotheia(&["event", "e", "--table", "t", "--region", "eu-central-1"])
        .output()
        .unwrap();
    failed(&nobody, "credentials");
}

#[test]
fn the_address_of_the_webhook_reads_too_and_no_path_differs_from_no_record() {
    let server = serve(&[], Some(SECRET));
    server.deliver(&deepfake("event-1", "session-1", 0.9).to_string());
    for end in ["", "/", "/webhook", "/webhook/"] {
        let url = format!("{}{end}", server.url);
        let at = |arguments: &[&str]| run(&[arguments, &["--url", &url]].concat(), "");
        assert_eq!(document(&at(&["results", "--json"]))["count"], 1, "{url}");
        assert_eq!(
            document(&at(&["results", "session-1", "--json"]))["count"],
            1,
            "{url}"
        );
        assert_eq!(document(&at(&["tail", "--json"]))["count"], 1, "{url}");
        assert_eq!(
            document(&at(&["event", "event-1", "--json"]))["event_id"],
            "event-1",
            "{url}"
        );
        failed(&at(&["event", "another"]), "no event another");
        assert_eq!(succeeded(&at(&["results", "another"])), "No records.\n");
    }
    // The receiver says that it knows no such path. That is not an empty list.
    let below = format!("{}/live/webhook", server.url);
    for arguments in [
        &["results"][..],
        &["results", "--json"],
        &["results", "session-1"],
        &["event", "event-1"],
        &["tail"],
        &["tail", "--follow"],
    ] {
        let output = run(&[arguments, &["--url", &below]].concat(), "");
        failed(&output, "has no reads");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
}

#[test]
fn a_unique_prefix_of_an_id_is_enough() {
    let server = serve(&[], Some(SECRET));
    for (id, session) in [
        ("evt_aa1", "sess_x1"),
        ("evt_aa2", "sess_x1"),
        ("evt_b", "sess_y"),
        ("evt_b-long", "sess_y2"),
    ] {
        server.deliver(&deepfake(id, session, 0.9).to_string());
    }
    server.deliver("not an event");
    for place in [&server.table()[..], &["--url", &server.url]] {
        let at = |arguments: &[&str]| run(&[arguments, place].concat(), "");
        assert_eq!(
            document(&at(&["event", "evt_aa1", "--json"]))["event_id"],
            "evt_aa1"
        );
        // A whole id is never a prefix of another one.
        assert_eq!(document(&at(&["event", "evt_b", "--json"]))["event_id"], "evt_b");
        assert_eq!(
            document(&at(&["event", "evt_b-", "--json"]))["event_id"],
            "evt_b-long"
        );
        assert_eq!(
            document(&at(&["event", "rejected:", "--json"]))["outcome"],
            "rejected"
        );
        assert_eq!(succeeded(&at(&["event", "rejected:", "--body"])), "not an event");
        failed(&at(&["event", "evt_aa"]), "more than one id: evt_aa1, evt_aa2");
        failed(&at(&["event", "evt_c"]), "no event evt_c");
        assert_eq!(document(&at(&["results", "sess_x", "--json"]))["count"], 2);
        assert_eq!(document(&at(&["results", "sess_y", "--json"]))["count"], 1);
        failed(
            &at(&["results", "sess_"]),
            "more than one id: sess_x1, sess_y, sess_y2",
        );
    }
}

#[test]
fn a_rejected_record_is_shown_with_its_body() {
    let server = serve(&[], Some(SECRET));
    server.deliver(r#"{"id":"claimed","type":"sar.filed"}"#);
    let listed = document(&server.over_url(&["results", "--json"]));
    let id = listed["results"][0]["event_id"].as_str().unwrap();
    let shown = server.over_url(&["event", id]);
    let shown = succeeded(&shown);
    assert!(shown.contains("claimed_id    claimed\n"), "{shown}");
    assert!(shown.contains(r#"body          {"id":"claimed""#), "{shown}");
}

#[test]
fn times_may_be_dates() {
    let server = serve(&[], Some(SECRET));
    server.samples(&["sar.filed"]);
    let today = sonotheia_webhook::timestamp::Timestamp::now().to_string()[..10].to_owned();
    let count =
        |arguments: &[&str]| document(&server.over_url(&[arguments, &["--json"]].concat()))["count"].clone();
    assert_eq!(count(&["results", "--from", &today, "--to", &today]), 1);
    assert_eq!(count(&["results", "--to", "2026-01-21"]), 0);
}
