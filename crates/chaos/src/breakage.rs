//! The faults between the function and DynamoDB. They follow from the seed and the number of the request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use testkit::{Fault, Faults};

use crate::faults::tokens::Tokens;
use crate::{lock, plan};

/// A kind of fault, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Breakage {
    None,
    Delay,
    /// The request arrives after the SDK has stopped waiting.
    LateLanding,
    CutBefore,
    CutAfter,
    CutWithin,
    FailAfter,
    Throttle,
    Fail,
}

impl Breakage {
    /// The name in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "passed on",
            Self::Delay => "delayed up to 300 ms",
            Self::LateLanding => "landed after the SDK had stopped waiting",
            Self::CutBefore => "connection cut before the write",
            Self::CutAfter => "connection cut after the write landed",
            Self::CutWithin => "answer cut in half after the write landed",
            Self::FailAfter => "500 after the write landed",
            Self::Throttle => "throttled, with three of DynamoDB's errors",
            Self::Fail => "500 or 503",
        }
    }

    /// Whether this fault can fail a call to DynamoDB.
    const fn can_fail(self) -> bool {
        !matches!(self, Self::None | Self::Delay)
    }

    /// Draws a kind. Of 100 requests, 82 are passed on.
    fn draw(rng: &mut Rng) -> Self {
        match rng.u32(0..1000) {
            0..40 => Self::Delay,
            40..43 => Self::LateLanding,
            43..70 => Self::CutBefore,
            70..97 => Self::CutAfter,
            97..105 => Self::CutWithin,
            105..120 => Self::FailAfter,
            120..150 => Self::Throttle,
            150..180 => Self::Fail,
            _ => Self::None,
        }
    }

    fn fault(self, rng: &mut Rng) -> Fault {
        const THROTTLED: [&str; 3] = [
            "ProvisionedThroughputExceededException",
            "ThrottlingException",
            "RequestLimitExceeded",
        ];
        match self {
            Self::None => Fault::None,
            Self::Delay => Fault::Delay(Duration::from_millis(rng.u64(1..300))),
            // The SDK waits 1.2 s for an attempt.
            Self::LateLanding => Fault::CutAfter(Duration::from_millis(rng.u64(1250..2000))),
            Self::CutBefore => Fault::CutBefore,
            Self::CutAfter => Fault::CutAfter(Duration::ZERO),
            Self::CutWithin => Fault::CutWithin,
            Self::FailAfter => Fault::AnswerAfter(500, "InternalServerError"),
            Self::Throttle => Fault::Answer(400, THROTTLED[rng.usize(0..THROTTLED.len())]),
            Self::Fail if rng.bool() => Fault::Answer(500, "InternalServerError"),
            Self::Fail => Fault::Answer(503, "ServiceUnavailable"),
        }
    }
}

/// The number of requests for each kind of fault.
#[derive(Clone, Default)]
pub struct Counts(Arc<Mutex<BTreeMap<Breakage, u64>>>);

impl Counts {
    /// The counts so far.
    pub fn all(&self) -> BTreeMap<Breakage, u64> {
        lock(&self.0).clone()
    }

    /// The faults of a seed for one environment. `self` counts every fault, and `failing` counts the faults that can fail a call.
    pub fn faults(&self, seed: u64, tokens: Tokens, failing: Arc<AtomicU64>) -> Faults {
        let counts = self.clone();
        Faults::new(move |number, request| {
            tokens.see(request);
            let mut rng = plan::rng(seed, number);
            let breakage = Breakage::draw(&mut rng);
            *lock(&counts.0).entry(breakage).or_default() += 1;
            failing.fetch_add(u64::from(breakage.can_fail()), Ordering::SeqCst);
            breakage.fault(&mut rng)
        })
    }
}
