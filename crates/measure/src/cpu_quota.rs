//! A share of a processor, by the CPU controller of control groups (Linux kernel documentation, "CFS Bandwidth Control").
//!
//! Only version 1 of control groups can give the threads of one process different shares, so this module needs version 1, and
//! the right to write to it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

const CONTROLLER: &str = "/sys/fs/cgroup/cpu";

/// A group of threads that together get a share of one processor. Dropping it deletes the group; its threads must have ended.
pub struct CpuQuota(PathBuf);

impl CpuQuota {
    /// A group that gets `share` of one processor (0.5 is a half) in each period of `period_us` microseconds.
    pub fn new(name: &str, share: f64, period_us: u32) -> io::Result<Self> {
        let folder = Path::new(CONTROLLER).join(format!("measure-{}-{name}", process::id()));
        fs::create_dir(&folder).map_err(|error| {
            let needs = "limiting the processor time needs root, and version 1 of the CPU controller";
            io::Error::new(error.kind(), format!("{needs}: {}: {error}", folder.display()))
        })?;
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

impl Drop for CpuQuota {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// The group of this thread.
pub fn own_group() -> io::Result<PathBuf> {
    let groups = fs::read_to_string("/proc/thread-self/cgroup")?;
    let path = groups.lines().find_map(|line| {
        let (_, line) = line.split_once(':')?;
        let (controllers, path) = line.split_once(':')?;
        controllers.split(',').any(|name| name == "cpu").then_some(path)
    });
    let path = path.ok_or_else(|| io::Error::other("this kernel has no version 1 of the CPU controller"))?;
    Ok(Path::new(CONTROLLER).join(path.trim_start_matches('/')))
}

/// Moves a thread into a group that exists.
pub fn move_to(group: &Path, thread: i32) -> io::Result<()> {
    fs::write(group.join("tasks"), thread.to_string())
}
