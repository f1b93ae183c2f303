//! A delivery as a command for a shell.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::delivery::Headers;

/// The longest body in the text of a command. The system limits one argument to 128 KB.
const MAX_PLAIN: usize = 100 << 10;

/// The headers that a command leaves out: curl sets them, or they hold credentials.
const LEFT_OUT: [&str; 9] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "host",
    "proxy-authorization",
    "transfer-encoding",
];

/// The command that sends these bytes again. `hidden` finds values that the command must not have.
///
/// A person pastes the command into a terminal, and the sender chose the bytes: so it has no control characters, and
/// everything that a shell would act upon is quoted.
pub fn command(url: &str, headers: &Headers, body: &[u8], hidden: impl Fn(&str) -> bool) -> String {
    let mut options = String::new();
    let mut has_type = false;
    for (name, value) in &headers.kept {
        let Ok(value) = value.to_str() else { continue };
        let name = name.as_str();
        if LEFT_OUT.contains(&name) || hidden(value) || value.contains('\t') {
            continue;
        }
        has_type |= name == "content-type";
        // curl leaves out a header without a value, unless a semicolon ends its name.
        let header = if value.is_empty() {
            format!("{name};")
        } else {
            format!("{name}: {value}")
        };
        options.push_str(&format!(" \\\n  -H {}", quoted(&header)));
    }
    if !has_type {
        // Without this, curl would add a type of its own.
        options.push_str(" \\\n  -H 'content-type:'");
    }
    let url = quoted(url);
    match std::str::from_utf8(body) {
        Ok(text) if body.len() <= MAX_PLAIN && is_plain(text) => {
            format!("curl -i {url}{options} \\\n  --data-raw {}", quoted(text))
        }
        // `printf` is a part of the shell, so no limit of an argument applies.
        _ => format!(
            "printf %s {} | base64 -d |\ncurl -i {url}{options} \\\n  --data-binary @-",
            quoted(&STANDARD.encode(body))
        ),
    }
}

/// Returns true if a terminal shows the text as it is.
fn is_plain(text: &str) -> bool {
    text.split('\n').all(|line| crate::show::clean(line) == line)
}

/// An argument that a POSIX shell takes as it is.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use axum::http::HeaderMap;

    use super::*;

    /// Runs a command in a shell in which curl only prints its arguments and its input.
    fn run(command: &str) -> Vec<u8> {
        let curl =
            "curl() { for a in \"$@\"; do printf '<%s>' \"$a\"; done; case \"$*\" in *@-*) cat;; esac; }\n";
        let script = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(script.path(), format!("{curl}{command}")).expect("a file");
        let output = Command::new("sh").arg(script.path()).output().expect("a shell");
        assert!(output.status.success(), "{command}");
        output.stdout
    }

    #[test]
    fn a_shell_sends_the_bytes_and_the_headers_and_runs_nothing() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-sonotheia-signature", "sha256=ab"),
            ("content-type", "application/json"),
            ("x-trick", "'; touch /tmp/x; '$(id)`id`\"!!"),
            ("x-empty", ""),
            ("host", "127.0.0.1"),
            ("authorization", "Bearer t"),
            ("x-secret", "the secret"),
        ] {
            headers.insert(name, value.parse().expect("a value"));
        }
        let headers = Headers::of(&headers);
        let of = |body: &[u8]| {
            command("http://127.0.0.1:1/webhook", &headers, body, |value| {
                value.contains("the secret")
            })
        };
        let text = "{\"a\":\"it's $(id) `id` \\n !!\"}\n";
        let ran = String::from_utf8(run(&of(text.as_bytes()))).expect("UTF-8");
        assert!(ran.contains("<x-sonotheia-signature: sha256=ab>"), "{ran}");
        assert!(
            ran.contains("<x-trick: '; touch /tmp/x; '$(id)`id`\"!!>"),
            "{ran}"
        );
        assert!(ran.contains("<x-empty;>"), "{ran}");
        assert!(ran.ends_with(&format!("<--data-raw><{text}>")), "{ran}");
        assert!(
            !ran.contains("host:") && !ran.contains("Bearer") && !ran.contains("the secret"),
            "{ran}"
        );

        for body in [
            &b"\x00\xff\x1b[2J"[..],
            "\u{202e}".as_bytes(),
            &[b'x'; 300_000],
            b"",
        ] {
            let command = of(body);
            assert_eq!(
                crate::show::clean(&command.replace('\n', " ")),
                command.replace('\n', " ")
            );
            let ran = run(&command);
            assert!(body.is_empty() || ran.ends_with(body));
        }
    }
}
