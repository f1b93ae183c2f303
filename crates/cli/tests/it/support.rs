//! The programs that the tests run: the command line, `serve`, and their output.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use testkit::SECRET;

pub fn sonotheia(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sonotheia"));
    command.args(arguments);
    for variable in [
        "SONOTHEIA_WEBHOOK_SECRET",
        "SONOTHEIA_WEBHOOK_SECRET_ARN",
        "SONOTHEIA_WEBHOOK_PREVIOUS_SECRET",
        "SONOTHEIA_API_KEY",
        "NO_COLOR",
        "EVENTS_TABLE",
        "RETENTION_DAYS",
        "PORT",
        "AWS_PROFILE",
        "SSL_CERT_FILE",
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
        "NO_PROXY",
        "no_proxy",
    ] {
        command.env_remove(variable);
    }
    // The SDK must find no credentials of the person who runs the tests, and must ask no metadata service.
    for (variable, value) in [
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        // `serve` leaves the secret for `send` there.
        ("XDG_RUNTIME_DIR", env!("CARGO_TARGET_TMPDIR")),
    ] {
        command.env(variable, value);
    }
    command
}

#[track_caller]
pub fn run(arguments: &[&str], input: &str) -> Output {
    run_with(arguments, &[], input)
}

/// Runs with these variables set.
#[track_caller]
pub fn run_with(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Output {
    let mut command = sonotheia(arguments);
    command.envs(environment.iter().copied());
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    // A command with bad arguments ends before it reads its input.
    if let Err(error) = child.stdin.take().unwrap().write_all(input.as_bytes()) {
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    }
    child.wait_with_output().unwrap()
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A failure is one line that says what to do, and status 1.
#[track_caller]
pub fn failed(output: &Output, says: &str) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(says), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    assert!(said.lines().all(|line| line.starts_with("error: ")), "{said}");
}

/// The output of a command that succeeds and has nothing to complain of.
#[track_caller]
pub fn succeeded(output: &Output) -> &str {
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    said
}

/// The output of a command that succeeds, as JSON.
#[track_caller]
pub fn document(output: &Output) -> serde_json::Value {
    serde_json::from_str(succeeded(output)).unwrap()
}

/// Runs a command, and interrupts it as Ctrl-C does once `is_time`.
#[track_caller]
pub fn interrupted(arguments: &[&str], environment: &[(&str, &str)], is_time: impl Fn() -> bool) -> Output {
    let mut command = sonotheia(arguments);
    command.envs(environment.iter().copied());
    let piped = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = piped.spawn().unwrap();
    let begun = Instant::now();
    while !is_time() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "the command did not come that far"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    let status = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
    child.wait_with_output().unwrap()
}

/// A command that runs until the test ends it.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self(
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    /// The output up to and with the first line that has `last` in it.
    pub fn output_to(&mut self, last: &str) -> String {
        let mut reader = BufReader::new(self.0.stdout.as_mut().unwrap());
        let mut output = String::new();
        while !output.lines().any(|line| line.contains(last)) {
            assert_ne!(
                reader.read_line(&mut output).unwrap(),
                0,
                "it ended after {output:?}"
            );
        }
        output
    }

    /// Sends SIGTERM, and gives the status it ends with.
    pub fn terminate(&mut self) -> Option<i32> {
        let told = Command::new("kill")
            .arg(self.0.id().to_string())
            .status()
            .unwrap();
        assert!(told.success());
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("it goes on after SIGTERM");
    }
}

pub struct Server {
    pub process: Running,
    pub url: String,
    pub banner: String,
}

impl Server {
    /// The arguments that name its table, as it prints them.
    pub fn table(&self) -> Vec<&str> {
        let line = self.banner.lines().find_map(|line| line.strip_prefix("Table: "));
        line.unwrap().split_whitespace().collect()
    }

    /// A command over its table.
    #[track_caller]
    pub fn over_table(&self, arguments: &[&str]) -> Output {
        run(&[arguments, &self.table()].concat(), "")
    }

    /// A command over its address.
    #[track_caller]
    pub fn over_url(&self, arguments: &[&str]) -> Output {
        run(&[arguments, &["--url", &self.url]].concat(), "")
    }

    /// Delivers a body, whatever becomes of it.
    pub fn deliver(&self, body: &str) {
        run(
            &["send", "--url", &self.url, "--secret", SECRET, "--file", "-"],
            body,
        );
    }

    /// Delivers samples of these types.
    pub fn samples(&self, types: &[&str]) {
        succeeded(&run(
            &[&["send", "--url", &self.url, "--secret", SECRET], types].concat(),
            "",
        ));
    }

    /// A client of its database.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let endpoint = self.table().last().unwrap().to_string();
        aws_sdk_dynamodb::Client::new(&emulators::sdk_config(&endpoint))
    }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

pub fn serve(arguments: &[&str], secret: Option<&str>) -> Server {
    let mut command = sonotheia(&[&["serve", "--port", "0"], arguments].concat());
    if let Some(secret) = secret {
        command.env("SONOTHEIA_WEBHOOK_SECRET", secret);
    }
    let mut process = Running::start(&mut command);
    let banner = process.output_to("curl http");
    let url = banner.lines().find_map(|line| {
        line.split_once("http://")
            .map(|(_, rest)| format!("http://{rest}"))
    });
    Server {
        url: url.unwrap(),
        process,
        banner,
    }
}
