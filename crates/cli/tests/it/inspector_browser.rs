//! Headless Chromium, which `chromedriver` drives, for the inspector's tests.

use std::io::{BufRead, BufReader, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use super::Running;

/// Headless Chromium and its driver.
pub struct Browser {
    pub client: Client,
    session: String,
    _driver: Running,
    _profile: tempfile::TempDir,
}

/// Starts the driver, and returns its port. A start can fail: the driver chooses a free port of IPv6, which may not be free in
/// IPv4.
fn driver() -> (Running, u16) {
    for _ in 0..10 {
        let mut driver = Running::start(Command::new("chromedriver").arg("--port=0"));
        let output = BufReader::new(driver.0.stdout.as_mut().unwrap());
        let port = output.lines().find_map(|line| {
            let line = line.unwrap();
            let (_, port) = line.split_once("successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        if let Some(port) = port {
            return (driver, port);
        }
    }
    panic!("chromedriver finds no port");
}

impl Browser {
    pub async fn start() -> Option<Self> {
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
            // Not by the test harness, which shows nothing of a test that passes.
            let _ = writeln!(
                std::io::stderr(),
                "\nNOT TESTED: the inspector in a browser. It needs Chromium: apt-get install chromium chromium-driver\n"
            );
            return None;
        }
        let (driver, port) = driver();
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

    /// A command of the browser's own protocol, for things that WebDriver cannot do.
    pub fn devtools(&self, command: &str, parameters: Value) {
        let call = json!({"cmd": command, "params": parameters});
        let url = format!("{}/goog/cdp/execute", self.session);
        ureq::post(url)
            .header("content-type", "application/json")
            .send(call.to_string())
            .unwrap();
    }

    pub async fn find(&self, css: &str) -> Element {
        let wait = self.client.wait().at_most(Duration::from_secs(15));
        wait.for_element(Locator::Css(css)).await.unwrap()
    }

    pub async fn script(&self, script: &str) -> Value {
        self.client.execute(script, vec![]).await.unwrap()
    }

    /// Waits until a script returns a value.
    pub async fn until(&self, script: &str, expected: Value) {
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

    /// Clicks an element.
    pub async fn click(&self, css: &str) {
        self.find(css).await.click().await.unwrap();
    }

    /// Sends keys to the element that has the focus.
    pub async fn keys(&self, keys: &str) {
        let active = self.client.active_element().await.unwrap();
        active.send_keys(keys).await.unwrap();
    }

    /// Opens the page and waits until it is live.
    pub async fn open(&self, url: &str) {
        self.client.goto(url).await.unwrap();
        let connection = "return document.getElementById('connection').textContent";
        self.until(connection, json!("live")).await;
    }

    /// Presses a button of the page and waits for `count` rows; returns the newest row's text.
    pub async fn press(&self, css: &str, count: usize) -> String {
        self.click(css).await;
        self.newest_of(count).await
    }

    /// Waits for `count` rows, and returns the text of the newest.
    pub async fn newest_of(&self, count: usize) -> String {
        self.until(
            "return document.querySelectorAll('#deliveries > li').length",
            json!(count),
        )
        .await;
        self.text("#deliveries .row").await
    }

    /// The text of the first element, as a person sees it.
    pub async fn text(&self, css: &str) -> String {
        let script = format!("return document.querySelector({css:?}).innerText");
        self.script(&script).await.as_str().unwrap().to_owned()
    }

    /// Opens the newest row with an outcome, and waits for its detail.
    pub async fn open_row(&self, outcome: &str) {
        self.click(&format!("li[data-outcome='{outcome}'] > .row")).await;
        self.find("li.open .columns").await;
    }

    /// The text in the clipboard.
    pub async fn clipboard(&self) -> String {
        let script = "const done = arguments[0]; navigator.clipboard.readText().then(done, (error) => done('' + error))";
        let text = self.client.execute_async(script, vec![]).await.unwrap();
        text.as_str().unwrap().to_owned()
    }

    /// Writes a picture into the folder that SCREENSHOTS names, for a person to see.
    pub async fn picture(&self, name: &str) {
        if let Some(folder) = std::env::var_os("SCREENSHOTS") {
            let picture = self.client.screenshot().await.unwrap();
            std::fs::write(std::path::Path::new(&folder).join(format!("{name}.png")), picture).unwrap();
        }
    }
}
