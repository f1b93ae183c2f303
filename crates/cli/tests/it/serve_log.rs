//! The log of `serve`: a short line per delivery for a person, JSON for a program, and a summary at the end.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

use super::{Running, run, sonotheia, text};
use testkit::{SECRET, deepfake};

/// The deliveries of every test here.
fn deliver(url: &str) {
    let good = deepfake("evt\u{202e}", "sess_1", 0.95).to_string();
    let hostile =
        json!({"id": "evt_2", "type": "t\u{202e}", "data": {"session_id": "s\u{1b}]0;x\u{7}"}}).to_string();
    let other = deepfake("evt\u{202e}", "sess_1", 0.1).to_string();
    for body in [&good, &good, &hostile, &other] {
        run(&["send", "--url", url, "--secret", SECRET, "--file", "-"], body);
    }
    run(&["send", "--url", url, "--secret", "wrong", "--file", "-"], &good);
}

/// Starts `serve`, makes the deliveries and a read, ends it, and returns the rest of its standard output. `log` gets its
/// standard error.
fn serve_to(log: Stdio, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = sonotheia(&[&["serve", "--port", "0"], arguments].concat());
    command.env("SONOTHEIA_WEBHOOK_SECRET", SECRET);
    command.envs(environment.iter().copied());
    let mut process = Running(command.stdout(Stdio::piped()).stderr(log).spawn().unwrap());
    let banner = process.output_to("curl http");
    let url = banner.lines().next().unwrap().trim_start_matches("Listening on ");
    deliver(url);
    run(&["results", "--url", url], "");
    assert_eq!(process.terminate(), Some(0));
    let mut rest = String::new();
    process
        .0
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut rest)
        .unwrap();
    rest
}

/// The log in a file, and the rest of the standard output.
fn serve_to_file(arguments: &[&str]) -> (String, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let rest = serve_to(file.reopen().unwrap().into(), arguments, &[]);
    (std::fs::read_to_string(file.path()).unwrap(), rest)
}

#[test]
fn the_log_is_json_where_nobody_watches() {
    let (log, rest) = serve_to_file(&[]);
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let deliveries = lines.iter().filter(|line| line["message"] == "/webhook");
    let outcomes: Vec<_> = deliveries.map(|line| line["outcome"].as_str().unwrap()).collect();
    assert_eq!(
        outcomes,
        [
            "accepted",
            "duplicate",
            "accepted",
            "conflict",
            "invalid_signature"
        ]
    );
    assert_eq!(
        rest,
        "5 deliveries: 2 accepted, 1 duplicate, 1 conflict, 1 invalid_signature\n"
    );
}

#[test]
fn a_person_gets_one_short_line_per_delivery() {
    let (log, _) = serve_to_file(&["--log", "human"]);
    let lines: Vec<Vec<&str>> = log
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines.len(), 5, "{log}");
    assert!(
        lines[0][0].ends_with('Z') && lines[0][0].len() == "14:03:22.123Z".len(),
        "{log}"
    );
    let middle = |line: usize| lines[line][1..6].join(" ");
    assert_eq!(middle(0), "accepted deepfake.completed evt\\u{202e} sess_1 200");
    assert!(
        log.lines()
            .next()
            .unwrap()
            .ends_with(" ms  ALERT high_deepfake_score"),
        "{log}"
    );
    assert_eq!(middle(1), "duplicate deepfake.completed evt\\u{202e} sess_1 200");
    assert_eq!(middle(2), "accepted t\\u{202e} evt_2 s\\u{1b}]0;x\\u{7} 200");
    assert_eq!(middle(3), "conflict deepfake.completed evt\\u{202e} sess_1 409");
    assert_eq!(middle(4), "invalid_signature - - - 401");
    assert!(log.chars().all(|c| c == '\n' || !c.is_control()), "{log:?}");
}

/// The log on a terminal.
fn serve_to_terminal(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let other = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let mut terminal = File::from(terminal);
    let reader = std::thread::spawn(move || {
        let mut log = Vec::new();
        // The read fails when the last program has closed the terminal.
        let _ = terminal.read_to_end(&mut log);
        String::from_utf8(log).unwrap()
    });
    serve_to(other.into(), arguments, environment);
    reader.join().unwrap()
}

#[test]
fn a_terminal_gets_lines_for_a_person_in_colours() {
    let log = serve_to_terminal(&[], &[("TERM", "xterm")]);
    assert_eq!(log.lines().count(), 5, "{log:?}");
    assert!(log.contains("\u{1b}[32maccepted \u{1b}[0m"), "{log:?}");
    assert!(!log.contains("\u{202e}"), "{log:?}");
    for environment in [
        [("TERM", "xterm"), ("NO_COLOR", "1")],
        [("TERM", "dumb"), ("NO_COLOR", "")],
    ] {
        let log = serve_to_terminal(&[], &environment);
        assert!(log.contains("accepted") && !log.contains('\u{1b}'), "{log:?}");
    }
    let log = serve_to_terminal(&["--log", "json"], &[]);
    assert!(log.lines().all(|line| line.starts_with('{')), "{log:?}");
}

#[test]
fn the_summary_names_the_place_of_the_records() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("events.db");
    let rest = serve_to(Stdio::null(), &["--data", data.to_str().unwrap()], &[]);
    assert!(rest.starts_with("5 deliveries: "), "{rest}");
    assert!(
        rest.ends_with(&format!("; the records are in {}\n", data.display())),
        "{rest}"
    );
    let help = run(&["serve", "--log", "loud"], "");
    assert_eq!(help.status.code(), Some(2));
    assert!(
        text(&help.stderr).contains("human, json"),
        "{}",
        text(&help.stderr)
    );
}
