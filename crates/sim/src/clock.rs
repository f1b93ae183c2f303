//! The simulated time. tokio stops its clock and moves it on whenever no task can run, so hours pass in milliseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sonotheia_webhook::timestamp::Timestamp;
use tokio::time::Instant;

/// The wall clock at the start of every simulation: 2026-01-21T13:00:00Z.
const START_MS: i64 = 1_769_000_400_000;

/// The true time, from which the clock of an environment may differ.
#[derive(Clone, Copy, Debug)]
pub struct TrueClock(Instant);

impl TrueClock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The milliseconds since the start of the simulation.
    pub fn elapsed_ms(self) -> i64 {
        i64::try_from(self.0.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// The time in milliseconds since the Unix epoch.
    pub fn now_ms(self) -> i64 {
        START_MS + self.elapsed_ms()
    }

    /// The time.
    pub fn now(self) -> Timestamp {
        Timestamp::from_millis(self.now_ms())
    }

    /// The time of a clock that is `offset_ms` ahead of the true time.
    pub fn system_time(self, offset_ms: i64) -> SystemTime {
        let ms = u64::try_from(self.now_ms() + offset_ms).unwrap_or_default();
        UNIX_EPOCH + Duration::from_millis(ms)
    }

    /// Waits until the true time is `at_ms` milliseconds since the Unix epoch.
    pub async fn sleep_until(self, at_ms: i64) {
        let wait = u64::try_from(at_ms - self.now_ms()).unwrap_or_default();
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
}

impl dynoxide::storage_backend::Clock for TrueClock {
    fn now_unix_secs(&self) -> u64 {
        u64::try_from(self.now_ms() / 1000).unwrap_or_default()
    }

    fn now_unix_secs_f64(&self) -> f64 {
        self.now_unix_secs() as f64
    }
}
