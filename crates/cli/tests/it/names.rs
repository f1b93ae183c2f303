//! The program's name in help and messages, and names that a person types wrongly.

use std::process::Command;

use super::{run, serve, succeeded, text};
use testkit::SECRET;

/// Runs the program without cargo's variables, as a person does that installed it.
fn installed(name: &str, arguments: &[&str]) -> std::process::Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sonotheia"), &file).unwrap();
    Command::new(&file).args(arguments).env_clear().output().unwrap()
}

#[test]
fn help_and_messages_name_the_program_as_it_was_called() {
    for arguments in [
        &["--help"][..],
        &["send", "--help"],
        &["help", "doctor"],
        &["serv"],
        &["send", "--secret", "s", "--url", "http://127.0.0.1:9"],
        &["results", "--url", "http://127.0.0.1:9"],
        &["doctor", "--url", "http://127.0.0.1:9"],
        &["man", "nothing"],
    ] {
        for (output, name) in [
            (installed("sonotheia", arguments), "sonotheia"),
            (installed("snth", arguments), "snth"),
            // These tests run under cargo.
            (run(arguments, ""), "cargo sonotheia"),
        ] {
            let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
            let all = said.matches("sonotheia ").count() + said.matches("snth ").count();
            let own = said.matches(&format!("{name} ")).count();
            assert!(own > 0, "{name} {arguments:?}: {said}");
            let is_alias = said.contains("cargo ");
            assert_eq!(
                is_alias,
                name.starts_with("cargo"),
                "{name} {arguments:?}: {said}"
            );
            assert!(name != "snth" || all == own, "{name} {arguments:?}: {said}");
        }
    }
}

#[test]
fn an_unknown_type_lists_the_known_types_the_nearest_first() {
    let webhook = "https://receiver.example/webhook";
    for arguments in [
        &["send", "deepfake.complete", "--secret", "s"][..],
        &[
            "register",
            webhook,
            "--secret",
            "s",
            "--events",
            "sar.filed,deepfake.complete",
        ],
    ] {
        let output = run(arguments, "");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("nearest first: deepfake.completed, deepfake.failed"),
            "{said}"
        );
        assert!(said.contains("system.health_check"), "{said}");
    }
    // Records can have types that the receiver does not know, so that a filter is no error.
    let server = serve(&[], Some(SECRET));
    server.deliver(r#"{"id":"e","type":"made.up","data":{}}"#);
    for (command, event_type, count) in [
        ("results", "made.up", 2),
        ("tail", "made.up", 2),
        ("results", "sar.fild", 1),
    ] {
        let output = server.over_url(&[command, "--type", event_type]);
        assert_eq!(
            succeeded(&output).lines().count(),
            count,
            "{command} {event_type}"
        );
        let said = text(&output.stderr);
        assert!(
            said.contains("not a known event type") && said.contains("sar.filed"),
            "{said}"
        );
    }
    let known = server.over_url(&["results", "--type", "sar.filed"]);
    assert_eq!(text(&known.stderr), "");
}
