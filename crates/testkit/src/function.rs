//! The function's binary as a process, started as Lambda starts it.

use std::fs;
use std::io::{self, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::RuntimeApi;

/// A process of the function. Dropping this value kills the process.
#[derive(Debug)]
pub struct Function(Child);

/// The memory of a process.
#[derive(Clone, Copy, Debug)]
pub enum Memory {
    /// The memory that is resident now.
    Resident,
    /// The most memory that was ever resident.
    Peak,
}

/// Lambda's environment variables ("Defined runtime environment variables") for a function with `RUNTIME_API` as its
/// Runtime API and with the emulators' credentials.
fn lambda_variables(runtime_api: &RuntimeApi) -> [(&'static str, String); 10] {
    let (key_id, key) = emulators::CREDENTIALS;
    let text = str::to_owned;
    [
        ("AWS_LAMBDA_RUNTIME_API", runtime_api.address()),
        ("AWS_LAMBDA_FUNCTION_NAME", text("receiver")),
        ("AWS_LAMBDA_FUNCTION_VERSION", text("$LATEST")),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", text("256")),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", text("on-demand")),
        ("AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH", text("true")),
        ("AWS_REGION", text(emulators::REGION)),
        ("AWS_ACCESS_KEY_ID", text(key_id)),
        ("AWS_SECRET_ACCESS_KEY", text(key)),
        ("AWS_SESSION_TOKEN", text("local")),
    ]
}

impl Function {
    /// Runs `command`, whose program is the function's binary or a tool that runs it. The process has Lambda's variables
    /// and `variables`, and no others. Standard output is the log, which the caller has to read.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start<'a>(
        command: &mut Command,
        runtime_api: &RuntimeApi,
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> io::Result<Self> {
        command
            .env_clear()
            .envs(lambda_variables(runtime_api))
            .envs(variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command.spawn().map(Self)
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// The ids of the threads with this name.
    ///
    /// # Errors
    /// There is no such process.
    pub fn threads(&self, name: &str) -> io::Result<Vec<i32>> {
        let mut ids = Vec::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            let task = task?;
            if fs::read_to_string(task.path().join("comm"))?.trim() == name {
                ids.extend(task.file_name().to_string_lossy().parse::<i32>().ok());
            }
        }
        Ok(ids)
    }

    /// The log. Only the first call gets it.
    pub fn log(&mut self) -> Option<ChildStdout> {
        self.0.stdout.take()
    }

    /// Stops the process with SIGSTOP, as Lambda freezes an environment between two invocations. Returns once it has
    /// stopped. (Its monotonic clock goes on, unlike on Lambda.)
    ///
    /// # Errors
    /// There is no such process.
    pub fn freeze(&self) -> io::Result<()> {
        let process = Pid::from_child(&self.0);
        kill_process(process, Signal::STOP)?;
        // A process that has ended keeps its exit status for `wait`.
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(process), stopped)?;
        Ok(())
    }

    /// Lets a frozen process go on.
    ///
    /// # Errors
    /// There is no such process.
    pub fn thaw(&self) -> io::Result<()> {
        kill_process(Pid::from_child(&self.0), Signal::CONT)?;
        Ok(())
    }

    /// Waits until the process ends by itself.
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub fn wait(mut self) -> io::Result<()> {
        self.0.wait().map(drop)
    }

    /// Kills the process, and returns its standard output and, if `command` has piped it, its standard error.
    ///
    /// # Errors
    /// The process cannot be killed, or its output is not UTF-8.
    pub fn output(mut self) -> io::Result<(String, String)> {
        self.0.kill()?;
        let (mut out, mut err) = (String::new(), String::new());
        if let Some(mut stdout) = self.0.stdout.take() {
            stdout.read_to_string(&mut out)?;
        }
        if let Some(mut stderr) = self.0.stderr.take() {
            stderr.read_to_string(&mut err)?;
        }
        Ok((out, err))
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The memory of a process in bytes, from `/proc`. `None` if there is no such process.
pub fn memory(process: u32, which: Memory) -> Option<u64> {
    let field = match which {
        Memory::Resident => "VmRSS:",
        Memory::Peak => "VmHWM:",
    };
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
