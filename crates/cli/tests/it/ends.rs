//! The ends of commands: a page that fails, an interrupt, and a reader of the output that goes away.

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
        (|_, page| answer(200, page), "does not end"),
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

#[test]
fn an_interrupted_send_sums_up_what_it_did() {
    let slow = Mock::start(|seen| {
        if seen.header("x-sonotheia-event-id").ends_with("_20") {
            std::thread::sleep(std::time::Duration::from_secs(8));
        }
        answer(200, r#"{"received":true,"duplicate":false,"event_id":"e"}"#)
    });
    for more in [&["--concurrency", "1"][..], &["--concurrency", "4"]] {
        let before = slow.seen().len();
        let send = [
            "send", "--count", "100000", "--secret", SECRET, "--url", &slow.url,
        ];
        let has_begun = || {
            let seen = slow.seen();
            let new = &seen[before..];
            new.iter()
                .any(|seen| seen.header("x-sonotheia-event-id").ends_with("_20"))
        };
        let begun = std::time::Instant::now();
        let output = interrupted(&[&send[..], more].concat(), &[], has_begun);
        assert!(
            begun.elapsed() < std::time::Duration::from_secs(7),
            "it waited for the answer"
        );
        failed(&output, "interrupted: ");
        failed(&output, "of 100000 deliveries have an answer");
        let said = text(&output.stdout);
        assert!(
            said.contains(" sent in ") && said.contains(" accepted, 0 duplicate, 0 refused"),
            "{said}"
        );
        assert!(said.contains("latency p50"), "{said}");
    }
}

#[test]
fn every_command_ends_quietly_when_its_reader_has_read_enough() {
    let server = serve(&[], Some(SECRET));
    server.samples(&[]);
    let table = server.table().join(" ");
    let url = &server.url;
    for command in [
        format!("send --secret '{SECRET}' --url {url}"),
        format!("send --count 50 --secret '{SECRET}' --url {url}"),
        format!("results --all --url {url}"),
        format!("results --all --json {table}"),
        format!("tail -n 100 --url {url}"),
        format!("tail --follow --interval 600 {table}"),
        format!("event evt_ --url {url} --body"),
        format!("doctor --secret '{SECRET}' --url {url}"),
        format!("redrive {table}"),
        "register https://receiver.example/webhook --secret s".to_owned(),
        "sign --secret s /dev/null".to_owned(),
        "completions bash".to_owned(),
        "man".to_owned(),
        "man send".to_owned(),
        "--help".to_owned(),
    ] {
        // `true` closes the pipe before the first line, and `head` after it.
        for reader in ["head -n 1", "true"] {
            let script = format!("set -o pipefail; \"$0\" {command} | {reader}");
            let mut shell = std::process::Command::new("bash");
            let output = shell
                .args(["-c", &script, env!("CARGO_BIN_EXE_sonotheia")])
                .output()
                .unwrap();
            let said = text(&output.stderr);
            if command.starts_with("event") || command.starts_with("doctor") {
                assert!(
                    !said.contains("Broken pipe") && !said.contains("panicked"),
                    "{command}: {said}"
                );
            } else {
                assert_eq!(output.status.code(), Some(0), "{command} | {reader}: {said}");
                assert_eq!(said, "", "{command} | {reader}");
            }
        }
    }
    // A full disk is another thing.
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = sonotheia(&["results", "--url", url])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    failed(&output, "cannot write to standard output");
}

#[test]
fn an_interrupt_is_the_usual_end_of_tail_follow_and_sums_up() {
    let record = json!({
        "event_id": "e", "received_at": "2026-01-21T12:00:00.000Z", "expires_at": "2027-01-21T12:00:00.000Z",
        "outcome": "accepted",
    });
    let page = json!({"count": 1, "results": [record], "next": null}).to_string();
    let place = Mock::start(move |_| answer(200, page.clone()));
    let arguments = ["tail", "--follow", "--interval", "1", "--url", &place.url];
    // Three reads come before the first look at new records.
    let output = interrupted(&arguments, &[], || place.seen().len() > 3);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 2);
    assert!(
        text(&output.stderr).contains("1 records were shown"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn an_interrupted_doctor_prints_the_checks_that_it_made() {
    let slow = Mock::start(|_| {
        std::thread::sleep(std::time::Duration::from_secs(8));
        answer(200, "{}".to_owned())
    });
    let url = format!("{}/webhook", slow.url);
    let arguments = ["doctor", "--url", &url, "--secret", SECRET];
    let begun = std::time::Instant::now();
    let output = interrupted(&arguments, &[], || !slow.seen().is_empty());
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(6),
        "it waited for the answer"
    );
    failed(&output, "interrupted: ");
    failed(&output, "checks were made");
    assert!(
        text(&output.stdout).contains("secret"),
        "{}",
        text(&output.stdout)
    );
}
