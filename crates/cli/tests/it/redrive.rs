//! `redrive`: judges rejected records by today's rules.

use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sonotheia_webhook::store::{DeliveryToken, NewRecord, Outcome, Store};
use sonotheia_webhook::timestamp::Timestamp;

use super::mock::{Mock, answer, forward};
use super::{
    Running, Server, document, failed, interrupted, run_with, runtime, serve, sonotheia, succeeded, text,
};
use testkit::{SECRET, at, deepfake};

/// Stores bodies as rejected, as a receiver did whose rules did not know them yet.
fn reject(server: &Server, reason: &'static str, bodies: &[String]) {
    let store = Store::new(server.dynamodb(), "sonotheia-events");
    runtime().block_on(async {
        for (n, body) in bodies.iter().enumerate() {
            let record = NewRecord {
                event_id: format!("rejected:sha256:{reason}-{n}").into(),
                outcome: Outcome::Rejected,
                reason: Some(reason),
                event: None,
                problems: Vec::new().into(),
                body: body.as_bytes(),
                received_at: Timestamp::now(),
                expires_at: Timestamp::now().plus_days(90),
                token: DeliveryToken::new().unwrap(),
            };
            store.put(record).await.unwrap();
        }
    });
}

fn accepted(server: &Server) -> Vec<Value> {
    let listed = document(&server.over_table(&["results", "--outcome", "accepted", "--all", "--json"]));
    listed["results"].as_array().unwrap().clone()
}

#[test]
fn events_that_pass_today_are_stored_and_all_other_records_stay() {
    let server = serve(&[], Some(SECRET));
    let old =
        json!({"type": "sar.filed", "id": "old", "data": {"case_id": "c", "timestamp": at(-3651 * 86_400)}});
    server.deliver(&deepfake("known", "session", 0.9).to_string());
    server.deliver(&deepfake("known", "session", 0.1).to_string());
    server.deliver(r#"{"id":"no type"}"#);
    server.deliver(&old.to_string());
    let known = document(&server.over_table(&["event", "known", "--json"]));
    let again = format!(
        r#"{{"type":"deepfake.completed","id":"known","data":{}}}"#,
        known["data"]
    );
    reject(
        &server,
        "invalid_event",
        &[
            deepfake("new", "session", 0.95).to_string(),
            r#"{"type":"sar.filed","data":{"case_id":"without an id"}}"#.to_owned(),
            again,
        ],
    );
    // It would pass, but it may be a replay of an event whose record DynamoDB has deleted.
    reject(
        &server,
        "event_too_old",
        &[deepfake("replayed", "session", 0.5).to_string()],
    );

    let counts = |report: &Value| {
        [
            "count",
            "accepted",
            "already_accepted",
            "conflict",
            "too_old",
            "invalid",
        ]
        .map(|key| report[key].clone())
    };
    let dry = document(&server.over_table(&["redrive", "--json"]));
    assert_eq!(dry["applied"], false);
    assert_eq!(counts(&dry), [7, 2, 1, 1, 2, 1].map(|n| json!(n)));
    let shown = server.over_table(&["redrive"]);
    let shown = succeeded(&shown);
    assert!(
        shown.contains("Nothing was written") && shown.contains("would be accepted  as new"),
        "{shown}"
    );
    assert_eq!(accepted(&server).len(), 1);

    let wet = document(&server.over_table(&["redrive", "--apply", "--json"]));
    assert_eq!(wet["applied"], true);
    assert_eq!(counts(&wet), counts(&dry));
    let verdicts = |report: &Value| -> Vec<Value> {
        let records = report["records"].as_array().unwrap();
        records
            .iter()
            .map(|record| json!([record["event_id"], record["verdict"], record["accepted_as"]]))
            .collect()
    };
    assert_eq!(verdicts(&wet), verdicts(&dry));
    let new = document(&server.over_table(&["event", "new", "--json"]));
    assert_eq!(
        (&new["outcome"], &new["alert"]),
        (&json!("accepted"), &json!("high_deepfake_score"))
    );
    assert_eq!(accepted(&server).len(), 3);
    // The accepted record is unchanged, and the rejected records are still there.
    assert_eq!(document(&server.over_table(&["event", "known", "--json"])), known);
    let rejected = document(&server.over_table(&["results", "--outcome", "rejected", "--json"]));
    assert_eq!(rejected["count"], 7);

    let again = document(&server.over_table(&["redrive", "--apply", "--json"]));
    assert_eq!(counts(&again), [7, 0, 3, 1, 2, 1].map(|n| json!(n)));
    assert_eq!(accepted(&server).len(), 3);
}

#[test]
fn an_event_of_a_clock_that_was_ahead_passes_once_its_time_has_come() {
    let server = serve(&[], Some(SECRET));
    let ahead =
        json!({"type": "sar.filed", "id": "ahead", "data": {"case_id": "c", "timestamp": at(86_400 + 4)}});
    server.deliver(&ahead.to_string());
    let report = document(&server.over_table(&["redrive", "--apply", "--json"]));
    assert_eq!(
        (&report["count"], &report["invalid"]),
        (&json!(1), &json!(1)),
        "{report}"
    );
    std::thread::sleep(Duration::from_secs(5));
    let report = document(&server.over_table(&["redrive", "--apply", "--json"]));
    assert_eq!(report["accepted"], 1, "{report}");
    assert_eq!(
        document(&server.over_table(&["event", "ahead", "--json"]))["outcome"],
        "accepted"
    );
}

#[test]
fn a_killed_run_can_be_run_again() {
    const COUNT: usize = 400;
    let server = serve(&[], Some(SECRET));
    let bodies: Vec<_> = (0..COUNT)
        .map(|n| deepfake(&format!("event-{n}"), "session", 0.5).to_string())
        .collect();
    reject(&server, "invalid_event", &bodies);

    let arguments = [&["redrive", "--apply"], &server.table()[..]].concat();
    let mut command = sonotheia(&arguments);
    let mut first = Running(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let store = Store::new(server.dynamodb(), "sonotheia-events");
    let begun = Instant::now();
    runtime().block_on(async {
        while store.get("event-20").await.unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(30), "nothing is stored");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    first.0.kill().unwrap();
    first.0.wait().unwrap();
    let before = accepted(&server);
    assert!(before.len() < COUNT, "it was over before the kill");

    let report = document(&server.over_table(&["redrive", "--apply", "--json"]));
    assert_eq!(report["already_accepted"], before.len());
    assert_eq!(report["accepted"], COUNT - before.len());
    let after = accepted(&server);
    assert_eq!(after.len(), COUNT);
    for record in before {
        assert!(after.contains(&record), "{record} was changed");
    }
}

#[test]
fn the_retention_comes_from_the_table_or_an_option_and_never_from_the_environment() {
    let server = serve(&[], Some(SECRET));
    let old =
        json!({"type": "sar.filed", "id": "old", "data": {"case_id": "c", "timestamp": at(-100 * 86_400)}});
    let recent =
        json!({"type": "sar.filed", "id": "recent", "data": {"case_id": "c", "timestamp": at(-7 * 86_400)}});
    reject(&server, "invalid_event", &[old.to_string(), recent.to_string()]);
    // An operator's shell may have another deployment's variables.
    let redrive = |more: &[&str]| {
        let arguments = [&["redrive", "--json"], more, &server.table()[..]].concat();
        run_with(&arguments, &[("RETENTION_DAYS", "3650")], "")
    };
    let report = document(&redrive(&["--apply"]));
    assert_eq!(report["retention_days"], 90);
    assert_eq!((&report["too_old"], &report["accepted"]), (&json!(1), &json!(1)));
    failed(&server.over_table(&["event", "old"]), "no event old");
    assert_eq!(document(&redrive(&["--retention-days", "5"]))["too_old"], 2);
    // With a longer retention, an event whose record is deleted would be stored as new.
    failed(
        &redrive(&["--retention-days", "101", "--apply"]),
        "kept for 90 days",
    );
    failed(&server.over_table(&["event", "old"]), "no event old");
    for days in ["0", "3651", "many"] {
        assert_eq!(redrive(&["--retention-days", days]).status.code(), Some(2));
    }
}

#[test]
fn each_record_is_judged_at_its_own_time() {
    let server = serve(&[], Some(SECRET));
    let fillers = (0..16).map(|n| deepfake(&format!("event-{n}"), "session", 0.5).to_string());
    // This event is too old from 3 seconds on: a day less the 35 seconds that a write may take.
    let begun = Instant::now();
    let aging = json!({"type": "sar.filed", "id": "aging", "data": {"case_id": "c", "timestamp": at(-86_400 + 35 + 3)}});
    reject(
        &server,
        "invalid_event",
        &fillers.chain([aging.to_string()]).collect::<Vec<_>>(),
    );
    let endpoint = server.table().last().unwrap().to_string();
    let slow = Mock::start(move |seen| {
        if seen.header("x-amz-target").ends_with("GetItem") && !seen.body_text().contains("\"rejected:\"") {
            std::thread::sleep(Duration::from_millis(900));
        }
        forward(&endpoint, seen)
    });
    let arguments = [
        "redrive",
        "--json",
        "--retention-days",
        "1",
        "--table",
        "sonotheia-events",
        "--dynamodb",
        &slow.url,
    ];
    let command = run_with(&arguments, &[], "");
    let report = document(&command);
    assert!(
        begun.elapsed() > Duration::from_secs(4),
        "the records came too fast"
    );
    assert_eq!(
        (&report["too_old"], &report["accepted"]),
        (&json!(1), &json!(16)),
        "{report}"
    );
}

#[test]
fn an_interrupt_lets_the_writes_end_and_sums_up() {
    let server = serve(&[], Some(SECRET));
    let bodies: Vec<_> = (0..200)
        .map(|n| deepfake(&format!("event-{n}"), "session", 0.5).to_string())
        .collect();
    reject(&server, "invalid_event", &bodies);
    let endpoint = server.table().last().unwrap().to_string();
    let slow = Mock::start(move |seen| {
        if seen.header("x-amz-target").ends_with("PutItem") {
            std::thread::sleep(Duration::from_millis(50));
        }
        forward(&endpoint, seen)
    });
    let arguments = [
        "redrive",
        "--apply",
        "--json",
        "--table",
        "sonotheia-events",
        "--dynamodb",
        &slow.url,
    ];
    let output = interrupted(&arguments, &[], || {
        slow.seen()
            .iter()
            .any(|seen| seen.header("x-amz-target").ends_with("PutItem"))
    });
    failed(&output, "interrupted");
    failed(&output, "of 200 rejected records");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let stored = accepted(&server).len();
    assert!(stored < 200, "it was over before the interrupt");
    assert_eq!(report["accepted"], stored);
    let rest = document(&server.over_table(&["redrive", "--apply", "--json"]));
    assert_eq!(rest["accepted"], 200 - stored);
}

#[test]
fn a_call_that_fails_leaves_a_report_of_the_work_that_was_done() {
    let server = serve(&[], Some(SECRET));
    let bodies: Vec<_> = (0..40)
        .map(|n| deepfake(&format!("event-{n}"), "session", 0.5).to_string())
        .collect();
    reject(&server, "invalid_event", &bodies);
    let endpoint = server.table().last().unwrap().to_string();
    let puts = AtomicUsize::new(0);
    let denies = Mock::start(move |seen| {
        let is_put = seen.header("x-amz-target").ends_with("PutItem");
        if is_put && puts.fetch_add(1, Ordering::Relaxed) >= 20 {
            let error =
                r#"{"__type":"AccessDeniedException","message":"not allowed to write the payload 0.5"}"#;
            return answer(400, error);
        }
        forward(&endpoint, seen)
    });
    let arguments = [
        "redrive",
        "--apply",
        "--json",
        "--table",
        "sonotheia-events",
        "--dynamodb",
        &denies.url,
    ];
    let output = run_with(&arguments, &[], "");
    failed(&output, "of 40 rejected records: those that passed are stored");
    failed(&output, "AccessDeniedException");
    assert!(
        !text(&output.stderr).contains("payload"),
        "{}",
        text(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["accepted"], 20);
    assert_eq!(accepted(&server).len(), 20);
}

#[test]
fn an_empty_table_is_no_failure_and_a_missing_table_is_a_failure() {
    let server = serve(&[], Some(SECRET));
    assert_eq!(
        succeeded(&server.over_table(&["redrive", "--apply"])),
        "0 rejected\n"
    );
    let endpoint = *server.table().last().unwrap();
    let none = run_with(&["redrive", "--table", "none", "--dynamodb", endpoint], &[], "");
    failed(&none, "EventsTableName");
}
