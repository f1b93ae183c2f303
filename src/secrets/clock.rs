//! The time by which the cache of the secret counts.

use std::time::Duration;

use tokio::time::Instant;

use crate::deadline;
use crate::timestamp::Timestamp;

/// A clock that follows the wall clock, but does not go back with it.
///
/// Lambda freezes an environment between invocations, and the monotonic clock may not count that time. So this clock follows the
/// wall clock. But if somebody sets the wall clock back, the wall clock shows the same times twice, and an old call to Secrets
/// Manager would look like a recent call. From then on this clock adds the lost time to the wall clock. So it is never slower
/// than the monotonic clock.
#[derive(Debug, Default)]
pub struct SteadyClock {
    /// How far this clock is ahead of the wall clock.
    ahead: Duration,
    /// A time of this clock, and the moment at which it was right.
    known: Option<(Timestamp, Instant)>,
}

/// How far the time of a delivery may be behind. A delivery brings the time at which it began, and its body takes a while.
const DELAY: Duration = deadline::WRITE;

impl SteadyClock {
    /// Returns the time of a delivery that began at `wall` by the wall clock and asks at `now`.
    pub fn time(&mut self, wall: Timestamp, now: Instant) -> Timestamp {
        let time = wall.plus(self.ahead);
        let Some((known, then)) = self.known else {
            self.known = Some((time, now));
            return time;
        };
        let least = known.plus(now.saturating_duration_since(then));
        match least.since(time) {
            None => {
                self.known = Some((time, now));
                time
            }
            Some(behind) if behind > DELAY => {
                self.ahead += behind;
                self.known = Some((least, now));
                least
            }
            Some(_) => time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// Times by the wall clock and moments of the monotonic clock, both in seconds from a start, and the steady times.
    fn times(readings: &[(i64, u64)]) -> Vec<i64> {
        let (start, begun) = (Timestamp::from_millis(1_769_000_400_000), Instant::now());
        let at = |seconds: i64| Timestamp::from_millis(start.as_millis() + seconds * 1000);
        let mut clock = SteadyClock::default();
        let time = |(wall, monotonic): &(i64, u64)| {
            let time = clock.time(at(*wall), begun + Duration::from_secs(*monotonic));
            (time.as_millis() - start.as_millis()) / 1000
        };
        readings.iter().map(time).collect()
    }

    #[test]
    fn it_follows_the_wall_clock_also_over_a_freeze() {
        assert_eq!(
            times(&[(0, 0), (60, 60), (3660, 61), (3661, 62)]),
            [0, 60, 3660, 3661]
        );
    }

    #[test]
    fn a_wall_clock_that_is_set_back_shows_no_time_twice() {
        // An hour passes, and somebody sets the clock back by 59 minutes.
        let hour = 60 * MINUTE.as_secs();
        let set_back = (60, hour);
        assert_eq!(times(&[(0, 0), set_back, (61, hour + 1)]), [0, 3600, 3601]);
        // A freeze of ten minutes after that.
        assert_eq!(times(&[(0, 0), set_back, (660, hour + 1)]), [0, 3600, 4200]);
        // Somebody corrects the clock, which then steps ahead.
        assert_eq!(times(&[(0, 0), set_back, (3601, hour + 1)]), [0, 3600, 7141]);
    }

    #[test]
    fn a_slow_delivery_does_not_put_the_clock_ahead() {
        let mut readings = vec![(0, 0)];
        // Each body takes four seconds, and each delivery brings the time of its begin.
        readings.extend((1..100).map(|n| (n * 4 - 4, (n * 4) as u64)));
        let expected: Vec<_> = readings.iter().map(|(wall, _)| *wall).collect();
        assert_eq!(times(&readings), expected);
        // Five seconds are the limit.
        assert_eq!(times(&[(0, 0), (5, 10), (4, 10)]), [0, 5, 10]);
    }

    #[test]
    fn small_steps_back_add_up() {
        let readings: Vec<_> = (0..10).map(|n| (n * 57, (n * 60) as u64)).collect();
        for (time, (_, monotonic)) in times(&readings).iter().zip(&readings) {
            assert!(
                (0..=5).contains(&(*monotonic as i64 - time)),
                "{time} {monotonic}"
            );
        }
    }
}
