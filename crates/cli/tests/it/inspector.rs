//! The inspector: over HTTP, and in headless Chromium, which `chromedriver` drives.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use sonotheia_webhook::event::types::known_types;

use super::{Running, Server, runtime, serve, sonotheia};
use testkit::{Receiver, SECRET, deepfake};

fn request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, axum::http::HeaderMap, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let mut request = axum::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = agent.run(request.body(body.to_owned()).unwrap()).unwrap();
    let body = response.body_mut().read_to_string().unwrap();
    (response.status().as_u16(), response.headers().clone(), body)
}

/// The deliveries that the page is told of at once.
fn deliveries(server: &Server, count: usize) -> Vec<Value> {
    let response = ureq::get(format!("{}/inspector/deliveries", server.url))
        .call()
        .unwrap();
    let lines = BufReader::new(response.into_body().into_reader()).lines();
    lines
        .filter_map(|line| {
            line.unwrap()
                .strip_prefix("data: {")
                .map(|data| format!("{{{data}"))
        })
        .map(|data| serde_json::from_str(&data).unwrap())
        .take(count)
        .collect()
}

#[tokio::test]
async fn on_lambda_there_is_no_page() {
    let receiver = Receiver::start().await;
    for path in ["/", "/inspector/page.js", "/inspector/deliveries"] {
        receiver.get(path).await.expect(404, "not_found");
    }
}

#[test]
fn the_page_is_for_this_machine_and_its_buttons_for_the_page() {
    let server = serve(&[], Some(SECRET));
    let page = format!("{}/", server.url);
    let (status, headers, text) = request("GET", &page, &[], "");
    assert_eq!(status, 200);
    assert!(text.contains("<title>Sonotheia webhooks</title>"));
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(request("GET", &page, &[("host", "evil.example")], "").0, 403);

    let send = format!("{}/inspector/send", server.url);
    let forged = r#"{"what":"forged"}"#;
    let json = ("content-type", "application/json");
    for headers in [
        &[("content-type", "text/plain")][..],
        &[json, ("origin", "http://evil.example")],
        &[json, ("sec-fetch-site", "cross-site")],
        &[json, ("host", "evil.example")],
    ] {
        assert_eq!(request("POST", &send, headers, forged).0, 403, "{headers:?}");
    }
    assert_eq!(
        request(
            "POST",
            &send,
            &[json],
            r#"{"what":"sample","type":"no","envelope":"guide"}"#
        )
        .0,
        400
    );
    let origin = ("origin", server.url.as_str());
    assert_eq!(request("POST", &send, &[json, origin], forged).0, 204);
    assert_eq!(deliveries(&server, 1)[0]["outcome"], "refused");
    // All else is the receiver's.
    for (method, path) in [("POST", "/"), ("GET", "/nothing"), ("GET", "/inspector")] {
        let (status, headers, body) = request(method, &format!("{}{path}", server.url), &[], "");
        assert_eq!(
            (status, &headers["content-type"]),
            (404, &"application/json".parse().unwrap()),
            "{body}"
        );
    }
}

#[test]
fn what_was_delivered_is_told_with_the_reason_of_a_refusal() {
    let server = serve(&["--previous-secret", "the old one"], Some(SECRET));
    let one = deepfake("one", "session", 0.95).to_string();
    server.deliver(&one);
    server.deliver(&deepfake("one", "session", 0.10).to_string());
    server.deliver("[]");
    let body = deepfake("two", "session", 0.5).to_string();
    let webhook = format!("{}/webhook", server.url);
    let post = |signature: &str, body: &str| {
        request("POST", &webhook, &[("x-sonotheia-signature", signature)], body)
    };
    let sign = testkit::sign;
    let old = post(&sign(&body, "the old one"), &body);
    let other = post(&format!("sha256={}", sign(&one, SECRET)), &body);
    // The sender learns nothing of it: the answers differ in nothing but their ids.
    let told = |answer: &str| {
        let mut answer: Value = serde_json::from_str(answer).unwrap();
        answer["request_id"] = Value::Null;
        answer
    };
    assert_eq!((old.0, told(&old.2)), (401, told(&other.2)));
    post("test_signature", &body);
    post(&sign(&body, SECRET), &"x".repeat(300_000));

    let deliveries = deliveries(&server, 7);
    let field =
        |name: &str| -> Vec<Value> { deliveries.iter().map(|delivery| delivery[name].clone()).collect() };
    let outcomes = [
        "accepted",
        "conflict",
        "rejected",
        "refused",
        "refused",
        "refused",
        "too large",
    ];
    assert_eq!(field("outcome"), outcomes.map(Value::from));
    assert_eq!(deliveries[0]["alert"], "high_deepfake_score");
    assert_eq!(deliveries[0]["reason"], Value::Null);
    for (n, says) in [
        (1, "another type or other data"),
        (2, "not a JSON object"),
        (3, "previous secret"),
        (5, "64 hex digits"),
        (6, "262144 bytes"),
    ] {
        assert!(
            deliveries[n]["reason"].as_str().unwrap().contains(says),
            "{}",
            deliveries[n]
        );
    }
    assert!(
        deliveries[0]["body"]
            .as_str()
            .unwrap()
            .contains("\n  \"data\": {\n    "),
        "{}",
        deliveries[0]
    );
    assert!(deliveries[3]["event_id"].is_null() && deliveries[3]["type"].is_null());
}

/// Chromium and what drives it; none where there is none, and that is said. In CI it is a failure.
struct Browser {
    client: Client,
    session: String,
    _driver: Running,
    _profile: tempfile::TempDir,
}

impl Browser {
    async fn start() -> Option<Self> {
        let there = |program| {
            Command::new(program)
                .arg("--version")
                .output()
                .is_ok_and(|output| output.status.success())
        };
        if !there("chromedriver") || !there("chromium") {
            assert!(
                std::env::var_os("CI").is_none(),
                "the inspector's tests need Chromium: apt-get install chromium chromium-driver"
            );
            // Past the harness, which shows nothing of a test that passes.
            let _ = writeln!(
                std::io::stderr(),
                "\nNOT TESTED: the inspector in a browser. It needs Chromium: apt-get install chromium chromium-driver\n"
            );
            return None;
        }
        let mut driver = Running::start(Command::new("chromedriver").arg("--port=0"));
        let started = driver.output_to("successfully on port ");
        let port: String = started
            .rsplit("on port ")
            .next()
            .unwrap()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        let profile = tempfile::tempdir().unwrap();
        let user_data = format!("--user-data-dir={}", profile.path().display());
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
            &user_data,
        ];
        let options = json!({"goog:chromeOptions": {"args": arguments}});
        let url = format!("http://127.0.0.1:{port}");
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(options.as_object().unwrap().clone())
            .connect(&url)
            .await
            .unwrap();
        let session = client.session_id().await.unwrap().unwrap();
        Some(Self {
            client,
            session: format!("{url}/session/{session}"),
            _driver: driver,
            _profile: profile,
        })
    }

    /// A command of the browser's own protocol, for what WebDriver has none for.
    fn emulate(&self, command: &str, parameters: Value) {
        let call = json!({"cmd": format!("Emulation.{command}"), "params": parameters});
        let url = format!("{}/goog/cdp/execute", self.session);
        ureq::post(url)
            .header("content-type", "application/json")
            .send(call.to_string())
            .unwrap();
    }

    async fn find(&self, css: &str) -> Element {
        let wait = self.client.wait().at_most(Duration::from_secs(15));
        wait.for_element(Locator::Css(css)).await.unwrap()
    }

    async fn script(&self, script: &str) -> Value {
        self.client.execute(script, vec![]).await.unwrap()
    }

    /// Waits until a script gives that.
    async fn until(&self, script: &str, expected: Value) {
        let begun = Instant::now();
        loop {
            let got = self.script(script).await;
            if got == expected {
                return;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{script}: {got}, and not {expected}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for so many deliveries; the newest one's text.
    async fn newest_of(&self, count: usize) -> String {
        self.until(
            "return document.querySelectorAll('#deliveries > li').length",
            json!(count),
        )
        .await;
        let text = self
            .script("return document.querySelector('#deliveries summary').innerText")
            .await;
        text.as_str().unwrap().to_owned()
    }

    /// Keeps what it looks like in the folder that SCREENSHOTS names, for a person to see.
    async fn picture(&self, name: &str) {
        if let Some(folder) = std::env::var_os("SCREENSHOTS") {
            let picture = self.client.screenshot().await.unwrap();
            std::fs::write(std::path::Path::new(&folder).join(format!("{name}.png")), picture).unwrap();
        }
    }
}

#[test]
fn in_a_browser_every_button_sends_and_what_comes_is_shown() {
    let server = serve(&[], Some(SECRET));
    runtime().block_on(async {
        let Some(browser) = Browser::start().await else { return };
        browser.client.goto(&server.url).await.unwrap();
        browser.until("return document.getElementById('connection').textContent", json!("live")).await;
        assert!(browser.find("#empty").await.is_displayed().await.unwrap());
        browser.picture("empty").await;

        let mut count = 0;
        for event_type in known_types() {
            browser.find(&format!("button[data-type='{event_type}']")).await.click().await.unwrap();
            count += 1;
            let newest = browser.newest_of(count).await;
            assert!(newest.contains("accepted") && newest.contains(event_type), "{newest}");
        }
        assert!(!browser.find("#empty").await.is_displayed().await.unwrap());
        let alerts = "return [...document.querySelectorAll('li.alert .note')].map((note) => note.textContent)";
        let marked = ["alert: sar submitted", "alert: mfa not verified", "alert: high deepfake score"];
        assert_eq!(browser.script(alerts).await, json!(marked));

        for (what, says) in [
            ("duplicate", "duplicate"),
            ("forged", "another secret"),
            ("tampered", "signature of a different body"),
        ] {
            browser.find(&format!("button[data-what='{what}']")).await.click().await.unwrap();
            count += 1;
            let newest = browser.newest_of(count).await;
            assert!(newest.contains(says), "{newest}");
        }
        browser.script("document.getElementById('envelope').value = 'schema'").await;
        browser.find("button[data-what='all']").await.click().await.unwrap();
        browser.newest_of(count + 8).await;
        let counts = "return ['accepted', 'duplicate', 'refused', 'alerts'].map((name) => document.getElementById('count-' + name).textContent)";
        browser.until(counts, json!(["16", "1", "2", "6"])).await;

        browser.find("#deliveries summary").await.click().await.unwrap();
        let body = browser.find("#deliveries pre").await.text().await.unwrap();
        assert!(body.contains("\"event_type\": \"system.health_check\",\n"), "{body}");
        // Somebody else's deliveries are shown as they come, too.
        server.deliver(&deepfake("from outside", "session", 0.5).to_string());
        assert!(browser.newest_of(count + 9).await.contains("from outside"));
        assert!(browser.find("#news").await.prop("textContent").await.unwrap().unwrap().contains("accepted"));

        for scheme in ["light", "dark"] {
            let feature = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
            browser.emulate("setEmulatedMedia", feature);
            let ground = browser.script("return getComputedStyle(document.body).backgroundColor").await;
            assert_eq!(ground, if scheme == "light" { "rgb(245, 246, 248)" } else { "rgb(17, 21, 27)" });
            browser.picture(scheme).await;
        }
        for width in [390, 320] {
            let phone = json!({"width": width, "height": 1200, "deviceScaleFactor": 1, "mobile": true});
            browser.emulate("setDeviceMetricsOverride", phone);
            let wide = browser.script("return document.documentElement.scrollWidth").await;
            assert_eq!(wide, width, "the page is wider than the screen");
            browser.picture(&format!("phone-{width}")).await;
        }
        browser.client.clone().close().await.unwrap();
    });
}

#[test]
fn in_a_browser_it_is_used_by_keys_shows_hostile_text_as_text_and_comes_back() {
    const TAB: &str = "\u{e004}";
    const ENTER: &str = "\u{e007}";
    let mut server = serve(&[], Some(SECRET));
    let port = server.url.rsplit(':').next().unwrap().to_owned();
    runtime().block_on(async {
        let Some(browser) = Browser::start().await else { return };
        browser.client.goto(&server.url).await.unwrap();
        let mut reached = Vec::new();
        for _ in 0..14 {
            browser.client.active_element().await.unwrap().send_keys(TAB).await.unwrap();
            let name = "const at = document.activeElement; return at.dataset.type || at.dataset.what || at.id || at.className";
            reached.push(browser.script(name).await.as_str().unwrap().to_owned());
        }
        assert_eq!(reached[0], "skip");
        for wanted in known_types().chain(["envelope", "all", "duplicate", "forged", "tampered"]) {
            assert!(reached.iter().any(|name| name == wanted), "{wanted} in {reached:?}");
        }
        browser.find("button[data-type='sar.filed']").await.send_keys(ENTER).await.unwrap();
        browser.newest_of(1).await;
        browser.find("#deliveries summary").await.send_keys(ENTER).await.unwrap();
        assert!(browser.find("#deliveries details[open] pre").await.is_displayed().await.unwrap());

        let hostile = "<img src=x onerror=document.title=1><b>";
        let body = json!({"id": hostile, "type": hostile, "data": {"session_id": hostile, "text": hostile}});
        server.deliver(&body.to_string());
        let newest = browser.newest_of(2).await;
        assert!(newest.contains(hostile), "{newest}");
        browser.find("#deliveries summary").await.click().await.unwrap();
        assert_eq!(browser.script("return document.querySelectorAll('main img, main b').length").await, 0);
        assert_eq!(browser.client.title().await.unwrap(), "Sonotheia webhooks");

        assert_eq!(server.process.terminate(), Some(0));
        let connection = "return document.getElementById('connection').className";
        browser.until(connection, json!("connection off")).await;
        let _again = {
            let mut again = sonotheia(&["serve", "--port", &port]);
            let mut again = Running(again.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
            again.output_to("curl http");
            again
        };
        browser.until(connection, json!("connection on")).await;
        // What the other process had is not this one's.
        browser.until("return document.querySelectorAll('#deliveries > li').length", json!(0)).await;
        browser.find("button[data-type='sar.filed']").await.click().await.unwrap();
        browser.newest_of(1).await;
        browser.client.clone().close().await.unwrap();
    });
}
