//! One delivery on its way through an environment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

tokio::task_local! {
    /// The delivery that the current task works for.
    pub static DELIVERY: Arc<Delivery>;
}

/// The facts of a delivery that the network and the checks need.
#[derive(Debug)]
pub struct Delivery {
    /// Its number in this run.
    pub number: u64,
    /// The true time at which the receiver got it, in milliseconds since the epoch.
    pub began_ms: i64,
    /// True if nobody with the secret signed it.
    pub unsigned: bool,
    /// The days that its record is kept.
    pub retention_days: u32,
    /// True if the environment's clock is late by more than the receiver's margin allows.
    pub clock_is_late: bool,
    disturbed: AtomicBool,
    frozen: AtomicBool,
}

impl Delivery {
    /// A delivery that has met no fault.
    pub fn new(
        number: u64,
        began_ms: i64,
        unsigned: bool,
        retention_days: u32,
        clock_is_late: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            number,
            began_ms,
            unsigned,
            retention_days,
            clock_is_late,
            disturbed: AtomicBool::new(false),
            frozen: AtomicBool::new(false),
        })
    }

    /// Stands for the start of a process, which makes calls for no delivery.
    pub fn of_start(began_ms: i64) -> Arc<Self> {
        Self::new(0, began_ms, false, 0, false)
    }

    /// The delivery of the current task, if there is one.
    pub fn current() -> Option<Arc<Self>> {
        DELIVERY.try_with(Arc::clone).ok()
    }

    /// Notes that the network broke a call of this delivery.
    pub fn disturb(&self) {
        self.disturbed.store(true, Ordering::Relaxed);
    }

    /// True if the network broke a call.
    pub fn is_disturbed(&self) -> bool {
        self.disturbed.load(Ordering::Relaxed)
    }

    /// Notes that the environment froze meanwhile.
    pub fn freeze(&self) {
        self.frozen.store(true, Ordering::Relaxed);
    }

    /// True if the environment froze meanwhile.
    pub fn was_frozen(&self) -> bool {
        self.frozen.load(Ordering::Relaxed)
    }
}
