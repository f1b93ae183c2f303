//! The inspector's page in a browser.

use std::time::{Duration, Instant};

use fantoccini::Client;
use serde_json::{Value, json};
use sonotheia_webhook::event::types::known_types;

use super::inspector::inspect;
use super::inspector_browser::Browser;
use super::{Running, Server, run, runtime, serve, sonotheia, succeeded};
use testkit::{SECRET, deepfake, sign};

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";

const ROWS: &str = "return document.querySelectorAll('#deliveries > li').length";

/// Runs a test in a browser that has the page of a new `serve`.
fn in_browser(test: impl AsyncFnOnce(&Browser, &Server)) {
    let server = serve(&[], Some(SECRET));
    runtime().block_on(async {
        let Some(browser) = Browser::start().await else {
            return;
        };
        browser.open(&server.url).await;
        test(&browser, &server).await;
        close(browser.client.clone()).await;
    });
}

async fn close(client: Client) {
    client.close().await.unwrap();
}

fn event(id: &str, session: &str) -> String {
    deepfake(id, session, 0.5).to_string()
}

#[test]
fn every_button_sends_and_the_row_shows_what_became_of_it() {
    in_browser(async |browser, server| {
        assert!(browser.find("#empty").await.is_displayed().await.unwrap());
        browser.picture("empty").await;
        let mut count = 0;
        for event_type in known_types() {
            count += 1;
            let newest = browser
                .press(&format!("button[data-type='{event_type}']"), count)
                .await;
            assert!(
                newest.contains("accepted") && newest.contains(event_type),
                "{newest}"
            );
        }
        assert!(!browser.find("#empty").await.is_displayed().await.unwrap());
        let alerts =
            "return [...document.querySelectorAll('li.alert .note.alert')].map((note) => note.textContent)";
        let marked = ["sar submitted", "mfa not verified", "high deepfake score"];
        assert_eq!(browser.script(alerts).await, json!(marked));
        for (what, says) in [
            ("duplicate", "duplicate"),
            ("conflict", "conflict"),
            ("problems", "2 problems"),
            ("invalid", "is not an object"),
            ("too_old", "RETENTION_DAYS"),
            ("too_large", "too large"),
            ("forged", "another secret"),
            ("tampered", "another body"),
            ("unsigned", "no X-Sonotheia-Signature"),
        ] {
            count += 1;
            let newest = browser.press(&format!("button[data-what='{what}']"), count).await;
            assert!(newest.contains(says), "{what}: {newest}");
        }
        browser
            .script("document.getElementById('envelope').value = 'schema'")
            .await;
        count += known_types().count();
        browser.press("button[data-what='all']", count).await;
        let counts = "return ['all', 'accepted', 'duplicate', 'refused', 'alerts'].map((name) => document.getElementById('count-' + name).textContent)";
        browser.until(counts, json!(["25", "17", "1", "7", "6"])).await;
        // Deliveries from elsewhere appear as they come, with session, status and latency.
        server.deliver(&event("from-outside", "a-session"));
        let newest = browser.newest_of(count + 1).await;
        for part in ["from-outside", "a-session", "200", " ms"] {
            assert!(newest.contains(part), "{part} in {newest}");
        }
        let news = browser.find("#news").await.prop("textContent").await.unwrap();
        assert!(news.unwrap().contains("accepted"));
    });
}

#[test]
fn problems_headers_bytes_and_a_conflict_are_below_the_row() {
    in_browser(async |browser, server| {
        browser.press("button[data-what='problems']", 1).await;
        browser.open_row("accepted").await;
        let problems = browser.text("li.open .problems").await;
        assert!(problems.contains("data.score is not a number"), "{problems}");
        assert!(problems.contains("data.label is missing"), "{problems}");
        let headers = browser.text("li.open .headers").await;
        assert!(headers.contains("x-sonotheia-signature"), "{headers}");
        browser.click("li.open details summary").await;
        assert!(
            browser
                .text("li.open details pre")
                .await
                .contains("00000000  7b 22")
        );
        let colours = "return [...new Set([...document.querySelectorAll('li.open pre span')].map((span) => span.className))].sort()";
        assert_eq!(
            browser.script(colours).await,
            json!(["name", "number", "string", "word"])
        );

        browser.press("button[data-what='conflict']", 2).await;
        browser.open_row("conflict").await;
        let marked = "return [...document.querySelectorAll('li.open .comparison del, li.open .comparison ins')].map((line) => line.innerText.trim())";
        let marked = browser.script(marked).await.to_string();
        assert!(
            marked.contains("only first:") && marked.contains("0.07"),
            "{marked}"
        );
        // One row is open at a time.
        assert_eq!(
            browser
                .script("return document.querySelectorAll('li.open').length")
                .await,
            1
        );
        browser.picture("conflict").await;

        let body = event("e", "s");
        let forged = sign(&body, "another secret");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &body).unwrap();
        let arguments = [
            "send",
            "--url",
            &server.url,
            "--secret",
            "another secret",
            "--file",
            file.path().to_str().unwrap(),
        ];
        run(&arguments, "");
        browser.newest_of(3).await;
        browser.open_row("invalid signature").await;
        let page = browser.text("body").await;
        assert!(page.contains(&forged) && !page.contains(SECRET), "{page}");
        assert!(!page.contains(&sign(&body, SECRET)), "{page}");
    });
}

#[test]
fn a_delivery_is_replayed_and_copied() {
    in_browser(async |browser, server| {
        let permissions =
            json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": server.url});
        browser.devtools("Browser.grantPermissions", permissions);
        let body = event("it's $(id)", "s");
        server.deliver(&body);
        browser.newest_of(1).await;
        browser.open_row("accepted").await;
        browser.click("li.open .actions button:nth-of-type(2)").await;
        browser
            .until(
                "return document.querySelector('li.open .actions button:nth-of-type(2)').textContent",
                json!("Copied"),
            )
            .await;
        let curl = browser.clipboard().await;
        assert!(
            curl.starts_with(&format!("curl -i '{}/webhook'", server.url)),
            "{curl}"
        );
        assert!(
            curl.contains(&format!("x-sonotheia-signature: {}", sign(&body, SECRET))),
            "{curl}"
        );
        assert!(curl.contains(r"it'\''s $(id)"), "{curl}");
        browser.click("li.open button[aria-label='Copy the body']").await;
        browser
            .until(
                "return document.querySelector(\"li.open button[aria-label='Copy the body']\").textContent",
                json!("Copied"),
            )
            .await;
        assert_eq!(browser.clipboard().await, body);
        browser.click("li.open .actions .strong").await;
        let newest = browser.newest_of(2).await;
        assert!(newest.contains("duplicate"), "{newest}");
    });
}

#[test]
fn filters_and_search_leave_the_rows_that_a_person_wants() {
    in_browser(async |browser, server| {
        browser.press("button[data-what='all']", 8).await;
        browser.press("button[data-what='forged']", 9).await;
        server.deliver(&event("needle", "session-seven"));
        browser.newest_of(10).await;
        let choose = async |id: &str, value: &str| {
            let script = format!(
                "const field = document.getElementById('{id}'); field.value = '{value}'; field.dispatchEvent(new Event('input', {{ bubbles: true }}))"
            );
            browser.script(&script).await;
        };
        for (id, value, left) in [
            ("outcome", "invalid signature", 1),
            ("type", "sar.filed", 1),
            ("type", "deepfake.completed", 2),
            ("session", "session-seven", 1),
            ("text", "NEEDLE", 1),
            // This text is in the body only.
            ("text", "filing_reference", 1),
            ("text", "another secret", 1),
            ("text", "nothing has this", 0),
        ] {
            choose(id, value).await;
            browser.until(ROWS, json!(left)).await;
            if left == 0 {
                assert!(browser.text("#empty").await.contains("passes the filter"));
            }
            browser.click("#reset").await;
            browser.until(ROWS, json!(10)).await;
        }
        // A new delivery has to pass the filter, too.
        choose("type", "sar.filed").await;
        browser.press("button[data-type='sar.filed']", 2).await;
        server.deliver(&event("other", "s"));
        browser.click("#reset").await;
        browser.until(ROWS, json!(12)).await;
        browser.open_row("accepted").await;
        browser
            .click("li.open button[aria-label='Show only this session']")
            .await;
        browser
            .until(
                "return document.querySelector('#session').value !== ''",
                json!(true),
            )
            .await;
    });
}

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
fn columns_line_up_ids_do_not_wrap_and_a_phone_shows_deliveries_first() {
    in_browser(async |browser, server| {
        browser.press("button[data-what='all']", 8).await;
        browser.press("button[data-what='forged']", 9).await;
        browser.press("button[data-what='invalid']", 10).await;
        server.deliver(&event(
            &"a-very-long-id-".repeat(16),
            &"a-very-long-session-".repeat(30),
        ));
        browser.newest_of(11).await;
        let sides = "return [...document.querySelectorAll('.sheet .row')].map((row) => [...row.children].map((cell) => [cell.getBoundingClientRect().left, cell.getBoundingClientRect().right].join()).join())";
        let sides = browser.script(sides).await;
        let sides: Vec<_> = sides.as_array().unwrap().iter().map(Value::to_string).collect();
        assert!(
            sides.len() == 12 && sides.iter().all(|row| row == &sides[0]),
            "{sides:#?}"
        );
        let heights = "return [...new Set([...document.querySelectorAll('button.row')].map((row) => Math.round(row.getBoundingClientRect().height)))].length";
        assert_eq!(browser.script(heights).await, json!(1));
        for scheme in ["light", "dark"] {
            let feature = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
            browser.devtools("Emulation.setEmulatedMedia", feature);
            let ground = browser
                .script("return getComputedStyle(document.body).backgroundColor")
                .await;
            assert_eq!(
                ground,
                if scheme == "light" {
                    "rgb(246, 247, 249)"
                } else {
                    "rgb(15, 19, 25)"
                }
            );
            browser.picture(scheme).await;
        }
        browser.open_row("rejected").await;
        for width in [390, 320] {
            let phone = json!({"width": width, "height": 1200, "deviceScaleFactor": 1, "mobile": true});
            browser.devtools("Emulation.setDeviceMetricsOverride", phone);
            let wide = browser
                .script("return document.documentElement.scrollWidth")
                .await;
            assert_eq!(wide, width, "the page is wider than the screen");
            let first = "const top = (css) => document.querySelector(css).getBoundingClientRect().top; return top('#deliveries li') < top('#panel') && top('#deliveries li') + scrollY < 480";
            assert_eq!(browser.script(first).await, json!(true));
            browser.picture(&format!("phone-{width}")).await;
        }
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
