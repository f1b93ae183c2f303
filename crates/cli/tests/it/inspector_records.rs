//! The inspector and the records of the table: conflicts, history, replay, and `inspect`.

use serde_json::json;

use super::inspector::{detail, get, post, press, request, rows};
use super::{Running, Server, failed, run, serve, sonotheia};
use testkit::{SECRET, deepfake};

#[test]
fn a_conflict_stands_beside_the_first_delivery() {
    let server = serve(&[], Some(SECRET));
    for what in ["conflict", "conflict"] {
        press(&server, what);
    }
    let rows = rows(&server, 3);
    assert_eq!(rows[0]["outcome"], "accepted");
    for n in [2, 3] {
        let detail = detail(&server, n);
        assert_eq!(detail["row"]["outcome"], "conflict", "{detail}");
        assert_eq!(detail["row"]["event_id"], rows[0]["event_id"]);
        let lines = detail["first"]["lines"].as_array().unwrap();
        let differ = json!({"differ": {"first": "  \"score\": 0.93,", "this": "  \"score\": 0.07,"}});
        assert!(lines.contains(&differ), "{detail}");
    }
    // The record of the conflict has the same comparison.
    let records = get(&server.url, "/inspector/records?limit=100");
    let record = records["rows"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["outcome"] == "conflict")
        .unwrap()
        .clone();
    let key = record["event_id"].as_str().unwrap().replace(':', "%3A");
    let detail = get(&server.url, &format!("/inspector/record?id={key}"));
    assert_eq!(detail["row"]["claimed_event_id"], rows[0]["event_id"], "{detail}");
    assert!(detail["first"]["lines"].is_array(), "{detail}");
}

#[test]
fn a_delivery_and_a_record_can_be_replayed_and_history_outlives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("events.db");
    let data = ["--data", data.to_str().unwrap()];
    let mut server = serve(&data, Some(SECRET));
    server.deliver(&deepfake("one", "session", 0.95).to_string());
    server.deliver("[]");
    for (n, outcome) in [(1, "duplicate"), (2, "rejected")] {
        assert_eq!(
            post(&server.url, "/inspector/replay", &json!({"delivery": n})).0,
            204
        );
        assert_eq!(rows(&server, n + 2)[n + 1]["outcome"], outcome);
    }
    press(&server, "too_large");
    // The inspector has a part of this body only.
    assert_eq!(
        post(&server.url, "/inspector/replay", &json!({"delivery": 5})).0,
        400
    );
    assert_eq!(server.process.terminate(), Some(0));

    let server = serve(&data, Some(SECRET));
    let records = get(&server.url, "/inspector/records?limit=100");
    let rows_of = records["rows"].as_array().unwrap();
    assert_eq!(rows_of.len(), 2, "{records}");
    let one = rows_of.iter().find(|row| row["event_id"] == "one").unwrap();
    assert_eq!(
        (&one["outcome"], &one["session_id"]),
        (&json!("accepted"), &json!("session"))
    );
    let rejected = rows_of.iter().find(|row| row["outcome"] == "rejected").unwrap();
    assert!(
        rejected["reason"].as_str().unwrap().contains("not a JSON object"),
        "{rejected}"
    );
    let detail = get(&server.url, "/inspector/record?id=one");
    assert!(
        detail["body"]["text"].as_str().unwrap().contains("0.95"),
        "{detail}"
    );
    assert_eq!(
        post(&server.url, "/inspector/replay", &json!({"record": "one"})).0,
        204
    );
    assert_eq!(rows(&server, 1)[0]["outcome"], "duplicate");
    let (status, _, text) = request("GET", &format!("{}/inspector/record?id=no", server.url), &[], b"");
    assert_eq!(status, 404, "{text}");
    let (status, ..) = request(
        "GET",
        &format!("{}/inspector/records?limit=0", server.url),
        &[],
        b"",
    );
    assert_eq!(status, 400);
}

/// An `inspect` over the table of a `serve`, and its address.
pub fn inspect(server: &Server) -> (Running, String) {
    let mut command = sonotheia(&[&["inspect", "--port", "0"], server.table().as_slice()].concat());
    let mut process = Running::start(&mut command);
    let banner = process.output_to("Table: ");
    let url = banner
        .lines()
        .find_map(|line| line.strip_prefix("Inspector: "))
        .unwrap();
    let url = url.trim_end_matches('/').to_owned();
    (process, url)
}

#[test]
fn inspect_reads_a_table_and_writes_nothing() {
    let server = serve(&[], Some(SECRET));
    press(&server, "conflict");
    let (mut process, url) = inspect(&server);
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    assert_eq!(get(&url, "/inspector/about")["table"], "sonotheia-events");
    let records = get(&url, "/inspector/records?limit=100");
    assert_eq!(records["rows"].as_array().unwrap().len(), 2);
    server.deliver(&deepfake("one", "session", 0.95).to_string());
    let detail = get(&url, "/inspector/record?id=one");
    assert_eq!((&detail["can_replay"], detail.get("curl")), (&json!(false), None));
    // There is no webhook, no button, and no other read.
    for (method, path) in [
        ("POST", "/webhook"),
        ("POST", "/inspector/send"),
        ("POST", "/inspector/replay"),
        ("GET", "/inspector/deliveries"),
        ("GET", "/results"),
        ("POST", "/"),
        ("DELETE", "/inspector/record?id=one"),
    ] {
        let json = ("content-type", "application/json");
        let (status, _, text) = request(method, &format!("{url}{path}"), &[json], br#"{"what":"forged"}"#);
        assert!(
            [403, 404, 405].contains(&status),
            "{method} {path}: {status} {text}"
        );
    }
    for host in ["evil.example", "127.0.0.1.evil.example", "192.168.0.2"] {
        for path in ["/", "/inspector/records", "/inspector/about"] {
            assert_eq!(
                request("GET", &format!("{url}{path}"), &[("host", host)], b"").0,
                403,
                "{host}{path}"
            );
        }
    }
    let tunnel = ("x-forwarded-for", "192.0.2.1");
    assert_eq!(request("GET", &url, &[tunnel], b"").0, 403);
    assert_eq!(process.terminate(), Some(0));
    let missing = run(
        &[
            "inspect",
            "--port",
            "0",
            "--table",
            "no-such-table",
            "--dynamodb",
            server.table().last().unwrap(),
        ],
        "",
    );
    failed(&missing, "no-such-table");
}
