//! The ends of `results` and `tail`: a page that fails, an interrupt, and a reader that goes away.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::json;

use super::mock::{Mock, answer};
use super::{Running, failed, interrupted, run, serve, sonotheia, text};
use testkit::SECRET;

#[test]
fn a_list_whose_page_fails_never_passes_for_the_whole() {
    let page = |next: &str| {
        let record = json!({
            "event_id": "e", "received_at": "2026-01-21T12:00:00.000Z", "expires_at": "2027-01-21T12:00:00.000Z",
            "outcome": "accepted",
        });
        json!({"count": 1, "results": [record], "next": next}).to_string()
    };
    type Answers = fn(bool, String) -> axum::response::Response;
    let cases: [(Answers, &str); 5] = [
        (
            |first, page| {
                if first {
                    answer(200, page)
                } else {
                    answer(500, r#"{"message":"a defect"}"#)
                }
            },
            "500: a defect",
        ),
        (
            |first, page| {
                if first {
                    answer(200, page)
                } else {
                    answer(403, "{}")
                }
            },
            "--table",
        ),
        (
            |first, page| {
                if first {
                    answer(200, page)
                } else {
                    answer(200, "<html>")
                }
            },
            "not a receiver's",
        ),
        (|_, page| answer(200, page), "do not end"),
        (
            |first, page| {
                if first {
                    answer(200, page)
                } else {
                    answer(404, "nginx")
                }
            },
            "404",
        ),
    ];
    for (answers, says) in cases {
        let mock = Mock::start(move |seen| answers(!seen.path.contains("cursor="), page("again")));
        for command in [&["results", "--json", "--limit", "3"][..], &["tail"]] {
            let output = run(&[command, &["--url", &mock.url]].concat(), "");
            failed(&output, says);
            assert_eq!(text(&output.stdout), "");
        }
        // Lines come page by page, so the error says how many there were.
        let output = run(&["results", "--all", "--url", &mock.url], "");
        failed(&output, says);
        failed(&output, "stopped after 1 records, and there are more");
        assert_eq!(text(&output.stdout).lines().count(), 2);
    }
}

#[test]
fn a_list_comes_page_by_page_and_an_interrupt_sums_up() {
    let page = |n: usize| {
        let record = json!({
            "event_id": format!("e{n}"), "received_at": "2026-01-21T12:00:00.000Z",
            "expires_at": "2027-01-21T12:00:00.000Z", "outcome": "accepted",
        });
        json!({"count": 1, "results": [record], "next": format!("{}", n + 1)}).to_string()
    };
    let slow = Mock::start(move |seen| {
        let n: usize = seen
            .path
            .split_once("cursor=")
            .map_or(0, |(_, n)| n.parse().unwrap());
        if n >= 3 {
            std::thread::sleep(std::time::Duration::from_secs(8));
        }
        answer(200, page(n))
    });
    let arguments = ["results", "--all", "--url", &slow.url];
    let is_time = || slow.seen().len() == 4;
    let begun = std::time::Instant::now();
    let output = interrupted(&arguments, &[], is_time);
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(6),
        "it waited for the answer"
    );
    failed(&output, "interrupted: 3 records were shown");
    assert_eq!(text(&output.stdout).lines().count(), 4);
}

#[test]
fn a_command_ends_when_nobody_reads_its_output() {
    let server = serve(&[], Some(SECRET));
    server.samples(&["sar.filed", "sar.submitted", "mfa.failed"]);
    for place in [server.table(), vec!["--url", &server.url]] {
        let arguments = [&["tail", "--follow", "--interval", "600"], &place[..]].concat();
        let mut child = sonotheia(&arguments);
        let mut tail = Running(
            child
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        let mut lines = BufReader::new(tail.0.stdout.take().unwrap()).lines();
        // As `head -2` does.
        assert!(lines.next().unwrap().unwrap().starts_with("RECEIVED"));
        assert!(lines.next().unwrap().unwrap().contains("sar.filed"));
        drop(lines);
        let begun = std::time::Instant::now();
        let status = loop {
            if let Some(status) = tail.0.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < std::time::Duration::from_secs(10), "it goes on");
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        assert_eq!(status.code(), Some(0));
        let mut said = String::new();
        std::io::Read::read_to_string(&mut tail.0.stderr.take().unwrap(), &mut said).unwrap();
        assert_eq!(said, "");
    }
}
