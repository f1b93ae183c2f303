//! The time limits of a request and of its calls to AWS (contract, section 2: an answer within 4.5 s).
//!
//! | Limit | Time | Part of |
//! |---|---|---|
//! | sender waits | 5 s | |
//! | [`REQUEST`] | 4.2 s | the sender's time |
//! | [`PREFETCH`] | 0.6 s | the start of the process |
//! | [`DYNAMODB`] | 2.5 s in all, 1.2 s for each of 3 attempts | the request |
//! | [`SECRETS_MANAGER`] | 1.5 s in all, 1 s for each of 2 attempts | the request |

use std::time::Duration;

use tokio::time::Instant;

use crate::timestamp::Timestamp;

/// The longest time from the first byte of a request to its answer.
pub const REQUEST: Duration = Duration::from_millis(4200);

/// The longest time that the start of the process spends on fetching ahead.
pub const PREFETCH: Duration = Duration::from_millis(600);

/// The longest time for a TCP connection. The time for TLS counts towards the attempt.
pub const CONNECT: Duration = Duration::from_millis(700);

/// How long a call to AWS may take. (The SDK's defaults limit neither an attempt nor an operation.)
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The limit of one attempt.
    pub attempt: Duration,
    /// The limit of all attempts together.
    pub operation: Duration,
    /// The number of attempts.
    pub attempts: u32,
}

/// A call to DynamoDB.
pub const DYNAMODB: Call = Call {
    attempt: Duration::from_millis(1200),
    operation: Duration::from_millis(2500),
    attempts: 3,
};

/// A call to Secrets Manager. It leaves time for the write.
pub const SECRETS_MANAGER: Call = Call {
    attempt: Duration::from_millis(1000),
    operation: Duration::from_millis(1500),
    attempts: 2,
};

/// The longest time between the judgement of a delivery and its write. It is longer than [`REQUEST`], after which the
/// request ends.
pub const WRITE: Duration = Duration::from_secs(5);

/// The start of the process. The first request counts its time from it, since its sender has waited for the start.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    process: Instant,
    /// The moment at which the process was ready, by both clocks.
    ready: (Timestamp, Instant),
}

/// The time after the start in which a request comes that caused the start. Both clocks must agree: Lambda can start an
/// environment ahead of its first request and freeze it, and the monotonic clock does not count that time; and somebody
/// can set the wall clock back.
const WAITING: Duration = Duration::from_millis(500);

impl Start {
    /// A process that began at `process` is ready for requests at `ready`.
    pub fn new(process: Instant, ready: Timestamp) -> Self {
        let ready = (ready, Instant::now());
        Self { process, ready }
    }

    /// The time for a request that begins at `now`: [`REQUEST`], less the time since the process began if the request
    /// has waited for it. Several first requests can wait at once.
    pub fn time_for_request(&self, now: Timestamp) -> Duration {
        let (wall, monotonic) = self.ready;
        let has_waited = monotonic.elapsed() < WAITING && now.since(wall).is_none_or(|age| age < WAITING);
        if has_waited {
            REQUEST.saturating_sub(self.process.elapsed())
        } else {
            REQUEST
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_request_that_waited_for_the_start_has_less_time() {
        let ready = Timestamp::now();
        let start = Start::new(Instant::now() - Duration::from_millis(700), ready);
        let first = start.time_for_request(ready.plus(Duration::from_millis(20)));
        assert!(first <= REQUEST - Duration::from_millis(700), "{first:?}");
        assert!(first > Duration::from_secs(3), "{first:?}");
        assert_eq!(start.time_for_request(ready.plus(WAITING)), REQUEST);
        assert_eq!(
            start.time_for_request(ready.plus(Duration::from_secs(3600))),
            REQUEST
        );
    }

    #[test]
    fn a_clock_that_is_set_back_takes_no_time_from_later_requests() {
        let hour = Duration::from_secs(3600);
        let ready = Timestamp::now();
        let start = Start {
            process: Instant::now() - hour,
            ready: (ready, Instant::now() - hour + WAITING),
        };
        assert_eq!(start.time_for_request(ready), REQUEST);
        let earlier = Timestamp::from_millis(ready.as_millis() - 3_600_000);
        assert_eq!(start.time_for_request(earlier), REQUEST);
    }
}
