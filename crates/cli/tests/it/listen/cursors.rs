//! The cursor's file, and the place where a run begins.

use super::*;

#[test]
fn without_since_only_new_events_count() {
    let server = serve(&[], Some(SECRET));
    put(&server, [(event("old"), ago(300)), (event("recent"), ago(5))]);
    for place in [&server.table()[..], &["--url", &server.url]] {
        let application = Application::start(|_| 200);
        let folder = tempfile::tempdir().unwrap();
        let cursor = folder.path().join("cursor");
        let mut listener = listen(&arguments(&application.mock.url, &cursor, place));
        let begun = Instant::now();
        while !cursor.exists() {
            assert!(begun.elapsed() < Duration::from_secs(20), "no cursor");
            std::thread::sleep(Duration::from_millis(5));
        }
        let id = format!("new-{}", place.len());
        server.deliver(&event(&id));
        application.wait_for(1);
        assert_eq!(application.taken(), [id]);
        assert_eq!(listener.terminate(), Some(0));
    }
}

#[test]
fn a_cursor_that_is_not_this_commands_is_refused_and_stays_as_it_is() {
    let server = serve(&[], Some(SECRET));
    put(&server, [(event("a"), ago(10))]);
    let application = Application::start(|_| 200);
    let folder = tempfile::tempdir().unwrap();
    let cursor = folder.path().join("cursor");
    let place = server.table();
    let fixed = arguments(&application.mock.url, &cursor, &place);

    let first = [&fixed[..], &["--since", "1h"]].concat();
    let mut listener = listen(&first);
    application.wait_for(1);
    failed(&run(&first, ""), "another listener uses the cursor");
    assert_eq!(listener.terminate(), Some(0));

    let kept = std::fs::read(&cursor).unwrap();
    failed(
        &run(&[&fixed[..], &["--type", "sar.filed"]].concat(), ""),
        "belongs to the events of table sonotheia-events",
    );
    let elsewhere = arguments("127.0.0.1:9", &cursor, &place);
    failed(&run(&elsewhere, ""), "--cursor");
    for text in [&kept[..kept.len() / 2], b"", b"{}", b"[\"another program's\"]"] {
        std::fs::write(&cursor, text).unwrap();
        failed(&run(&first, ""), "is not a cursor");
        assert_eq!(std::fs::read(&cursor).unwrap(), text);
    }
    let later = String::from_utf8(kept)
        .unwrap()
        .replace("\"version\":1", "\"version\":2");
    std::fs::write(&cursor, later).unwrap();
    failed(&run(&first, ""), "version 2");
    failed(
        &run(&arguments(&application.mock.url, folder.path(), &place), ""),
        "cannot read the cursor",
    );
}

#[test]
fn a_cursor_without_a_name_is_in_the_users_state_folder() {
    let server = serve(&[], Some(SECRET));
    put(&server, [(event("a"), ago(10))]);
    let application = Application::start(|_| 200);
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let place = server.table();
    let fixed = [
        "listen",
        "--forward-to",
        &application.mock.url,
        "--since",
        "1h",
        "--interval",
        "1",
    ];
    let arguments = [&fixed[..], &place].concat();
    for _ in 0..2 {
        let mut command = sonotheia(&arguments);
        command
            .env("SONOTHEIA_WEBHOOK_SECRET", SECRET)
            .env("XDG_STATE_HOME", &state);
        let mut listener = Running(
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        application.wait_for(1);
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(listener.terminate(), Some(0));
    }
    assert_eq!(application.successes.load(Ordering::SeqCst), 1);
    let files: Vec<_> = std::fs::read_dir(state.join("sonotheia"))
        .unwrap()
        .map(|file| file.unwrap())
        .collect();
    let cursors: Vec<_> = files
        .iter()
        .filter(|file| file.path().extension().is_some_and(|kind| kind == "json"))
        .collect();
    assert_eq!(cursors.len(), 1, "{files:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(cursors[0].metadata().unwrap().permissions().mode() & 0o077, 0);
    }
}
