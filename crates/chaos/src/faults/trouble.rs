//! The choice of the trouble for each delivery.

use std::time::Duration;

use fastrand::Rng;
use testkit::Ending;

use super::run::count;
use crate::environment::Trouble;

impl Trouble {
    /// Draws the trouble for a delivery: a kill for 2 of 100, and a freeze for 10 of 100.
    pub fn draw(rng: &mut Rng) -> Self {
        match rng.u32(0..100) {
            0..2 => Self::Kill(Duration::from_micros(rng.u64(0..20_000))),
            2..9 => Self::FreezeBefore(freeze(rng), ending(rng)),
            9..12 => {
                let after = Duration::from_micros(rng.u64(0..10_000));
                Self::FreezeDuring(after, Duration::from_millis(rng.u64(1..100)))
            }
            _ => Self::None,
        }
    }

    /// The name of the count of this trouble.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::None | Self::Kill(_) => None,
            Self::FreezeBefore(_, Ending::Close) => Some(count::FROZEN_CLOSED),
            Self::FreezeBefore(_, Ending::Reset) => Some(count::FROZEN_RESET),
            Self::FreezeBefore(_, Ending::Abandon) => Some(count::FROZEN_ABANDONED),
            Self::FreezeDuring(..) => Some(count::FROZEN_DURING),
        }
    }
}

/// The time of a freeze between two deliveries. Some are longer than the secret's cache period.
fn freeze(rng: &mut Rng) -> Duration {
    let most = if rng.u32(0..10) == 0 { 1500 } else { 60 };
    Duration::from_millis(rng.u64(1..most))
}

/// An abandoned connection costs the function the time of an attempt, so it comes less often.
fn ending(rng: &mut Rng) -> Ending {
    match rng.u32(0..20) {
        0..3 => Ending::Abandon,
        3..8 => Ending::Reset,
        _ => Ending::Close,
    }
}
