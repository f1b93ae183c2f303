//! `completions` and `man`.

use std::process::Command;

use super::{run, succeeded, text};

const COMMANDS: &[&str] = &[
    "serve",
    "health",
    "send",
    "backends",
    "mock-api",
    "demo",
    "sign",
    "verify",
    "results",
    "event",
    "tail",
    "inspect",
    "listen",
    "redrive",
    "reconcile",
    "erase",
    "register",
    "doctor",
    "openapi",
    "schema",
    "completions",
    "man",
];

#[test]
fn every_shell_gets_a_script_that_knows_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell], "");
        let script = succeeded(&output);
        for command in COMMANDS {
            assert!(script.contains(command), "{command} for {shell}");
        }
    }
    // One of them can be asked here what it makes of it.
    let script = run(&["completions", "bash"], "");
    let ask = format!(
        "{}\nCOMP_WORDS=(sonotheia rec); COMP_CWORD=1; _sonotheia sonotheia rec sonotheia; echo \"${{COMPREPLY[@]}}\"",
        succeeded(&script)
    );
    let bash = Command::new("bash").args(["-c", &ask]).output().unwrap();
    assert_eq!(text(&bash.stdout).trim(), "reconcile", "{}", text(&bash.stderr));
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let page = run(&["man"], "");
    let page = succeeded(&page);
    assert!(page.contains(".TH sonotheia 1"), "{page}");
    for command in COMMANDS {
        let escaped = command.replace('-', "\\-");
        assert!(
            page.contains(&format!("sonotheia\\-{escaped}(1)")),
            "{command} in {page}"
        );
        let page = run(&["man", command], "");
        let page = succeeded(&page);
        assert!(page.contains(&format!(".TH sonotheia-{command} 1")), "{page}");
        assert!(page.contains(".SH OPTIONS"), "{page}");
    }
}

#[test]
fn help_names_every_command() {
    let help = run(&["--help"], "");
    for command in COMMANDS {
        assert!(
            succeeded(&help)
                .lines()
                .any(|line| line.trim().starts_with(command)),
            "{command}"
        );
    }
}
