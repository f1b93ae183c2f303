//! Environments of the function: each is the release binary as a process under a Runtime API.

use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use sonotheia_webhook::cause::Causes;
use testkit::runtime_api::InvokeError;
use testkit::{Ending, Function, Memory, RuntimeApi, memory};

use crate::back_ends::Proxies;
use crate::lock;

/// The longest time from the start of a process until it asks for its first invocation.
const START: Duration = Duration::from_secs(20);
/// The longest time for an answer. It is longer than the 5 s after which Lambda ends an invocation.
const ANSWER: Duration = Duration::from_secs(6);

/// The parts that all environments of a run share.
pub struct Setup {
    /// The function's binary.
    pub binary: PathBuf,
    /// The receiver's variables.
    pub variables: Vec<(&'static str, String)>,
    /// Texts that no log may have: the secrets, and the mark that every body has.
    pub private: Vec<String>,
    log: Log,
    /// The ids of the processes that run.
    processes: Mutex<Vec<u32>>,
}

/// The number of log lines, and of those with private texts.
#[derive(Default)]
struct Log {
    lines: AtomicU64,
    leaks: AtomicU64,
}

/// One environment. Dropping this value kills its process.
pub struct Environment {
    setup: Arc<Setup>,
    /// The proxies between the process and the services.
    pub proxies: Proxies,
    /// Each process has a Runtime API of its own, since a killed process may have asked for an invocation.
    process: Option<(Function, RuntimeApi)>,
    invocations: u64,
    number: usize,
}

/// Trouble for the process of an environment around one invocation.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// No trouble.
    None,
    /// SIGKILL, this long after the start of the invocation.
    Kill(Duration),
    /// SIGSTOP before the invocation, for this time. Meanwhile the idle connections end.
    FreezeBefore(Duration, Ending),
    /// SIGSTOP, this long after the start of the invocation and for this time.
    FreezeDuring(Duration, Duration),
}

/// The end of an invocation.
pub enum Invoked {
    /// The function answered.
    Answered(Answer),
    /// The process was killed before it answered.
    Killed,
}

/// The function's answer.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Environment {
    /// An environment that starts its process at the first invocation.
    pub fn new(setup: Arc<Setup>, proxies: Proxies, number: usize) -> Self {
        Self {
            setup,
            proxies,
            process: None,
            invocations: 0,
            number,
        }
    }

    /// Invokes the function. An answer that comes before the process is killed counts.
    ///
    /// # Errors
    /// The function does not start, does not answer, or reports an error.
    pub async fn invoke(&mut self, payload: String, trouble: Trouble) -> Result<Invoked, String> {
        self.invocations += 1;
        let id = format!("{:08}-0000-4000-8000-{:012}", self.number, self.invocations);
        let answered = self.answer(&id, payload, trouble).await;
        let is_kill = matches!(trouble, Trouble::Kill(_));
        if is_kill {
            self.kill();
        }
        match answered {
            Ok(reply) => Answer::read(&reply).map(Invoked::Answered),
            Err(InvokeError::NoAnswer(_)) if is_kill => Ok(Invoked::Killed),
            Err(error) => Err(Causes(&error).to_string()),
        }
    }

    async fn answer(&mut self, id: &str, payload: String, trouble: Trouble) -> Result<Value, InvokeError> {
        let (function, api) = match &mut self.process {
            Some(process) => process,
            none => none.insert(self.setup.start(&self.proxies).map_err(InvokeError::Start)?),
        };
        let idle = api.idle(START).await?;
        let answer = match trouble {
            Trouble::None => api.give(idle, id, payload).answer(ANSWER).await,
            Trouble::Kill(after) => api.give(idle, id, payload).answer(after).await,
            Trouble::FreezeBefore(time, ending) => {
                function.freeze().map_err(InvokeError::Start)?;
                self.proxies.end_idle(ending);
                tokio::time::sleep(time).await;
                // The invocation and the ends of the connections wait for the process together.
                let invocation = api.give(idle, id, payload);
                function.thaw().map_err(InvokeError::Start)?;
                invocation.answer(ANSWER).await
            }
            Trouble::FreezeDuring(after, time) => {
                let invocation = api.give(idle, id, payload);
                let freeze = async {
                    tokio::time::sleep(after).await;
                    function.freeze()?;
                    tokio::time::sleep(time).await;
                    function.thaw()
                };
                let (answer, frozen) = tokio::join!(invocation.answer(ANSWER), freeze);
                frozen.map_err(InvokeError::Start)?;
                answer
            }
        };
        Ok(answer?.reply)
    }

    /// Kills the process with SIGKILL, so that it can finish nothing.
    fn kill(&mut self) {
        if let Some((function, _)) = self.process.take() {
            lock(&self.setup.processes).retain(|process| *process != function.id());
        }
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Setup {
    /// The parts for environments of this binary.
    pub fn new(binary: PathBuf, variables: Vec<(&'static str, String)>, private: Vec<String>) -> Arc<Self> {
        Arc::new(Self {
            binary,
            variables,
            private,
            log: Log::default(),
            processes: Mutex::default(),
        })
    }

    /// The resident memory of the largest process, in bytes.
    pub fn memory(&self) -> Option<u64> {
        let processes = lock(&self.processes).clone();
        let resident = |process: &u32| memory(*process, Memory::Resident);
        processes.iter().filter_map(resident).max()
    }

    /// The number of log lines so far.
    pub fn log_lines(&self) -> u64 {
        self.log.lines.load(Ordering::Relaxed)
    }

    /// The number of log lines with private texts so far.
    pub fn leaks(&self) -> u64 {
        self.log.leaks.load(Ordering::Relaxed)
    }

    fn start(self: &Arc<Self>, proxies: &Proxies) -> io::Result<(Function, RuntimeApi)> {
        let api = RuntimeApi::start()?;
        let variables = self.variables.iter().map(|(name, value)| (*name, &**value));
        let variables = variables.chain(proxies.variables());
        let mut function = Function::start(&mut Command::new(&self.binary), &api, variables)?;
        lock(&self.processes).push(function.id());
        if let Some(log) = function.log() {
            let setup = self.clone();
            std::thread::spawn(move || setup.read(log));
        }
        Ok((function, api))
    }

    fn read(&self, log: impl io::Read) {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            self.log.lines.fetch_add(1, Ordering::Relaxed);
            if self.private.iter().any(|text| line.contains(text)) {
                self.log.leaks.fetch_add(1, Ordering::Relaxed);
                eprintln!("a log line has a private text: {line}");
            }
        }
    }
}

impl Answer {
    fn read(reply: &Value) -> Result<Self, String> {
        let status = reply["statusCode"].as_u64().and_then(|n| u16::try_from(n).ok());
        match (status, reply["body"].as_str()) {
            (Some(status), Some(body)) => Ok(Self {
                status,
                body: body.to_owned(),
            }),
            _ => Err(format!("API Gateway cannot read this answer: {reply}")),
        }
    }
}
