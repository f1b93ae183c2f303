//! Addresses as a person types them.

use super::{document, run, serve, succeeded, text};
use testkit::SECRET;

/// The commands that take the address of a receiver.
const COMMANDS: [&[&str]; 5] = [
    &["send", "sar.filed", "--secret", "s"],
    &["results"],
    &["event", "e"],
    &["tail", "--follow"],
    &["doctor", "--secret", "s"],
];

#[test]
fn an_address_that_nobody_can_mean_is_bad_usage_and_says_the_form() {
    for (url, says) in [
        ("http://127.0.0.1:8O80", "the port \"8O80\" is not a number"),
        (
            "http://127.0.0.1:8O80/webhook",
            "the port \"8O80\" is not a number",
        ),
        ("127.0.0.1:8o80", "the port"),
        ("http://127.0.0.1:", "the port"),
        ("http://127.0.0.1:65536", "the port"),
        ("ftp://127.0.0.1/webhook", "ftp://"),
        ("http://127.0.0.1/webhok", "/webhok is not the receiver's"),
        ("http://127.0.0.1:8080/results", "/results is not the receiver's"),
        ("http://user:pass@127.0.0.1/webhook", "user's name"),
        ("http://127.0.0.1/webhook?a=b", "query"),
        ("http://127.0.0.1/webhook#a", "fragment"),
        ("http://127.0.0.1/webhook ", "blank"),
        ("http:// 127.0.0.1", "blank"),
        ("", "not an address"),
        ("http://", "not an address"),
    ] {
        for command in COMMANDS {
            let output = run(&[command, &["--url", url]].concat(), "");
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{command:?} {url}: {said}");
            assert!(said.contains(says), "{command:?} {url}: {said}");
            assert_eq!(text(&output.stdout), "");
        }
    }
    let api = [
        "register",
        "https://receiver.example/webhook",
        "--secret",
        "s",
        "--apply",
        "--base-url",
    ];
    for url in [
        "https://api.example:44E",
        "http://127.0.0.1:8O80",
        "https://k@api.example",
    ] {
        let output = run(&[&api[..], &[url]].concat(), "");
        assert_eq!(output.status.code(), Some(2), "{url}: {}", text(&output.stderr));
    }
}

#[test]
fn one_address_sends_and_reads_in_all_its_spellings() {
    let server = serve(&[], Some(SECRET));
    let port = server.url.rsplit(':').next().unwrap();
    let mut sent = 0;
    for host in [
        "http://127.0.0.1",
        "127.0.0.1",
        "localhost",
        "HTTP://LOCALHOST",
        "http://127.1",
    ] {
        for end in ["", "/", "/webhook", "/webhook/"] {
            let url = format!("{host}:{port}{end}");
            succeeded(&run(
                &["send", "sar.filed", "--url", &url, "--secret", SECRET],
                "",
            ));
            sent += 1;
            let read = document(&run(&["results", "--all", "--json", "--url", &url], ""));
            assert_eq!(read["count"], sent, "{url}");
        }
    }
}
