//! Text from outside on a terminal: bounded in depth and size, and without control characters.

use super::mock::{Mock, answer};
use super::{Server, document, run, serve, succeeded, text};
use serde_json::json;
use testkit::SECRET;

/// The most bytes that a command shows of one record.
const BOUND: usize = 200_000;

/// Delivers a body until the receiver has it. On a busy machine a large record may take more than its time.
fn stored(server: &Server, body: &str) {
    let arguments = ["send", "--url", &server.url, "--secret", SECRET, "--file", "-"];
    for _ in 0..10 {
        let output = run(&arguments, body);
        if !text(&output.stdout).starts_with("503") {
            return;
        }
    }
    panic!("the receiver does not store the record");
}

#[test]
fn a_deep_or_large_record_has_a_bounded_display() {
    let server = serve(&[], Some(SECRET));
    let deep = |depth: usize, filling: &str| format!("{}{filling}{}", "[".repeat(depth), "]".repeat(depth));
    let rows = "1,".repeat(30_000);
    for (id, data) in [
        ("deep", deep(120, "1")),
        ("wide", deep(28, rows.trim_end_matches(','))),
        (
            "objects",
            format!("{}1{}", r#"{"a":"#.repeat(120), "}".repeat(120)),
        ),
        ("text", format!("\"{}\"", "\\u001b[2J".repeat(10_000))),
    ] {
        let body =
            format!(r#"{{"id":"{id}","type":"system.health_check","data":{{"services":{{"a":{data}}}}}}}"#);
        stored(&server, &body);
        let shown = server.over_url(&["event", id]);
        let said = succeeded(&shown);
        assert!(
            said.contains("accepted") && said.len() < BOUND,
            "{id}: {} bytes",
            said.len()
        );
        assert_eq!(
            text(&shown.stderr).contains("--json prints the whole record"),
            said.contains("(shortened)")
        );
        let whole = server.over_url(&["event", id, "--json"]);
        assert!(text(&whole.stdout).len() >= data.len(), "{id}");
        assert_eq!(text(&server.over_url(&["event", id, "--body"]).stdout), body);
    }
    // Rejected records, whose bodies are not even JSON.
    let deepest = "[".repeat(100_000);
    for body in [deepest.as_str(), &"\u{1b}]0;title\u{7}".repeat(10_000)] {
        stored(&server, body);
        let newest =
            document(&server.over_url(&["results", "--outcome", "rejected", "--limit", "1", "--json"]));
        let id = newest["results"][0]["event_id"].as_str().unwrap();
        let shown = server.over_url(&["event", id]);
        let said = succeeded(&shown);
        assert!(
            said.len() < BOUND && said.contains("(shortened)"),
            "{} bytes",
            said.len()
        );
        assert!(!said.contains(['\u{1b}', '\u{7}']));
    }
    for arguments in [&["results", "--all"][..], &["tail", "-n", "100"]] {
        let output = server.over_url(arguments);
        assert!(succeeded(&output).lines().all(|line| line.len() < 1_000));
    }
}

#[test]
fn stored_text_with_control_characters_is_escaped_everywhere() {
    let server = serve(&[], Some(SECRET));
    // Each of them does something on a terminal, and JSON does not escape all of them.
    let odd = "\u{9b}31m\u{202e}\u{2028}\u{7f}\u{feff}";
    let body = json!({"id": "odd", "type": "deepfake.completed", "data": {
        "session_id": format!("s{odd}\u{1b}[31m"), "score": 0.5, "label": "uncertain", "analysis": {odd: odd},
    }});
    server.deliver(&body.to_string());
    server.deliver(&format!("{{\"id\":\"{odd}"));
    for arguments in [
        &["results"][..],
        &["results", "--json"],
        &["tail"],
        &["tail", "--json"],
        &["event", "odd"],
        &["event", "odd", "--json"],
        &["event", "rejected:"],
        &["event", "rejected:", "--json"],
    ] {
        let output = server.over_url(arguments);
        let said = succeeded(&output);
        assert!(
            !said.contains(|c: char| odd.contains(c) && !c.is_ascii_alphanumeric() || c == '\u{1b}'),
            "{said:?}"
        );
    }
    let record = document(&server.over_url(&["event", "odd", "--json"]));
    assert_eq!(record["data"], body["data"]);
}

#[test]
fn a_hostile_answer_to_send_or_to_a_read_is_escaped_and_short() {
    let long = "\u{1b}[2J\u{9b}".repeat(5_000);
    let hostile = json!({"duplicate": false, "event_id": long, "code": long, "message": long}).to_string();
    for status in [200, 400, 500] {
        let hostile = hostile.clone();
        let mock = Mock::start(move |_| answer(status, hostile.clone()));
        for arguments in [
            &["send", "--secret", "s"][..],
            &["results"],
            &["event", "e"],
            &["doctor", "--secret", "s"],
        ] {
            let output = run(&[arguments, &["--url", &mock.url]].concat(), "");
            let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
            assert!(!said.contains(['\u{1b}', '\u{9b}']), "{arguments:?}: {said:?}");
            assert!(said.lines().all(|line| line.len() < 20_000), "{arguments:?}");
        }
    }
}
