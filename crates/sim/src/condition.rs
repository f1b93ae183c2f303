//! The state of an environment, for the network and the checks: its clock, its freezes and its broken calls.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use crate::clock::TrueClock;
use crate::network::Service;

/// How late a clock may be while all promises hold: the receiver's margin (5 s) less its time limit (4.2 s).
pub const TOLERATED_MS: i64 = 700;

/// The state of an environment that the network and the checks need. Times are milliseconds since the epoch.
#[derive(Debug)]
pub struct Condition {
    /// The environment's number.
    pub number: u64,
    started_ms: AtomicI64,
    clock: TrueClock,
    offset_ms: AtomicI64,
    frozen_until_ms: AtomicI64,
    freezes: AtomicI64,
    fault_ms: [AtomicI64; 2],
    jumped_ms: AtomicI64,
}

impl Condition {
    /// The state of a new environment, whose clock is `offset_ms` ahead.
    pub fn new(number: u64, clock: TrueClock, offset_ms: i64) -> Self {
        Self {
            number,
            started_ms: AtomicI64::new(0),
            clock,
            offset_ms: AtomicI64::new(offset_ms),
            frozen_until_ms: AtomicI64::new(0),
            freezes: AtomicI64::new(0),
            fault_ms: [AtomicI64::new(0), AtomicI64::new(0)],
            jumped_ms: AtomicI64::new(0),
        }
    }

    /// The true time at which its process began.
    pub fn started_ms(&self) -> i64 {
        self.started_ms.load(Ordering::Relaxed)
    }

    /// The true time.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Notes that the process begins now.
    pub fn note_start(&self) {
        self.started_ms.store(self.clock.now_ms(), Ordering::Relaxed);
    }

    /// The number of freezes so far.
    pub fn freezes(&self) -> i64 {
        self.freezes.load(Ordering::Relaxed)
    }

    /// Notes a broken call.
    pub fn note_fault(&self, service: Service, now_ms: i64) {
        self.fault_ms[service as usize].store(now_ms, Ordering::Relaxed);
    }

    /// The milliseconds since the last broken call to a service.
    pub fn since_fault_ms(&self, service: Service) -> i64 {
        self.clock.now_ms() - self.fault_ms[service as usize].load(Ordering::Relaxed)
    }

    /// The milliseconds since somebody last set the clock.
    pub fn since_jump_ms(&self) -> i64 {
        self.clock.now_ms() - self.jumped_ms.load(Ordering::Relaxed)
    }

    /// How far the clock is ahead of the true time.
    pub fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed)
    }

    /// Sets the clock.
    pub fn set_offset(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
        self.jumped_ms.store(self.clock.now_ms(), Ordering::Relaxed);
    }

    /// Reads the environment's clock, `error_ms` later.
    pub fn read_clock(&self, error_ms: i64) -> SystemTime {
        self.clock.system_time(self.offset_ms() + error_ms)
    }

    /// Stops all work of the environment for a time. A freeze within a longer freeze changes nothing.
    pub fn freeze(&self, ms: i64) {
        self.freezes.fetch_add(1, Ordering::Relaxed);
        self.frozen_until_ms
            .fetch_max(self.clock.now_ms() + ms, Ordering::Relaxed);
    }

    /// The milliseconds since the end of the last freeze. Negative while the environment is frozen.
    pub fn since_thaw_ms(&self) -> i64 {
        self.clock.now_ms() - self.frozen_until_ms.load(Ordering::Relaxed)
    }

    /// The time until the end of the freeze. `None` if the environment is not frozen.
    pub fn thaws_in(&self) -> Option<Duration> {
        u64::try_from(-self.since_thaw_ms())
            .ok()
            .filter(|left| *left > 0)
            .map(Duration::from_millis)
    }
}
