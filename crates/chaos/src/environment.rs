//! Environments of the function: the release binary as a process each, started as Lambda does it.

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::runtime_api::{Gone, RuntimeApi};

/// How long a process may take until it asks for its first event.
const START: Duration = Duration::from_secs(20);
/// How long an answer may take: more than the 5 s after which Lambda ends the function.
const ANSWER: Duration = Duration::from_secs(6);

/// What all environments of a run have in common.
pub struct Function {
    pub binary: std::path::PathBuf,
    pub variables: Vec<(&'static str, String)>,
    /// What must never be in a log: the secret, and a mark that is in every body.
    pub unspeakable: Vec<String>,
    pub log: Log,
    /// Those that run.
    pub processes: Mutex<Vec<u32>>,
}

/// What was seen of the logs.
#[derive(Default)]
pub struct Log {
    pub lines: AtomicU64,
    pub leaks: AtomicU64,
}

/// One environment. Its process is ended when it is dropped.
pub struct Environment {
    function: Arc<Function>,
    /// A Runtime API for each process: what a killed one had asked for must not reach the next.
    process: Option<(Child, RuntimeApi)>,
    invocations: u64,
    name: usize,
}

/// How an invocation ended.
pub enum Invoked {
    /// With an answer.
    Answered(Answer),
    /// The process was killed before there was one.
    Killed,
}

/// The function's answer.
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Environment {
    pub fn new(function: Arc<Function>, name: usize) -> Self {
        Self {
            function,
            process: None,
            invocations: 0,
            name,
        }
    }

    /// Has the function answer an event. `kill_after` is when to kill its process, counted from when
    /// it has the event; an answer that comes before is an answer.
    ///
    /// # Errors
    /// What a function must never do: not start, not answer, or say that it failed.
    pub async fn invoke(&mut self, payload: String, kill_after: Option<Duration>) -> Result<Invoked, String> {
        if self.process.is_none() {
            let api = RuntimeApi::start().await.map_err(|error| error.to_string())?;
            let child = self.spawn(&api).map_err(|error| error.to_string())?;
            self.process = Some((child, api));
        }
        let Some((_, api)) = &mut self.process else {
            return Err("there is no process".to_owned());
        };
        self.invocations += 1;
        let id = format!("{:08}-0000-4000-8000-{:012}", self.name, self.invocations);
        let answer = match api.invoke(id, payload, START).await {
            Ok(answer) => answer,
            Err(Gone) => return Err("the function did not ask for an event".to_owned()),
        };
        let answer = tokio::time::timeout(kill_after.unwrap_or(ANSWER), answer).await;
        match (answer, kill_after) {
            (Ok(Ok(Ok(answer))), _) => {
                let answer = Answer::read(&answer);
                if kill_after.is_some() {
                    self.kill();
                }
                answer.map(Invoked::Answered)
            }
            (Ok(Ok(Err(why))), _) => Err(format!("the function failed: {why}")),
            (_, Some(_)) => {
                self.kill();
                Ok(Invoked::Killed)
            }
            (Ok(Err(_)), None) => Err("the function ended by itself".to_owned()),
            (Err(_), None) => Err(format!("the function did not answer in {ANSWER:?}")),
        }
    }

    /// `SIGKILL`: no time to finish anything.
    fn kill(&mut self) {
        if let Some((mut child, _)) = self.process.take() {
            self.function.processes().retain(|process| *process != child.id());
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn spawn(&self, api: &RuntimeApi) -> io::Result<Child> {
        let mut child = Command::new(&self.function.binary)
            .env_clear()
            .envs(self.function.variables.iter().map(|(name, value)| (*name, value)))
            .env("AWS_LAMBDA_RUNTIME_API", &api.address)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        self.function.processes().push(child.id());
        if let Some(log) = child.stdout.take() {
            let function = self.function.clone();
            std::thread::spawn(move || function.read(log));
        }
        Ok(child)
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Function {
    fn processes(&self) -> MutexGuard<'_, Vec<u32>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The resident memory of the largest process, in KiB.
    pub fn memory(&self) -> Option<u64> {
        self.processes()
            .iter()
            .filter_map(|process| memory(*process))
            .max()
    }

    fn read(&self, log: impl io::Read) {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            self.log.lines.fetch_add(1, Ordering::Relaxed);
            if self.unspeakable.iter().any(|word| line.contains(word)) {
                self.log.leaks.fetch_add(1, Ordering::Relaxed);
                eprintln!("in the log: {line}");
            }
        }
    }
}

impl Answer {
    fn read(answer: &Value) -> Result<Self, String> {
        let status = answer["statusCode"].as_u64().and_then(|n| u16::try_from(n).ok());
        match (status, answer["body"].as_str()) {
            (Some(status), Some(body)) => Ok(Self {
                status,
                body: body.to_owned(),
            }),
            _ => Err(format!("this is no answer for a gateway: {answer}")),
        }
    }
}

/// Lambda's environment variables ("Defined runtime environment variables"), but for the Runtime API's.
pub fn lambda_variables() -> Vec<(&'static str, String)> {
    let (key_id, key) = emulators::CREDENTIALS;
    [
        ("AWS_LAMBDA_FUNCTION_NAME", "receiver"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH", "true"),
        ("AWS_REGION", emulators::REGION),
        ("AWS_ACCESS_KEY_ID", key_id),
        ("AWS_SECRET_ACCESS_KEY", key),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec()
}

/// A process's resident memory in KiB.
pub fn memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
