//! The processes of the demo: the receiver, the stand-in for Sonotheia's API, and single commands.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::Agent;

use crate::args::random_hex;
use crate::failure::Failure;

/// The sender's delays are divided by this number: the attempts of a delivery take 7.8 s and not 65 minutes.
pub const TIME_SCALE: &str = "500";

/// The longest wait for an event.
const PATIENCE: Duration = Duration::from_secs(40);

/// Variables that could change what the commands of the demo do.
const UNRELATED: [&str; 7] = [
    "SONOTHEIA_WEBHOOK_SECRET_ARN",
    "SONOTHEIA_WEBHOOK_PREVIOUS_SECRET",
    "EVENTS_TABLE",
    "RETENTION_DAYS",
    "MAX_BODY_BYTES",
    "DEEPFAKE_ALERT_THRESHOLD",
    "PORT",
];

/// A step that did not go as it should, for a person.
pub type Fault = String;

/// The processes that run, so that an interrupt can end them.
#[derive(Clone, Default)]
pub struct Processes(Arc<Mutex<Vec<Arc<Mutex<Child>>>>>);

impl Processes {
    /// Ends all processes. The step of the story that needs one of them then fails.
    pub fn kill(&self) {
        for child in lock(&self.0).iter() {
            let _ = lock(child).kill();
        }
    }

    fn add(&self, child: Child) -> Process {
        let child = Arc::new(Mutex::new(child));
        lock(&self.0).push(child.clone());
        Process(child)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process that ends with this value.
struct Process(Arc<Mutex<Child>>);

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = lock(&self.0);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The receiver and the addresses that it printed.
struct Receiver {
    _process: Process,
    dynamodb: String,
}

/// Everything that the story needs.
pub struct Stage {
    processes: Processes,
    folder: tempfile::TempDir,
    /// The signing secret of the receiver.
    pub secret: String,
    receiver: Option<Receiver>,
    port: u16,
    _api: Process,
    /// The address of the stand-in for Sonotheia's API.
    pub api: String,
    agent: Agent,
}

impl Stage {
    /// Starts the receiver and the stand-in.
    ///
    /// # Errors
    /// [`Failure::Demo`] if one of them does not start.
    pub fn new(processes: Processes) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(Failure::Serve)?;
        let (api, lines) = start(
            &processes,
            &[
                "mock-api",
                "--port",
                "0",
                "--time-scale",
                TIME_SCALE,
                "--list",
                "wrapped",
            ],
            &[],
            "Listening on ",
        )
        .map_err(|fault| Failure::Demo {
            step: "the stand-in starts",
            fault,
        })?;
        let api_address = after(&lines, "Listening on ").to_owned();
        let config = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(10)))
            .http_status_as_error(false)
            .proxy(None);
        let mut stage = Self {
            processes,
            folder,
            secret: random_hex::<32>()?,
            receiver: None,
            port: 0,
            _api: api,
            api: api_address,
            agent: config.build().into(),
        };
        stage.start_receiver().map_err(|fault| Failure::Demo {
            step: "the receiver starts",
            fault,
        })?;
        Ok(stage)
    }

    /// Starts the receiver, at the address and with the records that it had before.
    pub fn start_receiver(&mut self) -> Result<(), Fault> {
        let data = self.folder.path().join("events.db");
        let (port, data) = (self.port.to_string(), data.to_string_lossy().into_owned());
        let secret = ("SONOTHEIA_WEBHOOK_SECRET", self.secret.as_str());
        let arguments = ["serve", "--port", &port, "--data", &data];
        let (process, lines) = start(&self.processes, &arguments, &[secret], "Table: ")?;
        let address = after(&lines, "Listening on ");
        let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
        self.port = port.ok_or_else(|| format!("`serve` printed no port: {lines}"))?;
        self.receiver = Some(Receiver {
            _process: process,
            dynamodb: after(&lines, "--dynamodb ").to_owned(),
        });
        Ok(())
    }

    /// Stops the receiver. Deliveries find nobody at its address.
    pub fn stop_receiver(&mut self) {
        self.receiver = None;
    }

    /// The address of the receiver.
    pub fn receiver(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The options by which a command finds the receiver's table.
    pub fn table(&self) -> Vec<String> {
        let dynamodb = self.receiver.as_ref().map(|receiver| receiver.dynamodb.clone());
        [
            "--table".into(),
            "sonotheia-events".into(),
            "--dynamodb".into(),
            dynamodb.unwrap_or_default(),
        ]
        .to_vec()
    }

    /// Runs a command of this program, and returns its output.
    pub fn run(&self, arguments: &[&str]) -> Result<String, Fault> {
        let output = command(arguments)
            .env("SONOTHEIA_WEBHOOK_SECRET", &self.secret)
            .env("SONOTHEIA_API_KEY", "demo")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(format!(
                "`{}` failed: {}{}",
                arguments.join(" "),
                text(&output.stdout),
                text(&output.stderr)
            )),
        }
    }

    /// Makes a GET request, and returns the status and the JSON.
    pub fn get(&self, url: &str) -> Result<(u16, Value), Fault> {
        let answer = self.agent.get(url).header("X-API-Key", "demo").call();
        read(url, answer)
    }

    /// Makes a POST request, and returns the status and the JSON.
    pub fn post(&self, url: &str, body: &str, signature: Option<&str>) -> Result<(u16, Value), Fault> {
        let mut request = self
            .agent
            .post(url)
            .header("X-API-Key", "demo")
            .header("Content-Type", "application/json");
        if let Some(signature) = signature {
            request = request.header("X-Sonotheia-Signature", signature);
        }
        read(url, request.send(body))
    }

    /// Waits until `ready` returns a value.
    pub fn wait<T>(&self, what: &str, ready: impl Fn() -> Result<Option<T>, Fault>) -> Result<T, Fault> {
        let begun = Instant::now();
        loop {
            if let Some(value) = ready()? {
                return Ok(value);
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("{what} did not come within {} s", PATIENCE.as_secs()));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn read(
    url: &str,
    answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<(u16, Value), Fault> {
    let fault = |error: ureq::Error| format!("{url}: {error}");
    let mut answer = answer.map_err(fault)?;
    let text = answer.body_mut().read_to_string().map_err(fault)?;
    Ok((
        answer.status().as_u16(),
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    ))
}

/// A command of this program, without the unrelated variables.
fn command(arguments: &[&str]) -> Command {
    let program = std::env::current_exe().unwrap_or_else(|_| "sonotheia".into());
    let mut command = Command::new(program);
    command.args(arguments);
    for variable in UNRELATED {
        command.env_remove(variable);
    }
    command
}

/// Starts a process, and reads its output up to a line that begins with `last`.
fn start(
    processes: &Processes,
    arguments: &[&str],
    environment: &[(&str, &str)],
    last: &str,
) -> Result<(Process, String), Fault> {
    let mut command = command(arguments);
    command.envs(environment.iter().copied());
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.map_err(|error| error.to_string())?;
    let output = child.stdout.take();
    let process = processes.add(child);
    let Some(output) = output else {
        return Err("the process has no output".into());
    };
    let (mut lines, mut reader) = (String::new(), BufReader::new(output));
    while !lines.lines().any(|line| line.starts_with(last)) {
        match reader.read_line(&mut lines) {
            Ok(0) | Err(_) => {
                return Err(format!(
                    "`{}` ended; run it alone to see why",
                    arguments.join(" ")
                ));
            }
            Ok(_) => {}
        }
    }
    // Somebody must read the rest, so that the process never waits for its output.
    thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    Ok((process, lines))
}

/// The first word behind `label` in the output of a process.
fn after<'a>(lines: &'a str, label: &str) -> &'a str {
    let rest = lines
        .lines()
        .find_map(|line| line.split_once(label))
        .map_or("", |(_, rest)| rest);
    rest.split_whitespace().next().unwrap_or_default()
}
