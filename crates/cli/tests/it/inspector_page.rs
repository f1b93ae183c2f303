//! The inspector's page in a browser.

use fantoccini::Client;
use serde_json::{Value, json};
use sonotheia_webhook::event::types::known_types;

use super::inspector_browser::Browser;
use super::{Server, run, runtime, serve};
use testkit::{SECRET, deepfake, sign};

pub const ENTER: &str = "\u{e007}";

pub const ROWS: &str = "return document.querySelectorAll('#deliveries > li').length";

/// Runs a test in a browser that has the page of a new `serve`.
pub fn in_browser(test: impl AsyncFnOnce(&Browser, &Server)) {
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

pub async fn close(client: Client) {
    client.close().await.unwrap();
}

pub fn event(id: &str, session: &str) -> String {
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
