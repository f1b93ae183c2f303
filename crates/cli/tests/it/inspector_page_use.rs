//! The inspector's page in a browser: keys, links, history, hostile text, and a table.

use std::time::{Duration, Instant};

use serde_json::json;
use sonotheia_webhook::event::types::known_types;

use super::inspector_browser::Browser;
use super::inspector_page::{ENTER, ROWS, close, event, in_browser};
use super::inspector_records::inspect;
use super::{Running, run, runtime, serve, sonotheia, succeeded};
use testkit::SECRET;

const TAB: &str = "\u{e004}";
const ESCAPE: &str = "\u{e00c}";

#[test]
fn keys_pause_clear_and_links_work() {
    in_browser(async |browser, server| {
        browser.press("button[data-what='all']", 8).await;
        let focus = "const li = document.activeElement.closest('li'); return li ? [...li.parentNode.children].indexOf(li) : null";
        browser.script("document.activeElement.blur()").await;
        for (key, at) in [("j", 0), ("j", 1), ("j", 2), ("k", 1)] {
            browser.keys(key).await;
            assert_eq!(browser.script(focus).await, json!(at), "{key}");
        }
        browser.keys(ENTER).await;
        browser.find("li:nth-child(2).open .columns").await;
        let link = browser.script("return location.hash").await;
        assert!(link.as_str().unwrap().starts_with("#evt_"), "{link}");
        browser.keys(ESCAPE).await;
        browser
            .until("return document.querySelectorAll('li.open').length", json!(0))
            .await;
        assert_eq!(browser.script("return location.hash").await, json!(""));
        browser.keys("/").await;
        assert_eq!(
            browser.script("return document.activeElement.id").await,
            json!("text")
        );
        browser.keys("sar.filed/j").await;
        browser.until(ROWS, json!(0)).await;
        browser.keys(ESCAPE).await;
        browser.until(ROWS, json!(8)).await;

        browser.click("#pause").await;
        server.deliver(&event("while-paused", "s"));
        browser
            .until(
                "return document.getElementById('pause').textContent",
                json!("Resume (1 new)"),
            )
            .await;
        assert_eq!(browser.script(ROWS).await, json!(8));
        browser.click("#pause").await;
        browser.newest_of(9).await;
        browser.click("#clear").await;
        browser.until(ROWS, json!(0)).await;
        server.deliver(&event("after-clear", "s"));
        browser.newest_of(1).await;

        // A link opens its row in a new page: a kept delivery, and any record.
        for link in ["#while-paused".to_owned(), link.as_str().unwrap().to_owned()] {
            browser.client.goto("about:blank").await.unwrap();
            browser.open(&format!("{}/{link}", server.url)).await;
            browser.find("li.open .columns").await;
            let text = browser.text("li.open .row").await;
            assert!(text.contains(&link[1..]), "{link} in {text}");
        }
        let duplicate = browser.press("button[data-what='duplicate']", 11).await;
        assert!(duplicate.contains("duplicate"));
        browser.open_row("duplicate").await;
        let address = browser.client.current_url().await.unwrap();
        assert!(address.fragment().unwrap().starts_with("delivery-"), "{address}");
        browser.client.goto("about:blank").await.unwrap();
        browser.open(address.as_str()).await;
        browser.find("li.open[data-outcome='duplicate'] .columns").await;
    });
}

#[test]
fn history_comes_from_the_table_after_a_restart_and_after_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("events.db");
    let data = ["--data", data.to_str().unwrap()];
    let mut server = serve(&data, Some(SECRET));
    let port = server.url.rsplit(':').next().unwrap().to_owned();
    runtime().block_on(async {
        let Some(browser) = Browser::start().await else {
            return;
        };
        browser.open(&server.url).await;
        browser.press("button[data-what='all']", 8).await;
        browser.press("button[data-what='forged']", 9).await;
        browser.client.refresh().await.unwrap();
        browser.newest_of(9).await;

        assert_eq!(server.process.terminate(), Some(0));
        let connection = "return document.getElementById('connection').className";
        browser.until(connection, json!("connection off")).await;
        let mut again = Running::start(
            sonotheia(&["serve", "--port", &port, data[0], data[1]]).env("SONOTHEIA_WEBHOOK_SECRET", SECRET),
        );
        again.output_to("curl http");
        browser.until(connection, json!("connection on")).await;
        // The table has the signed deliveries; the forged one is gone.
        browser.until(ROWS, json!(8)).await;
        assert_eq!(
            browser
                .script("return document.querySelectorAll('li.past').length")
                .await,
            json!(8)
        );
        browser.press("button[data-type='sar.filed']", 9).await;
        browser.click("li.past > .row").await;
        browser.find("li.open .columns").await;
        assert!(
            browser
                .text("li.open")
                .await
                .contains("The table keeps no headers")
        );
        browser.click("li.open .actions .strong").await;
        assert!(browser.newest_of(10).await.contains("duplicate"));
        browser.client.refresh().await.unwrap();
        browser.newest_of(10).await;
        close(browser.client.clone()).await;
        drop(again);
    });
}

#[test]
fn hostile_text_stays_text_and_a_large_body_stays_fast() {
    in_browser(async |browser, server| {
        let hostile =
            "<img src=x onerror=document.title=1><b>\u{202e}</script><script>document.title=2</script>";
        let body = json!({"id": hostile, "type": hostile, "data": {"session_id": hostile, hostile: hostile}});
        server.deliver(&body.to_string());
        let newest = browser.newest_of(1).await;
        assert!(
            newest.contains("<img src=x") && newest.contains("\\u{202e}"),
            "{newest}"
        );
        browser.open_row("accepted").await;
        assert_eq!(
            browser
                .script("return document.querySelectorAll('main img, main b, main script').length")
                .await,
            json!(0)
        );
        assert_eq!(browser.client.title().await.unwrap(), "Sonotheia webhooks");
        browser.client.refresh().await.unwrap();
        browser.find("li.open .columns").await;
        assert_eq!(browser.client.title().await.unwrap(), "Sonotheia webhooks");

        // Ids that a path or a fragment would change.
        for (n, id) in ["..", "a/../b?c=1&d#e%41", "delivery-1", "é 漢"]
            .iter()
            .enumerate()
        {
            server.deliver(&event(id, "s"));
            browser.newest_of(n + 2).await;
            browser.open_row("accepted").await;
            let address = browser.client.current_url().await.unwrap();
            browser.client.goto("about:blank").await.unwrap();
            browser.open(address.as_str()).await;
            browser.find("li.open .columns").await;
            assert!(
                browser.text("li.open .row").await.contains(id),
                "{id} at {address}"
            );
            let record = browser.client.execute_async(
                "const done = arguments[1]; fetch('/inspector/record?id=' + encodeURIComponent(arguments[0])).then((answer) => answer.json()).then((detail) => done(detail.row.event_id))",
                vec![json!(id)],
            );
            assert_eq!(record.await.unwrap(), json!(id));
        }

        for (n, body) in [
            "[".repeat(64 << 10),
            "[".repeat(100_000) + &"]".repeat(100_000),
            format!("[{}1]", "[],".repeat(80_000)),
            format!("[\"{}\"]", "\\n".repeat(100_000)),
        ]
        .iter()
        .enumerate()
        {
            server.deliver(body);
            browser.newest_of(n + 6).await;
            let begun = Instant::now();
            browser.open_row("rejected").await;
            let text = browser
                .script("return document.querySelector('li.open').textContent.length")
                .await;
            assert!(text.as_u64().unwrap() < 100_000, "{text}");
            assert!(begun.elapsed() < Duration::from_secs(20), "{n}");
        }
    });
}

#[test]
fn all_of_many_deliveries_are_counted_and_the_page_stays_small() {
    in_browser(async |browser, server| {
        let send = [
            "send",
            "sar.filed",
            "--url",
            &server.url,
            "--secret",
            SECRET,
            "--corrupt",
            "100",
            "--count",
            "2400",
            "--concurrency",
            "32",
        ];
        succeeded(&run(&send, ""));
        browser
            .until(
                "return document.getElementById('count-all').textContent",
                json!("2,400"),
            )
            .await;
        browser
            .until(
                "return document.getElementById('count-refused').textContent",
                json!("2,400"),
            )
            .await;
        assert_eq!(browser.script(ROWS).await, json!(200));
        browser.click("#more").await;
        browser.until(ROWS, json!(400)).await;
        browser.client.refresh().await.unwrap();
        browser
            .until(
                "return document.getElementById('count-refused').textContent",
                json!("2,400"),
            )
            .await;
    });
}

#[test]
fn keys_reach_every_control() {
    in_browser(async |browser, _| {
        let mut reached = Vec::new();
        for _ in 0..32 {
            browser.keys(TAB).await;
            let name = "const at = document.activeElement; return at.dataset.type || at.dataset.what || at.id || at.className";
            reached.push(browser.script(name).await.as_str().unwrap().to_owned());
        }
        assert_eq!(reached[0], "skip");
        let controls = [
            "pause",
            "clear",
            "text",
            "outcome",
            "type",
            "session",
            "envelope",
            "all",
            "conflict",
            "too_large",
        ];
        for wanted in known_types().chain(controls) {
            assert!(
                reached.iter().any(|name| name == wanted),
                "{wanted} in {reached:?}"
            );
        }
        browser
            .find("button[data-type='sar.filed']")
            .await
            .send_keys(ENTER)
            .await
            .unwrap();
        browser.newest_of(1).await;
        browser
            .find("#deliveries .row")
            .await
            .send_keys(ENTER)
            .await
            .unwrap();
        assert!(browser.find("li.open pre").await.is_displayed().await.unwrap());
    });
}

#[test]
fn over_a_table_the_page_is_read_only_and_shows_new_records() {
    let server = serve(&[], Some(SECRET));
    server.samples(&["sar.filed", "deepfake.completed"]);
    let (_inspect, url) = inspect(&server);
    runtime().block_on(async {
        let Some(browser) = Browser::start().await else {
            return;
        };
        browser.open(&url).await;
        browser.newest_of(2).await;
        assert!(!browser.find("#panel").await.is_displayed().await.unwrap());
        assert!(browser.text("#address").await.contains("read only"));
        server.deliver(&event("a-new-record", "s"));
        assert!(browser.newest_of(3).await.contains("a-new-record"));
        browser.open_row("accepted").await;
        let text = browser.text("li.open").await;
        assert!(!text.contains("Replay") && !text.contains("curl"), "{text}");
        // A link to a record works in a new page.
        let address = browser.client.current_url().await.unwrap();
        assert_eq!(address.fragment(), Some("a-new-record"));
        browser.client.goto("about:blank").await.unwrap();
        browser.open(address.as_str()).await;
        browser.find("li.open .columns").await;
        close(browser.client.clone()).await;
    });
}
