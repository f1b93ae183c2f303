//! Resident memory over time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::lock;
use crate::report::{Table, Violations};

/// The most bytes that memory may grow from the second quarter of the time to the last quarter. An allocator keeps memory,
/// and a process reaches its working set some time after its start.
const GROWTH: u64 = 4 << 20;

/// The time between two samples.
const INTERVAL: Duration = Duration::from_millis(250);

const MIB: f64 = (1 << 20) as f64;

/// Samples of the memory of one process, or of the largest of several, in bytes.
pub struct Samples {
    samples: Arc<Mutex<Vec<u64>>>,
    task: JoinHandle<()>,
}

impl Samples {
    /// Takes samples with `memory` from now on.
    pub fn start(memory: impl Fn() -> Option<u64> + Send + 'static) -> Self {
        let samples: Arc<Mutex<Vec<u64>>> = Arc::default();
        let shared = samples.clone();
        let task = tokio::spawn(async move {
            let mut every = tokio::time::interval(INTERVAL);
            loop {
                every.tick().await;
                lock(&shared).extend(memory());
            }
        });
        Self { samples, task }
    }

    /// Takes no more samples.
    pub fn end(self) -> Self {
        self.task.abort();
        self
    }

    /// Adds the memory to a table, and checks that it grows by no more than the bytes that the program keeps on purpose.
    pub fn rows(&self, table: &mut Table, violations: &Violations, kept: u64) {
        let samples = lock(&self.samples);
        let quarter = samples.len() / 4;
        if quarter == 0 {
            violations.note("the memory could not be read".to_owned());
            return;
        }
        let most = |samples: &[u64]| samples.iter().copied().max().unwrap_or_default();
        let early = most(&samples[quarter..2 * quarter]);
        let late = most(&samples[3 * quarter..]);
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / MIB);
        table.row(
            "most resident memory in the second quarter of the time",
            mib(early),
        );
        table.row("most resident memory in the last quarter", mib(late));
        if late > early + GROWTH + kept {
            violations.note(format!("memory grows from {} to {}", mib(early), mib(late)));
        }
    }
}
