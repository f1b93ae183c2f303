//! The part of a backlog that one look reads.
//!
//! A list comes newest first, and the application gets the oldest event first. A listener that was away for a week must not
//! hold a week's events, so it looks at the backlog window by window.

use sonotheia_webhook::timestamp::Timestamp;

/// The most new events that a look holds.
pub const LIMIT: usize = 500;

/// The window's length. Without a window, a look reads to the newest record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    length: Option<Length>,
}

#[derive(Clone, Copy, Debug)]
struct Length {
    millis: i64,
    /// The newest record that a look has found. A window ends before it: a record that comes later is never in a window
    /// that counts as done.
    head: Timestamp,
}

impl Window {
    /// The end of the next look behind `begin`. `None` means that the look has no end.
    pub fn end(self, begin: Timestamp) -> Option<Timestamp> {
        let Length { millis, head } = self.length?;
        let end = Timestamp::from_millis(begin.as_millis().saturating_add(millis));
        (end < head).then_some(end)
    }

    /// Makes the window smaller, after a look behind `begin` that found too many events, from `oldest` to `newest`. Returns
    /// false if no window is smaller.
    pub fn narrow(&mut self, begin: Timestamp, oldest: Timestamp, newest: Timestamp) -> bool {
        let span = newest.as_millis() - begin.as_millis();
        let found = newest.as_millis() - oldest.as_millis();
        let head = self.length.map_or(newest, |length| length.head.max(newest));
        let millis = (span / 2).min(found).max(1);
        let is_smaller = span > millis;
        self.length = is_smaller.then_some(Length { millis, head });
        is_smaller
    }

    /// Makes the window larger, after a look that found only `count` events.
    pub fn widen(&mut self, count: usize) {
        if let Some(length) = &mut self.length
            && count < LIMIT / 2
        {
            length.millis = length.millis.saturating_mul(2);
        }
    }

    /// A look without an end has found all events.
    pub fn open(&mut self) {
        self.length = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_window_gets_smaller_and_larger_and_ends_before_the_newest_record() {
        let mut window = Window::default();
        assert_eq!(window.end(at(0)), None);
        assert!(window.narrow(at(0), at(90_000), at(100_000)));
        assert_eq!(window.end(at(0)), Some(at(10_000)));
        window.widen(LIMIT);
        assert_eq!(window.end(at(0)), Some(at(10_000)));
        window.widen(3);
        assert_eq!(window.end(at(10_000)), Some(at(30_000)));
        assert_eq!(window.end(at(80_000)), None);
        // The next look found too many again.
        assert!(window.narrow(at(10_000), at(12_000), at(30_000)));
        assert_eq!(window.end(at(10_000)), Some(at(20_000)));
    }

    #[test]
    fn events_of_one_moment_are_read_at_once() {
        let mut window = Window::default();
        assert!(!window.narrow(at(5), at(6), at(6)));
        assert_eq!(window.end(at(5)), None);
        // They all appeared late, before the newest settled record.
        assert!(!window.narrow(at(9), at(5), at(6)));
    }
}
