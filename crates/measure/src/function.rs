//! A function's environment: its process on a processor of its own, and its Runtime API.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use testkit::runtime_api::{Answer, Idle, InvokeError};
use testkit::{Function, Memory, RuntimeApi, memory};
use tokio::runtime::Runtime;

use crate::aws::Aws;

/// The longest time that a function may take for a start or for an answer. Under valgrind both are slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// An environment of a function.
pub struct Environment {
    /// The time at which the process was started.
    pub started: Instant,
    function: Function,
    clock: ClockId,
    // The fields are dropped in this order. A function whose poll gets no answer writes an error, so it ends first.
    api: RuntimeApi,
    runtime: Runtime,
    invocations: u64,
}

impl Environment {
    /// Starts the function's binary on the last processor. The caller's threads use the others ([`stand_aside`]).
    pub fn start(binary: &Path, aws: &Aws) -> io::Result<Self> {
        Self::launch(Command::new(binary), aws)
    }

    /// Starts the function with a command that ends in the path of the binary.
    pub fn launch(mut command: Command, aws: &Aws) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        let api = RuntimeApi::start()?;
        let roots = aws.roots.display().to_string();
        let variables = [
            ("AWS_ENDPOINT_URL_DYNAMODB", &*aws.url),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &aws.url),
            ("SSL_CERT_FILE", &roots),
            ("EVENTS_TABLE", "events"),
            ("SONOTHEIA_WEBHOOK_SECRET_ARN", "webhook-secret"),
        ];
        let started = Instant::now();
        // A child may use the processors of its parent's thread.
        pin(processors() - 1..processors())?;
        let function = Function::start(&mut command, &api, variables);
        stand_aside()?;
        let mut function = function?;
        let clock = clock_getcpuclockid(pid(&function))?;
        let mut log = function.log();
        std::thread::spawn(move || log.as_mut().map(|log| io::copy(log, &mut io::sink())));
        Ok(Self {
            started,
            function,
            clock,
            api,
            runtime,
            invocations: 0,
        })
    }

    /// Waits until the function asks for an invocation.
    pub fn idle(&mut self) -> Result<Idle, InvokeError> {
        self.runtime.block_on(self.api.idle(PATIENCE))
    }

    /// Gives the function an invocation, and waits for the answer.
    pub fn invoke(&mut self, idle: Idle, payload: String) -> Result<Answer, InvokeError> {
        self.invocations += 1;
        let id = format!("8f0e5d1c-3b1c-4a65-9f0e-{:012}", self.invocations);
        let invocation = self.api.give(idle, &id, payload);
        self.runtime.block_on(invocation.answer(PATIENCE))
    }

    /// The processor time of all threads since the start.
    pub fn cpu(&self) -> io::Result<Duration> {
        Ok(self.clock.now()?.into())
    }

    /// Ends the process, so that a tool which runs it can write its results.
    pub fn end(self) -> io::Result<()> {
        kill(pid(&self.function), Signal::SIGTERM)?;
        self.function.wait()
    }

    /// The most resident memory so far, in bytes.
    pub fn peak_memory(&self) -> io::Result<u64> {
        let peak = memory(self.function.id(), Memory::Peak);
        peak.ok_or_else(|| io::Error::other("the peak memory of the function cannot be read"))
    }
}

/// Leaves the last processor to the function, if there are several.
pub fn stand_aside() -> io::Result<()> {
    pin(0..(processors() - 1).max(1))
}

fn pin(range: std::ops::Range<usize>) -> io::Result<()> {
    let mut set = CpuSet::new();
    for processor in range {
        set.set(processor)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// The number of the machine's processors. This thread may use only some of them.
fn processors() -> usize {
    let online = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    online
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count()
        .max(1)
}

fn pid(function: &Function) -> Pid {
    Pid::from_raw(function.id().cast_signed())
}

/// The folder of cargo's release builds.
pub fn release_folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    target.unwrap_or_else(|| root.join("target")).join("release")
}
