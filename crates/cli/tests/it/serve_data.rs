//! The file of `--data`: everything that is no new file and no file of `serve` is an error, before anything is written.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use rusqlite::Connection;

use super::{failed, run, serve, sonotheia, succeeded, text};
use testkit::{SECRET, deepfake};

fn start(data: impl AsRef<OsStr>) -> Output {
    let mut command = sonotheia(&["serve", "--port", "0", "--data"]);
    command.arg(data).output().unwrap()
}

/// The files of a folder with their contents.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .map(|path| (path.clone(), fs::read(&path).unwrap_or_default()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_name_that_means_no_file_is_bad_usage() {
    let folder = tempfile::tempdir().unwrap();
    for (name, says) in [
        (":memory:", "leave out --data"),
        (":Memory:", "leave out --data"),
        ("file:events.db", "not a URI"),
        ("file::memory:?cache=shared", "not a URI"),
        ("FILE:///tmp/events.db", "not a URI"),
        ("", "--data"),
    ] {
        let mut command = sonotheia(&["serve", "--port", "0", "--data", name]);
        let output = command.current_dir(&folder).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(
            text(&output.stderr).contains(says),
            "{name}: {}",
            text(&output.stderr)
        );
        assert_eq!(text(&output.stdout), "");
    }
    let output = start(OsStr::from_bytes(b"events-\xff.db"));
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("not UTF-8"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(contents(folder.path()), []);
}

#[test]
fn a_place_that_cannot_hold_a_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let there = |name: &str| folder.path().join(name);
    failed(&start(folder.path()), "it is a folder");
    failed(&start("."), "it is a folder");
    failed(&start("/"), "it is a folder");
    failed(&start(there("missing/events.db")), "does not exist; create it");
    failed(&start("/dev/null"), "not a regular file");
    failed(
        &start("/proc/events.db"),
        "choose a file in a folder that you can write to",
    );
    let fifo = there("fifo");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    failed(&start(&fifo), "not a regular file");
    fs::remove_file(&fifo).unwrap();
    std::os::unix::fs::symlink(there("nothing"), there("link")).unwrap();
    failed(&start(there("link")), "a link to a file that does not exist");
    let odd = folder.path().join(OsStr::from_bytes(b"\xff"));
    fs::create_dir(&odd).unwrap();
    let mut command = sonotheia(&["serve", "--port", "0", "--data", "events.db"]);
    failed(&command.current_dir(&odd).output().unwrap(), "not UTF-8");
    assert_eq!(contents(&odd), []);
}

#[test]
fn a_file_of_another_program_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let there = |name: &str| folder.path().join(name);
    fs::write(there("text"), "no database").unwrap();
    fs::write(there("short"), "SQLite").unwrap();
    let application = |name: &str, sql: &str| {
        Connection::open(there(name)).unwrap().execute_batch(sql).unwrap();
    };
    application(
        "notes",
        "CREATE TABLE notes (body TEXT); INSERT INTO notes VALUES ('x')",
    );
    application("numbered", "PRAGMA application_id = 7; PRAGMA user_version = 1");
    application("view", "CREATE VIEW v AS SELECT 1");
    application(
        "similar",
        "CREATE TABLE _tables (a); CREATE TABLE _config (b); CREATE TABLE _stream_records (c)",
    );
    application("log", "PRAGMA journal_mode = WAL; CREATE TABLE notes (body TEXT)");
    let before = contents(folder.path());
    for (name, says) in [
        ("text", "not an SQLite database"),
        ("short", "not an SQLite database"),
        ("notes", "the database of another application"),
        ("numbered", "the database of another application"),
        ("view", "the database of another application"),
        ("similar", "the database of another application"),
        ("log", "the database of another application"),
    ] {
        failed(&start(there(name)), says);
        failed(&start(there(name)), "name a new file");
    }
    assert_eq!(contents(folder.path()), before);

    // The application still runs, and its table is in the write-ahead log only.
    let running = Connection::open(there("live")).unwrap();
    running
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE notes (body TEXT)")
        .unwrap();
    failed(&start(there("live")), "the database of another application");
    let tables: i64 = running
        .query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 1);
}

#[test]
fn one_serve_at_a_time_uses_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("events.db");
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&data, &link).unwrap();
    let mut first = serve(&["--data", data.to_str().unwrap()], Some(SECRET));
    first.deliver(&deepfake("event-1", "session", 0.5).to_string());
    // Records hold personal data.
    for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap()) {
        let mode = entry.metadata().unwrap().permissions().mode();
        assert!(
            mode & 0o077 == 0 || entry.path() == link,
            "{:?} {mode:o}",
            entry.path()
        );
    }
    for name in [&data, &link] {
        failed(&start(name), "another `serve` uses it");
    }
    assert_eq!(first.process.terminate(), Some(0));
    assert!(!folder.path().join("events.db.lock").exists());

    // A `serve` that was killed leaves its write-ahead log and its lock's file. The records are there.
    let mut second = serve(&["--data", data.to_str().unwrap()], Some(SECRET));
    second.deliver(&deepfake("event-2", "session", 0.5).to_string());
    second.process.0.kill().unwrap();
    second.process.0.wait().unwrap();
    let third = serve(&["--data", data.to_str().unwrap()], Some(SECRET));
    let shown = third.over_url(&["results"]);
    for id in ["event-1", "event-2"] {
        assert!(succeeded(&shown).contains(id), "{}", text(&shown.stdout));
    }
}

#[test]
fn unusual_names_of_files_work() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a b%20c?d#e.db", "./file:events.db", "é漢.db", "empty.db"] {
        if name == "empty.db" {
            fs::write(folder.path().join(name), "").unwrap();
        }
        for _ in 0..2 {
            let data = folder.path().join(name);
            let mut server = serve(&["--data", data.to_str().unwrap()], Some(SECRET));
            assert_eq!(server.process.terminate(), Some(0), "{name}");
            assert!(data.metadata().unwrap().len() > 0, "{name}");
        }
    }
}

#[test]
fn a_database_with_other_tables_of_dynamodb_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("events.db");
    let arguments = ["serve", "--port", "0", "--data", data.to_str().unwrap()];
    let mut server = serve(&arguments[3..], Some(SECRET));
    assert_eq!(server.process.terminate(), Some(0));
    let mut command = sonotheia(&arguments);
    let output = command.env("EVENTS_TABLE", "other").output().unwrap();
    failed(&output, "it has no table other, but sonotheia-events");
}

#[test]
fn a_port_in_use_is_an_error_with_its_remedy() {
    let server = serve(&[], Some(SECRET));
    let port = server.url.rsplit(':').next().unwrap();
    let output = run(&["serve", "--port", port], "");
    failed(&output, "the port is in use, perhaps by another `serve`");
    failed(&output, "--port");
    failed(
        &run(&["serve", "--port", "0", "--dynamodb-port", port], ""),
        "--dynamodb-port",
    );
    failed(
        &run(&["serve", "--port", "0", "--host", "203.0.113.9"], ""),
        "--host",
    );
    let with = |value: &str| sonotheia(&["serve"]).env("PORT", value).output().unwrap();
    failed(&with(port), "the port is in use");
    failed(&with("http"), "PORT is not the number of a port");
}
