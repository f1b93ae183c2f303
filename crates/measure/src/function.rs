//! A function's environment: its process on a processor of its own, and its Runtime API.

use std::error::Error;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::{Pid, gettid};
use sonotheia_webhook::lambda::THREAD_NAME;
use testkit::runtime_api::{Answer, Idle, InvokeError};
use testkit::{Function, Memory, RuntimeApi, memory};
use tokio::runtime::Runtime;

use crate::aws::Aws;
use crate::cpu_quota::{self, CpuQuota};

/// The longest time that a function may take for a start or for an answer. Under valgrind both are slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// The processor time that a function gets, and its further environment variables.
pub struct Launch<'a> {
    /// The processors that it may use.
    pub processors: Range<usize>,
    /// The group of the process. `None` if nothing limits its time.
    pub quota: Option<&'a CpuQuota>,
    pub variables: &'a [(&'a str, &'a str)],
}

impl Default for Launch<'_> {
    /// The whole of the last processor. The caller's threads use the others ([`stand_aside`]).
    fn default() -> Self {
        Self {
            processors: processors() - 1..processors(),
            quota: None,
            variables: &[],
        }
    }
}

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
    /// Starts the function's binary on the last processor.
    pub fn start(binary: &Path, aws: &Aws) -> io::Result<Self> {
        Self::launch(Command::new(binary), aws, &Launch::default())
    }

    /// Starts the function with a command that ends in the path of the binary.
    pub fn launch(mut command: Command, aws: &Aws, launch: &Launch<'_>) -> io::Result<Self> {
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
        let variables = variables.into_iter().chain(launch.variables.iter().copied());
        let this_thread = gettid().as_raw();
        // A child may use the processors of its parent's thread, and is in the thread's group.
        let usual = sched_getaffinity(Pid::from_raw(0))?;
        let group = launch.quota.map(|_| cpu_quota::own_group()).transpose()?;
        pin(launch.processors.clone())?;
        if let Some(quota) = launch.quota {
            quota.add(this_thread)?;
        }
        let started = Instant::now();
        let function = Function::start(&mut command, &api, variables);
        if let Some(group) = group {
            cpu_quota::move_to(&group, this_thread)?;
        }
        sched_setaffinity(Pid::from_raw(0), &usual)?;
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
        let invocation = self.api.give(idle, &next_id(&mut self.invocations), payload);
        self.runtime.block_on(invocation.answer(PATIENCE))
    }

    /// Gives the function all `payloads`, `at_once` at the same time, and returns the time until the last answer.
    pub fn invoke_all(
        &mut self,
        payloads: Vec<String>,
        at_once: usize,
        check: &dyn Fn(&Answer) -> Result<(), String>,
    ) -> Result<Duration, Box<dyn Error>> {
        let begun = Instant::now();
        let api = &mut self.api;
        self.runtime.block_on(async {
            let mut open = FuturesUnordered::new();
            for payload in payloads {
                if open.len() == at_once
                    && let Some(answer) = open.next().await
                {
                    check(&answer?)?;
                }
                let idle = api.idle(PATIENCE).await?;
                let id = next_id(&mut self.invocations);
                open.push(api.give(idle, &id, payload).answer(PATIENCE));
            }
            while let Some(answer) = open.next().await {
                check(&answer?)?;
            }
            Ok(begun.elapsed())
        })
    }

    /// The ids of the threads that answer invocations, the main thread first.
    pub fn threads(&self) -> io::Result<Vec<i32>> {
        let others = self.function.threads(THREAD_NAME)?;
        Ok([vec![pid(&self.function).as_raw()], others].concat())
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

/// The id of the next invocation.
fn next_id(invocations: &mut u64) -> String {
    *invocations += 1;
    format!("8f0e5d1c-3b1c-4a65-9f0e-{invocations:012}")
}

/// Leaves the last processor to the function, if there are several.
pub fn stand_aside() -> io::Result<()> {
    pin(0..(processors() - 1).max(1))
}

fn pin(range: Range<usize>) -> io::Result<()> {
    let mut set = CpuSet::new();
    for processor in range {
        set.set(processor)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// The number of the machine's processors. This thread may use only some of them.
pub fn processors() -> usize {
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
