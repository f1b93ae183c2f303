//! `erase`: a person's data leaves the records, and the records stay.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use sonotheia_webhook::event::Event;
use sonotheia_webhook::store::{DeliveryToken, NewRecord, Outcome, Store};
use sonotheia_webhook::timestamp::Timestamp;

use super::mock::{Mock, answer, forward};
use super::{Server, document, failed, interrupted, run, runtime, serve, succeeded, text};
use testkit::{SECRET, deepfake, sign};

fn item(server: &Server, id: &str) -> std::collections::HashMap<String, AttributeValue> {
    let request = server.dynamodb().get_item().table_name("sonotheia-events");
    let request = request.key("event_id", AttributeValue::S(id.into()));
    runtime().block_on(request.send()).unwrap().item.unwrap()
}

fn counts(report: &Value) -> [&Value; 4] {
    ["count", "erased", "already_erased", "kept"].map(|key| &report[key])
}

/// The answer of the receiver to a delivery: its status and its body.
fn deliver(server: &Server, body: &str) -> (u16, Value) {
    let url = format!("{}/webhook", server.url);
    let request = ureq::post(&url).config().http_status_as_error(false).build();
    let request = request.header("x-sonotheia-signature", sign(body, SECRET));
    let mut response = request.send(body).unwrap();
    let body = response.body_mut().read_to_string().unwrap();
    (response.status().as_u16(), serde_json::from_str(&body).unwrap())
}

#[test]
fn an_event_is_erased_once_and_its_redelivery_stays_a_duplicate() {
    let server = serve(&[], Some(SECRET));
    let event = deepfake("event-1", "session-1", 0.9).to_string();
    server.deliver(&event);
    let before = item(&server, "event-1");

    let dry = server.over_table(&["erase", "--event", "event-1"]);
    let shown = succeeded(&dry);
    assert!(
        shown.contains("would be erased") && shown.contains("Nothing was written"),
        "{shown}"
    );
    assert_eq!(item(&server, "event-1"), before);

    let wet = document(&server.over_table(&["erase", "--event", "event-1", "--apply", "--json"]));
    assert_eq!(
        counts(&wet),
        [&json!(1), &json!(1), &json!(0), &json!(0)],
        "{wet}"
    );
    let after = item(&server, "event-1");
    assert!(!format!("{after:?}").contains("session-1"), "{after:?}");
    assert_eq!(after["hash"], before["hash"]);
    let record = document(&server.over_url(&["event", "event-1", "--json"]));
    assert_eq!(record["erased_at"], wet["records"][0]["erased_at"]);
    assert!(
        record.get("data").is_none() && record.get("session_id").is_none(),
        "{record}"
    );
    failed(&server.over_url(&["event", "event-1", "--body"]), "was erased");

    let (status, answer) = deliver(&server, &event);
    assert_eq!((status, &answer["duplicate"]), (200, &json!(true)));
    let (status, answer) = deliver(&server, &deepfake("event-1", "session-1", 0.1).to_string());
    assert_eq!((status, &answer["code"]), (409, &json!("event_conflict")));

    // The conflict is a rejected record with a body of its own, and a second run finds it.
    let again = document(&server.over_table(&["erase", "--event", "event-1", "--apply", "--json"]));
    assert_eq!(
        counts(&again),
        [&json!(2), &json!(1), &json!(1), &json!(0)],
        "{again}"
    );
    // An erased rejected record names no id any more.
    let third = server.over_table(&["erase", "--event", "event-1", "--apply"]);
    assert!(
        succeeded(&third).contains("1 record: 1 already erased"),
        "{}",
        text(&third.stdout)
    );
    assert_eq!(item(&server, "event-1"), after);
}

#[test]
fn a_session_is_erased_over_all_pages_with_the_rejected_records_that_name_it() {
    let server = serve(&[], Some(SECRET));
    let store = Store::new(server.dynamodb(), "sonotheia-events");
    runtime().block_on(async {
        for n in 0..230 {
            put(
                &store,
                &deepfake(&format!("event-{n}"), "session-1", 0.5),
                Timestamp::now(),
                90,
            )
            .await;
        }
    });
    server.deliver(&deepfake("other", "session-2", 0.9).to_string());
    let rejected = r#"{"id":"no type","data":{"session_id":"session-1"}}"#;
    server.deliver(rejected);
    server.deliver(r#"{"id":"no type","data":{"session_id":"session-2"}}"#);

    let quick =
        document(&server.over_table(&["erase", "--session", "session-1", "--skip-rejected", "--json"]));
    assert_eq!(
        (&quick["count"], &quick["rejected_searched"]),
        (&json!(230), &json!(false))
    );
    let wet = document(&server.over_table(&["erase", "--session", "session-1", "--apply", "--json"]));
    assert_eq!(counts(&wet), [&json!(231), &json!(231), &json!(0), &json!(0)]);
    let listed = document(&server.over_url(&["results", "--all", "--json"]));
    let erased = |record: &&Value| record.get("erased_at").is_some();
    let results = listed["results"].as_array().unwrap();
    assert_eq!((results.len(), results.iter().filter(erased).count()), (233, 231));
    assert_eq!(
        succeeded(&server.over_url(&["results", "session-1"])),
        "No records.\n"
    );
    assert!(document(&server.over_url(&["event", "other", "--json"]))["data"].is_object());

    let again = server.over_table(&["erase", "--session", "session-1", "--apply"]);
    assert!(
        succeeded(&again).contains("No record names session session-1"),
        "{}",
        text(&again.stdout)
    );
}

/// Stores an event as accepted at `received`, by the receiver's rules of a retention of `days`.
pub(super) async fn put(store: &Store, event: &Value, received: Timestamp, days: u32) {
    let body = event.to_string();
    let event = Event::parse(body.as_bytes(), 0.8).unwrap();
    let record = NewRecord {
        event_id: event.id.as_deref().unwrap().into(),
        outcome: Outcome::Accepted,
        reason: None,
        event: Some(&event),
        problems: Vec::new().into(),
        body: body.as_bytes(),
        received_at: received,
        expires_at: received.plus_days(days),
        token: DeliveryToken::new().unwrap(),
    };
    store.put(record).await.unwrap();
}

fn sar(id: &str, days: u32) -> Value {
    json!({"type": "sar.submitted", "id": id, "data": {"session_id": "session-1", "case_id": "c", "status": "s",
           "compliance": {"retention_period_days": days}}})
}

#[test]
fn a_record_that_asks_for_its_own_retention_stays_unless_the_operator_says_otherwise() {
    let server = serve(&[], Some(SECRET));
    let now = Timestamp::now();
    let store = Store::new(server.dynamodb(), "sonotheia-events");
    runtime().block_on(async {
        put(&store, &sar("asks", 1825), now, 1825).await;
        // It asks for less than the plain retention, and its own time is over.
        put(&store, &sar("over", 5), now.minus_days(6), 90).await;
        // The reads hide it, and DynamoDB has not deleted it.
        put(
            &store,
            &deepfake("expired", "session-1", 0.5),
            now.minus_days(91),
            90,
        )
        .await;
        put(&store, &deepfake("plain", "session-1", 0.5), now, 90).await;
    });
    for more in [&[][..], &["--apply"]] {
        let arguments = [&["erase", "--session", "session-1", "--json"], more].concat();
        let output = server.over_table(&arguments);
        failed(&output, "--despite-retention");
        failed(&output, "1 record was not erased");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            counts(&report),
            [&json!(4), &json!(3), &json!(0), &json!(1)],
            "{report}"
        );
        let kept = report["records"]
            .as_array()
            .unwrap()
            .iter()
            .find(|line| line["verdict"] == "kept");
        let kept = kept.unwrap();
        assert_eq!(kept["event_id"], "asks");
        assert_eq!(kept["kept_until"], now.plus_days(1825).to_string());
    }
    assert!(document(&server.over_url(&["event", "asks", "--json"]))["data"].is_object());
    let all = [
        "erase",
        "--session",
        "session-1",
        "--apply",
        "--despite-retention",
        "--json",
    ];
    let report = document(&server.over_table(&all));
    assert_eq!(
        counts(&report),
        [&json!(1), &json!(1), &json!(0), &json!(0)],
        "{report}"
    );
    let record = document(&server.over_url(&["event", "asks", "--json"]));
    assert!(record.get("data").is_none(), "{record}");
}

#[test]
fn rejected_records_are_found_by_the_id_that_they_name_and_by_their_key() {
    let server = serve(&[], Some(SECRET));
    server.deliver(r#"{"id":"claimed","type":"sar.filed"}"#);
    server.deliver(r#"{"id":"claimed","type":"sar.filed","da"#);
    server.deliver(r#"{"id":"claimed too","type":"sar.filed"}"#);
    let listed = document(&server.over_url(&["results", "--json"]));
    let keys = listed["results"].as_array().unwrap().iter();
    let keys: Vec<_> = keys.map(|record| record["event_id"].as_str().unwrap()).collect();

    let dry = document(&server.over_table(&["erase", "--event", "claimed", "--json"]));
    assert_eq!(
        counts(&dry),
        [&json!(2), &json!(2), &json!(0), &json!(0)],
        "{dry}"
    );
    failed(
        &server.over_table(&["erase", "--event", "claimed", "--skip-rejected"]),
        "no record of event claimed",
    );
    failed(
        &server.over_table(&["erase", "--event", "none", "--apply"]),
        "no record of event none",
    );
    for key in keys {
        let arguments = ["erase", "--event", key, "--apply", "--skip-rejected", "--json"];
        assert_eq!(document(&server.over_table(&arguments))["erased"], 1, "{key}");
    }
    // A run of `redrive` has nothing to store from erased records.
    let redriven = document(&server.over_table(&["redrive", "--retention-days", "90", "--apply", "--json"]));
    assert_eq!(redriven["count"], 0, "{redriven}");
}

#[test]
fn one_subject_is_required() {
    for arguments in [
        &["erase", "--table", "t"][..],
        &["erase", "--table", "t", "--session", "s", "--event", "e"],
        &["erase", "--table", "t", "--session", ""],
        &["erase", "--session", "s"],
    ] {
        assert_eq!(run(arguments, "").status.code(), Some(2), "{arguments:?}");
    }
}

/// A server with 200 records of a session, and a database behind a mock.
fn with_mock(
    answer_to: impl Fn(&super::mock::Seen, &str) -> axum::response::Response + Send + Sync + 'static,
) -> (Server, Mock) {
    let server = serve(&[], Some(SECRET));
    let store = Store::new(server.dynamodb(), "sonotheia-events");
    runtime().block_on(async {
        for n in 0..200 {
            put(
                &store,
                &deepfake(&format!("event-{n}"), "session-1", 0.5),
                Timestamp::now(),
                90,
            )
            .await;
        }
    });
    let endpoint = server.table().last().unwrap().to_string();
    let mock = Mock::start(move |seen| answer_to(seen, &endpoint));
    (server, mock)
}

fn is_update(seen: &super::mock::Seen) -> bool {
    seen.header("x-amz-target").ends_with("UpdateItem")
}

const ERASE: [&str; 7] = [
    "erase",
    "--session",
    "session-1",
    "--apply",
    "--json",
    "--table",
    "sonotheia-events",
];

fn erased(server: &Server) -> usize {
    let listed = document(&server.over_table(&["results", "--all", "--json"]));
    let results = listed["results"].as_array().unwrap();
    results
        .iter()
        .filter(|record| record.get("erased_at").is_some())
        .count()
}

#[test]
fn an_interrupt_lets_the_erasures_end_and_sums_up() {
    let (server, slow) = with_mock(|seen, endpoint| {
        if is_update(seen) {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        forward(endpoint, seen)
    });
    let arguments = [&ERASE[..], &["--dynamodb", &slow.url]].concat();
    let output = interrupted(&arguments, &[], || slow.seen().iter().any(is_update));
    failed(&output, "interrupted");
    failed(&output, "of 200 records were looked at; run the command again");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let done = erased(&server);
    assert!(done < 200, "it was over before the interrupt");
    assert_eq!(report["erased"], done);
    let rest = document(&server.over_table(&ERASE[..5]));
    assert_eq!(rest["erased"], 200 - done);
}

#[test]
fn a_call_that_fails_leaves_a_report_of_the_erasures_that_were_done() {
    let updates = std::sync::atomic::AtomicUsize::new(0);
    let (server, denies) = with_mock(move |seen, endpoint| {
        if is_update(seen) && updates.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= 20 {
            return answer(
                400,
                r#"{"__type":"AccessDeniedException","message":"not session-1"}"#,
            );
        }
        forward(endpoint, seen)
    });
    let output = run(&[&ERASE[..], &["--dynamodb", &denies.url]].concat(), "");
    failed(&output, "of 200 records: those that the report names are erased");
    failed(&output, "AccessDeniedException");
    assert!(
        !text(&output.stderr).contains("not session-1"),
        "{}",
        text(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["erased"], erased(&server)), (&json!(20), 20));
}
