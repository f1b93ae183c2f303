//! The secret that `serve` makes: it stays beside the data, and `send` finds it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::{Server, failed, run, run_with, serve, succeeded, text};
use testkit::SECRET;

/// The line `Secret: …` of a server.
fn secret(server: &Server) -> Option<&str> {
    server
        .banner
        .lines()
        .find_map(|line| line.strip_prefix("Secret: "))
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_first_lines_are_the_address_and_the_secret_that_serve_made() {
    let server = serve(&[], None);
    let lines: Vec<_> = server.banner.lines().collect();
    assert!(
        lines[0].starts_with("Listening on http://127.0.0.1:"),
        "{lines:?}"
    );
    assert_eq!(lines[1].strip_prefix("Secret: ").unwrap().len(), 64, "{lines:?}");
    let given = serve(&[], Some(SECRET));
    assert!(given.banner.starts_with("Listening on http://"));
    assert_eq!(secret(&given), None);
    assert!(!given.banner.contains(SECRET), "{}", given.banner);
    // An empty variable counts as unset.
    assert!(secret(&serve(&[], Some(""))).is_some());
}

#[test]
fn a_restart_on_the_same_data_keeps_the_secret() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("events.db");
    let kept = folder.path().join("events.db.secret");
    let arguments = ["--data", data.to_str().unwrap()];
    let mut first = serve(&arguments, None);
    let made = secret(&first).unwrap().to_owned();
    assert_eq!(first.process.terminate(), Some(0));
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&kept).unwrap(), format!("{made}\n"));

    let mut second = serve(&arguments, None);
    assert_eq!(secret(&second), Some(made.as_str()));
    assert_eq!(second.process.terminate(), Some(0));
    // The environment wins, and the file stays as it is.
    let mut third = serve(&arguments, Some(SECRET));
    assert_eq!(secret(&third), None);
    succeeded(&run(
        &["send", "sar.filed", "--url", &third.url, "--secret", SECRET],
        "",
    ));
    assert_eq!(third.process.terminate(), Some(0));
    assert_eq!(fs::read_to_string(&kept).unwrap(), format!("{made}\n"));
    // A person may write a secret there, too.
    fs::write(&kept, "my own secret").unwrap();
    assert_eq!(secret(&serve(&arguments, None)), Some("my own secret"));
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let found = names(folder.path());
    assert!(
        found
            .iter()
            .all(|name| name.to_str().unwrap().starts_with("events.db")),
        "{found:?}"
    );
}

#[test]
fn with_a_secret_from_outside_no_file_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("events.db");
    let mut server = serve(&["--data", data.to_str().unwrap()], Some(SECRET));
    assert_eq!(server.process.terminate(), Some(0));
    assert!(data.exists());
    assert!(!folder.path().join("events.db.secret").exists());
}

#[test]
fn a_kept_secret_that_cannot_be_used_is_an_error_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("events.db");
    let kept = folder.path().join("events.db.secret");
    let start = || run(&["serve", "--port", "0", "--data", data.to_str().unwrap()], "");
    fs::write(&kept, "a secret\n").unwrap();
    for mode in [0o644, 0o640, 0o602, 0o660, 0o777] {
        chmod(&kept, mode);
        failed(&start(), "other users may have read the secret");
        failed(&start(), "chmod 600");
    }
    chmod(&kept, 0o600);
    for (contents, fault) in [
        (&b""[..], "is empty"),
        (b"\n", "is empty"),
        (b"  \r\n", "is empty"),
        (b"one\ntwo\n", "has more than one line"),
        (b"a\0b", "has more than one line"),
        (b"\xff\xfe", "is not UTF-8"),
        (&[b'x'; 5000], "is too long"),
    ] {
        fs::write(&kept, contents).unwrap();
        failed(&start(), fault);
        failed(&start(), "delete the file");
    }
    fs::remove_file(&kept).unwrap();
    fs::create_dir(&kept).unwrap();
    failed(&start(), "is not a file");
    // Nothing was written.
    assert!(!data.exists());
}

#[test]
fn send_needs_no_secret_for_a_serve_on_this_machine() {
    let mut server = serve(&[], None);
    let port = server.url.rsplit(':').next().unwrap().to_owned();
    for url in [
        server.url.clone(),
        format!("127.0.0.1:{port}/webhook"),
        format!("localhost:{port}"),
    ] {
        succeeded(&run(&["send", "sar.filed", "--url", &url], ""));
    }
    // The secret in the environment of `serve`, too.
    let given = serve(&["--host", "0.0.0.0"], Some(SECRET));
    succeeded(&run(&["send", "sar.filed", "--url", &given.url], ""));
    // A person who names another secret means it.
    let typed = run(
        &["send", "sar.filed", "--url", &server.url, "--secret", "another"],
        "",
    );
    assert!(text(&typed.stdout).contains("401"), "{}", text(&typed.stdout));
    let variable = [("SONOTHEIA_WEBHOOK_SECRET", "another")];
    let typed = run_with(&["send", "sar.filed", "--url", &server.url], &variable, "");
    assert!(text(&typed.stdout).contains("401"), "{}", text(&typed.stdout));
    // An empty variable counts as unset.
    let variable = [("SONOTHEIA_WEBHOOK_SECRET", "")];
    succeeded(&run_with(
        &["send", "sar.filed", "--url", &server.url],
        &variable,
        "",
    ));

    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sonotheia/serve-127.0.0.1:{port}.json"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let folder = file.parent().unwrap();
    assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(server.process.terminate(), Some(0));
    assert!(!file.exists());
    failed(
        &run(&["send", "--url", &server.url], ""),
        "you run no `serve` there",
    );
}

#[test]
fn the_file_of_a_serve_that_was_killed_misleads_nobody() {
    let mut killed = serve(&[], None);
    let port = killed.url.rsplit(':').next().unwrap().to_owned();
    killed.process.0.kill().unwrap();
    killed.process.0.wait().unwrap();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sonotheia/serve-127.0.0.1:{port}.json"));
    assert!(file.exists());
    failed(
        &run(&["send", "--url", &killed.url], ""),
        "you run no `serve` there",
    );
    // A new `serve` on the port replaces it.
    let mut again = super::Running::start(&mut super::sonotheia(&["serve", "--port", &port]));
    again.output_to("curl http");
    succeeded(&run(&["send", "sar.filed", "--url", &killed.url], ""));
}

#[test]
fn without_a_runtime_folder_the_cache_of_the_home_folder_has_the_file() {
    let home = tempfile::tempdir().unwrap();
    let with = |command: &mut Command| {
        command.env_remove("XDG_RUNTIME_DIR").env("HOME", home.path());
    };
    let mut command = super::sonotheia(&["serve", "--port", "0"]);
    with(&mut command);
    let mut process = super::Running::start(&mut command);
    let banner = process.output_to("curl http");
    let url = banner.lines().next().unwrap().trim_start_matches("Listening on ");
    let mut send = super::sonotheia(&["send", "sar.filed", "--url", url]);
    with(&mut send);
    succeeded(&send.output().unwrap());
    // A folder that others can read is not used: the printed command then has the secret.
    assert_eq!(process.terminate(), Some(0));
    chmod(&home.path().join(".cache/sonotheia"), 0o755);
    let mut process = super::Running::start(&mut command);
    let banner = process.output_to("curl http");
    assert!(banner.contains("/webhook --secret "), "{banner}");
}

#[test]
fn another_machines_receiver_needs_a_secret() {
    let output = run(&["send", "--url", "https://receiver.example"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("--secret"),
        "{}",
        text(&output.stderr)
    );
}
