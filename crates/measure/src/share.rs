//! A share of a processor, by the CPU controller of control groups (Linux kernel documentation, "CFS Bandwidth Control").
//!
//! Only version 1 of control groups can give the threads of one process different shares, so this module needs version 1, and
//! the right to write to it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

const CONTROLLER: &str = "/sys/fs/cgroup/cpu";

/// A group of threads that together get a share of one processor.
pub struct Share(PathBuf);

impl Share {
    /// A group that gets `share` of one processor (0.5 is a half) in each period of `period_us` microseconds.
    pub fn new(name: &str, share: f64, period_us: u32) -> io::Result<Self> {
        let folder = Path::new(CONTROLLER).join(format!("measure-{}-{name}", process::id()));
        let made = fs::create_dir(&folder).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!(
                    "cannot limit the processor time: this needs root, and version 1 of the CPU controller at {CONTROLLER}"
                ),
            )
        });
        made?;
        let group = Self(folder);
        let quota_us = (f64::from(period_us) * share).round() as u32;
        group.write("cpu.cfs_period_us", period_us)?;
        group.write("cpu.cfs_quota_us", quota_us)?;
        Ok(group)
    }

    /// Moves a thread into the group. A process that the thread then starts is in the group, too.
    pub fn add(&self, thread: i32) -> io::Result<()> {
        self.write("tasks", thread)
    }

    fn write(&self, file: &str, value: impl ToString) -> io::Result<()> {
        fs::write(self.0.join(file), value.to_string())
    }
}

/// Moves a thread out of its group.
pub fn leave(thread: i32) -> io::Result<()> {
    fs::write(Path::new(CONTROLLER).join("tasks"), thread.to_string())
}

impl Drop for Share {
    fn drop(&mut self) {
        // A group with threads stays. They are those of a process that is about to end.
        let _ = fs::remove_dir(&self.0);
    }
}
