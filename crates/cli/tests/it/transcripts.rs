//! The transcripts of `docs/cli.md`: this test runs each command that the page shows, and compares the form of its output.
//!
//! - Numbers, times and random ids may differ. The test replaces them in both texts before it compares.
//! - A value of an earlier output, such as an address, an id or a secret, means the value that the test's run has there.
//! - A line `…` stands for any number of lines.
//! - A transcript whose output has a line that begins with `error:` shows a command that fails. Other commands succeed.
//!
//! A new command needs a transcript. [`STILL_TO_COME`] lists the commands that have none yet.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::json;

use super::mock::{Mock, answer};
use super::{Running, run, sonotheia, succeeded, text};

const PAGE: &str = include_str!("../../../../docs/cli.md");

/// Commands without a transcript. A command leaves this list when it gets one.
const STILL_TO_COME: &[&str] = &[];

/// The words before a command on the page. The tests run under cargo, so the messages have the same words.
const PROGRAM: &str = "cargo sonotheia ";

/// The address of Sonotheia's API on the page, in place of which the test has a server.
const API: &str = "http://127.0.0.1:9100";

/// The default address of a receiver.
const RECEIVER: &str = "http://127.0.0.1:8080";

/// A command of the page with its output.
#[derive(Debug)]
struct Step {
    command: String,
    output: Vec<String>,
}

/// The steps of all transcripts, in the order of the page.
fn steps() -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_inside = false;
    for line in PAGE.lines() {
        match line {
            "```console" => is_inside = true,
            "```" => is_inside = false,
            _ if !is_inside => {}
            _ => match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step {
                    command: command.to_owned(),
                    output: Vec::new(),
                }),
                (None, Some(step)) => step.output.push(line.to_owned()),
                (None, None) => panic!("output without a command: {line}"),
            },
        }
    }
    steps
}

/// Returns true for a command that runs until somebody ends it.
fn is_endless(command: &str) -> bool {
    let words: Vec<&str> = command.split_whitespace().collect();
    let ends = words.contains(&"--help") || words.contains(&"|");
    let is_server = words
        .iter()
        .any(|word| ["serve", "backends", "inspect", "listen", "mock-api"].contains(word));
    !ends && (is_server || words.contains(&"--follow"))
}

/// The page's values and the values of this run.
#[derive(Default)]
struct Values(BTreeMap<String, String>);

impl Values {
    /// A command with this run's values.
    fn apply(&self, command: &str) -> String {
        let mut text = command.to_owned();
        // A longer value may begin with a shorter one.
        let mut known: Vec<_> = self.0.iter().collect();
        known.sort_by_key(|(page, _)| std::cmp::Reverse(page.len()));
        for (page, own) in known {
            text = text.replace(page.as_str(), own);
        }
        text
    }

    /// Learns the values of two lines of the same form.
    fn learn(&mut self, page: &str, own: &str) {
        let is_quote = |c: char| matches!(c, '"' | '\'' | ',' | ':' | ';');
        for (page, own) in page.split_whitespace().zip(own.split_whitespace()) {
            let (page, own) = (page.trim_matches(is_quote), own.trim_matches(is_quote));
            // Short words are numbers.
            if page != own && page.len() >= 8 {
                self.0.entry(page.to_owned()).or_insert_with(|| own.to_owned());
            }
        }
    }
}

/// The form of a line: `#` for a number, `@` for random hex digits, one blank for many.
fn form(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        let mut form = String::new();
        let mut rest = word;
        while let Some(first) = rest.chars().next() {
            let length = rest
                .find(|c: char| !c.is_ascii_alphanumeric())
                .unwrap_or(rest.len());
            let (part, behind) = rest.split_at(length.max(first.len_utf8()));
            form.push_str(&form_of_part(part));
            rest = behind;
        }
        // `12` in one run may be `12.5` in another.
        while form.contains("#.#") {
            form = form.replace("#.#", "#");
        }
        form
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The form of letters and digits, or of one other character.
fn form_of_part(part: &str) -> String {
    let is_hex = part.len() >= 12 && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if is_hex {
        return "@".to_owned();
    }
    let mut form = String::new();
    for c in part.chars() {
        if !c.is_ascii_digit() {
            form.push(c);
        } else if !form.ends_with('#') {
            form.push('#');
        }
    }
    form
}

/// Compares an output with the page's, and learns its values.
#[track_caller]
fn compare(step: &Step, output: &[String], values: &mut Values) {
    let differs = || {
        panic!(
            "`{}` is stale in docs/cli.md. Its output:\n{}",
            step.command,
            output.join("\n")
        )
    };
    let mut own = output.iter();
    let mut page = step.output.iter().peekable();
    while let Some(line) = page.next() {
        if line.trim() == "…" {
            let Some(after) = page.peek() else { return };
            let left = own.as_slice();
            let Some(at) = left.iter().position(|own| form(own) == form(after)) else {
                differs()
            };
            own = left[at..].iter();
            continue;
        }
        match own.next() {
            Some(own) if form(own) == form(line) => values.learn(line, own),
            _ => differs(),
        }
    }
    if own.next().is_some() {
        differs();
    }
}

/// A shell in which `cargo sonotheia` is the program under test.
fn shell(command: &str, folder: &Path, environment: &[(String, String)]) -> Command {
    let script = command.replace(PROGRAM, "\"$PROGRAM\" ");
    let mut shell = sonotheia(&[]);
    let mut with_environment = Command::new("bash");
    for (name, value) in shell.get_envs() {
        match value {
            Some(value) => with_environment.env(name, value),
            None => with_environment.env_remove(name),
        };
    }
    shell = with_environment;
    shell
        .args(["-c", &format!("set -o pipefail; exec 2>&1; {script}")])
        .env("PROGRAM", env!("CARGO_BIN_EXE_sonotheia"))
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    shell
}

/// Free ports for a server, since the page's ports may be in use.
fn with_free_ports(command: &str) -> String {
    let options = [
        ("serve", "--port 0 --dynamodb-port 0"),
        ("backends", "--dynamodb-port 0 --secrets-port 0"),
        ("inspect", "--port 0"),
        ("mock-api", "--port 0"),
    ];
    let mut command = command.to_owned();
    for (name, ports) in options {
        let called = format!("{PROGRAM}{name}");
        if command.starts_with(&called) {
            command = command.replacen(&called, &format!("{called} {ports}"), 1);
        }
    }
    command
}

/// The receiver of the test, for a command that reads the default address.
fn with_receiver(command: &str, values: &Values) -> String {
    let has_default = ["health", "send", "results", "event", "tail", "doctor"]
        .iter()
        .any(|name| command.starts_with(&format!("{PROGRAM}{name}")));
    let has_place = ["--url", "--table", "--help"]
        .iter()
        .any(|option| command.contains(option));
    match values.0.get(RECEIVER) {
        Some(url) if has_default && !has_place => format!("{command} --url {url}"),
        _ => command.to_owned(),
    }
}

#[test]
fn the_transcripts_of_the_page_are_what_the_commands_print() {
    let folder = tempfile::tempdir().unwrap();
    let event = json!({"id": "evt_missed", "type": "sar.filed", "data": {"case_id": "case_2"}});
    let api = Mock::start(move |seen| match seen.method.as_str() {
        "GET" => answer(200, json!({"events": [event], "next_cursor": null}).to_string()),
        _ => answer(201, json!({"id": "wh_1", "status": "active"}).to_string()),
    });
    let mut values = Values::default();
    values.0.insert(API.to_owned(), api.url.clone());
    let mut environment = vec![("SONOTHEIA_API_KEY".to_owned(), "key".to_owned())];
    let mut servers = Vec::new();
    for step in steps() {
        let command = with_receiver(&values.apply(&step.command), &values);
        if let Some((name, value)) = command
            .strip_prefix("export ")
            .and_then(|rest| rest.split_once('='))
        {
            environment.push((name.to_owned(), value.to_owned()));
            continue;
        }
        if is_endless(&command) {
            let command = format!("exec {}", with_free_ports(&command));
            let child = shell(&command, folder.path(), &environment).spawn().unwrap();
            // `exec` makes the server the child itself, so that the test can end it.
            let (server, output) = begin(child, step.output.len());
            servers.push(server);
            compare(&step, &output, &mut values);
            continue;
        }
        let output = shell(&command, folder.path(), &environment).output().unwrap();
        let lines: Vec<String> = text(&output.stdout).lines().map(String::from).collect();
        compare(&step, &lines, &mut values);
        let fails = step.output.iter().any(|line| line.starts_with("error:"));
        assert_eq!(output.status.success(), !fails, "{command}: {lines:?}");
    }
}

/// Reads the first lines of a command that goes on. A thread reads on, so that the command can always write.
fn begin(child: Child, lines: usize) -> (Running, Vec<String>) {
    let mut running = Running(child);
    let reader = BufReader::new(running.0.stdout.take().unwrap());
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        for line in reader.lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    let next = |_| receive.recv_timeout(Duration::from_secs(30)).ok();
    let output = (0..lines).map_while(next).collect();
    (running, output)
}

#[test]
fn each_command_has_a_transcript() {
    let shown: BTreeSet<String> = steps()
        .iter()
        .filter_map(|step| {
            step.command
                .split_once(PROGRAM)?
                .1
                .split_whitespace()
                .next()
                .map(String::from)
        })
        .collect();
    let help = run(&["--help"], "");
    let help = succeeded(&help);
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let (commands, _) = commands.split_once("\n\n").unwrap();
    for line in commands.lines() {
        let command = line.split_whitespace().next().unwrap();
        let is_awaited = STILL_TO_COME.contains(&command);
        assert!(
            is_awaited || command == "help" || shown.contains(command),
            "docs/cli.md has no transcript of `{command}`"
        );
        assert!(
            !(is_awaited && shown.contains(command)),
            "`{command}` has a transcript: remove it from STILL_TO_COME"
        );
    }
}

#[test]
fn a_form_leaves_out_numbers_times_and_random_ids() {
    for (page, own) in [
        ("8 sent in 0.27 s", "12 sent in 11 s"),
        ("evt_a718ba9a4c928e30_7  -", "evt_f8b3578994706f8f_12   -"),
        ("2026-11-25T12:07:39.814Z", "2027-01-02T03:04:05.678Z"),
        ("http://127.0.0.1:8080/webhook", "http://127.0.0.1:40123/webhook"),
    ] {
        assert_eq!(form(page), form(own));
    }
    for (page, own) in [
        ("8 sent", "8 lost"),
        ("evt_1  accepted", "evt_1  rejected"),
        ("a  -", "a"),
    ] {
        assert_ne!(form(page), form(own));
    }
}
