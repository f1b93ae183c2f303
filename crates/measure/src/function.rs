//! A function's process: started as Lambda does it, and asked what it used.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

use crate::aws::Aws;
use crate::runtime_api::RuntimeApi;

/// An environment of a function.
pub struct Function {
    pub api: RuntimeApi,
    /// When the program was started.
    pub started: Instant,
    child: Child,
    clock: ClockId,
}

/// Lambda's environment variables ("Defined runtime environment variables") and the receiver's own.
pub fn environment(api: &str, aws: &Aws) -> Vec<(&'static str, String)> {
    let text = |text: &str| text.to_owned();
    vec![
        ("AWS_LAMBDA_RUNTIME_API", text(api)),
        ("AWS_LAMBDA_FUNCTION_NAME", text("measured")),
        ("AWS_LAMBDA_FUNCTION_VERSION", text("$LATEST")),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", text("256")),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", text("on-demand")),
        ("AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH", text("true")),
        ("AWS_REGION", text("us-east-1")),
        ("AWS_ACCESS_KEY_ID", text("AKIDEXAMPLE")),
        ("AWS_SECRET_ACCESS_KEY", text("not-a-key")),
        ("AWS_SESSION_TOKEN", text("not-a-token")),
        ("AWS_ENDPOINT_URL_DYNAMODB", aws.url.clone()),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", aws.url.clone()),
        ("SSL_CERT_FILE", aws.roots.display().to_string()),
        ("EVENTS_TABLE", text("events")),
        ("SONOTHEIA_WEBHOOK_SECRET_ARN", text("webhook-secret")),
    ]
}

impl Function {
    /// Starts it on the last processor; the caller's threads keep off that one ([`stand_aside`]).
    pub fn start(binary: &Path, aws: &Aws) -> io::Result<Self> {
        Self::launch(Command::new(binary), aws)
    }

    /// Starts it by a command that ends in its path.
    pub fn launch(mut command: Command, aws: &Aws) -> io::Result<Self> {
        let api = RuntimeApi::start()?;
        command
            .env_clear()
            .envs(environment(&api.address, aws))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let started = Instant::now();
        // A child runs where its parent's thread may.
        pin(processors() - 1..processors())?;
        let spawned = command.spawn();
        stand_aside()?;
        let mut child = spawned?;
        let clock = clock_getcpuclockid(pid(&child))?;
        let mut log = child.stdout.take();
        std::thread::spawn(move || log.as_mut().map(|log| io::copy(log, &mut io::sink())));
        Ok(Self {
            api,
            started,
            child,
            clock,
        })
    }

    /// Processor time since the start, of all its threads.
    pub fn cpu(&self) -> io::Result<Duration> {
        Ok(self.clock.now()?.into())
    }

    /// Ends it, and gives what watches it the time to write down what it saw.
    pub fn end(mut self) -> io::Result<()> {
        kill(pid(&self.child), Signal::SIGTERM)?;
        self.child.wait().map(drop)
    }

    /// The most memory it ever had resident, in bytes.
    pub fn peak_memory(&self) -> io::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kib: Option<u64> = kib.and_then(|kib| kib.trim().parse().ok());
        kib.map(|kib| kib * 1024)
            .ok_or_else(|| io::Error::other("no VmHWM"))
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Leaves the last processor to the function, where there is more than one.
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

/// All of the machine's, not only those that this thread may use.
fn processors() -> usize {
    let online = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    online
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count()
        .max(1)
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// The folder that `cargo` builds into.
pub fn release_folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    target.unwrap_or_else(|| root.join("target")).join("release")
}
