//! The code and the commands in `docs/guide.md`, run as a reader would run them.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{run, serve, sonotheia, succeeded, text};
use testkit::{SECRET, sign};

const GUIDE: &str = include_str!("../../../../docs/guide.md");

mod rust {
    include!("guide/verify.rs");

    pub fn check(body: &[u8], signature: &str, secret: &str) -> bool {
        verify(body, signature, secret)
    }
}

/// The code blocks of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("\n```{language}\n");
    let parts = GUIDE.split(fence.as_str()).skip(1);
    parts.map(|part| part.split("\n```").next().unwrap()).collect()
}

const BODY: &str = r#"{"id":"guide-1","note":"é 😀"}"#;

/// Signatures, and whether they are right for `BODY`.
fn signatures() -> Vec<(String, bool)> {
    let right = sign(BODY, SECRET);
    let mut wrong = right.clone().into_bytes();
    wrong[0] = if wrong[0] == b'0' { b'1' } else { b'0' };
    vec![
        (right.clone(), true),
        (right.to_uppercase(), true),
        (format!("sha256={right}"), true),
        (format!(" {right} "), true),
        (String::from_utf8(wrong).unwrap(), false),
        (right[..62].to_owned(), false),
        (format!("{right}00"), false),
        (String::new(), false),
        ("test_signature".into(), false),
        ("é".into(), false),
        (sign(BODY, "another secret"), false),
    ]
}

/// Runs a program with the body, a signature and the secret as its arguments. It prints `true` or `false`.
fn answer(program: &str, code: &str, signature: &str) -> String {
    let output = Command::new(program)
        .args(["-c", code])
        .args([BODY, signature, SECRET])
        .output()
        .unwrap_or_else(|error| {
            panic!("{program} runs the code of docs/guide.md, and does not start: {error}")
        });
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim().to_lowercase()
}

#[test]
fn the_code_of_the_guide_verifies_signatures_in_python() {
    let [code] = blocks("python")[..] else {
        panic!("one block of Python")
    };
    let code = format!("{code}\nimport sys\nprint(verify(sys.argv[1].encode(), sys.argv[2], sys.argv[3]))");
    for (signature, is_right) in signatures() {
        assert_eq!(
            answer("python3", &code, &signature),
            is_right.to_string(),
            "{signature}"
        );
    }
}

#[test]
fn the_code_of_the_guide_verifies_signatures_in_node() {
    let [code] = blocks("javascript")[..] else {
        panic!("one block of JavaScript")
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("verify.cjs");
    let main = "const [body, signature, secret] = process.argv.slice(2);\nconsole.log(verify(Buffer.from(body), signature, secret));";
    std::fs::write(&file, format!("{code}\n{main}")).unwrap();
    for (signature, is_right) in signatures() {
        let output = Command::new("node")
            .arg(&file)
            .args([BODY, &signature, SECRET])
            .output();
        let output = output.expect("node runs the code of docs/guide.md");
        assert_eq!(
            text(&output.stdout).trim(),
            is_right.to_string(),
            "{signature}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn the_code_of_the_guide_verifies_signatures_in_rust() {
    let [code] = blocks("rust")[..] else {
        panic!("one block of Rust")
    };
    assert_eq!(code.trim(), include_str!("guide/verify.rs").trim());
    for (signature, is_right) in signatures() {
        assert_eq!(
            rust::check(BODY.as_bytes(), &signature, SECRET),
            is_right,
            "{signature}"
        );
    }
}

#[test]
fn the_commands_of_the_guide_sign_a_delivery_that_is_accepted() {
    let [commands] = blocks("bash")[..] else {
        panic!("one block of commands")
    };
    let server = serve(&[], Some(SECRET));
    let url = format!("{}/webhook", server.url.trim_end_matches("/results"));
    let shell = Command::new("bash")
        .args(["-euc", commands])
        .env("SONOTHEIA_WEBHOOK_SECRET", SECRET)
        .env("WEBHOOK_URL", &url)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(
        text(&shell.stdout),
        r#"{"received":true,"duplicate":false,"event_id":"guide-1"}"#,
        "{}",
        text(&shell.stderr)
    );
}

#[test]
fn every_command_that_the_documents_name_exists() {
    let help = run(&["--help"], "");
    let help = succeeded(&help);
    let known: HashSet<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .collect();
    for (name, document) in [
        ("guide.md", GUIDE),
        ("operations.md", include_str!("../../../../docs/operations.md")),
        (
            "troubleshooting.md",
            include_str!("../../../../docs/troubleshooting.md"),
        ),
        ("README.md", include_str!("../../../../README.md")),
    ] {
        for named in document.split("cargo sonotheia ").skip(1) {
            let command = named
                .split(|c: char| !c.is_ascii_lowercase() && c != '-')
                .next()
                .unwrap();
            // `cargo sonotheia` at the end of a sentence names no command.
            if command.is_empty() {
                continue;
            }
            assert!(
                known.contains(command),
                "{name} names `{command}`, which does not exist"
            );
            let options = named
                .split(['`', '\n', '#', '|'])
                .next()
                .unwrap()
                .split_whitespace();
            let usage = run(&[command, "--help"], "");
            let usage = succeeded(&usage);
            for option in options.filter(|word| word.starts_with("--")) {
                let option = option.split('=').next().unwrap();
                assert!(usage.contains(option), "{name}: `{command}` has no {option}");
            }
        }
    }
    assert!(sonotheia(&["no-such-command"]).output().unwrap().status.code() == Some(2));
}

/// Each message of docs/troubleshooting.md, in the words of the program or of the script that prints it.
#[test]
fn each_message_of_the_troubleshooting_page_is_in_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut sources = String::new();
    let mut folders = vec![root.join("crates/cli/src"), root.join("infra")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                sources += &text;
            }
        }
    }
    let page = std::fs::read_to_string(root.join("docs/troubleshooting.md")).unwrap();
    let (_, table) = page.split_once("## A command says").unwrap();
    let messages: Vec<_> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(message, _)| message)
        .collect();
    assert!(messages.len() > 5, "{messages:?}");
    for message in messages {
        // `…` stands for a value, and `: ` joins two messages or a script's name and its message. A number is a value, too.
        let is_value = |c: char| matches!(c, '…' | ':') || c.is_ascii_digit();
        for part in message
            .split(is_value)
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            assert!(sources.contains(part), "{part:?} of {message:?} is in no source");
        }
    }
}
