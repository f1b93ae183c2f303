//! The records that are settled: shown, delivered, or skipped for a reason.
//!
//! A record's time of receipt is the time when its delivery began. The write takes some seconds, and the index follows the
//! table, so a record may appear after records that are newer. Each look therefore begins a while before the newest record,
//! and the ids of that while are remembered.

use std::collections::HashMap;
use std::time::Duration;

use sonotheia_webhook::timestamp::Timestamp;

/// How far behind the newest record a record may still appear.
pub const LATE: Duration = Duration::from_secs(60);

/// The settled events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// No record before this time counts.
    floor: Timestamp,
    /// All records up to here are settled, except records that appear late.
    newest: Timestamp,
    /// The time of the newest record that any look has found, settled or not.
    head: Timestamp,
    /// The settled records from [`from`](Self::from) on, with their times of receipt.
    settled: HashMap<String, Timestamp>,
}

impl Seen {
    /// All events from `floor` on are new.
    pub fn since(floor: Timestamp) -> Self {
        Self {
            floor,
            newest: floor,
            head: floor,
            settled: HashMap::new(),
        }
    }

    /// As it was saved: with the time of [`from`](Self::from) as the floor.
    pub fn restore(floor: Timestamp, newest: Timestamp, settled: HashMap<String, Timestamp>) -> Self {
        Self {
            floor,
            newest,
            head: newest,
            settled,
        }
    }

    pub fn newest(&self) -> Timestamp {
        self.newest
    }

    pub fn settled(&self) -> impl Iterator<Item = (&String, &Timestamp)> {
        self.settled.iter()
    }

    /// The time of receipt at which the next look begins. No record before this time appears any more.
    pub fn from(&self) -> Timestamp {
        let late = Timestamp::from_millis(self.head.as_millis() - LATE.as_millis() as i64);
        self.floor.max(late.min(self.newest))
    }

    pub fn is_new(&self, event_id: &str) -> bool {
        !self.settled.contains_key(event_id)
    }

    /// Settles an event. The caller settles the events in order of receipt.
    pub fn settle(&mut self, event_id: String, received_at: Timestamp, now: Timestamp) {
        self.settled.insert(event_id, received_at);
        self.pass(received_at, now);
    }

    /// Notes that all records up to `time` are settled.
    ///
    /// A record may have a time in the future, from a machine whose clock is wrong. Behind such a time no later record
    /// would count, so this machine's clock is a limit. If that clock is behind, each look begins earlier than it has to.
    pub fn pass(&mut self, time: Timestamp, now: Timestamp) {
        self.newest = self.newest.max(time.min(now));
        self.found(time, now);
    }

    /// Notes that a look has found a record with this time of receipt.
    pub fn found(&mut self, time: Timestamp, now: Timestamp) {
        self.head = self.head.max(time.min(now));
    }

    /// Forgets the ids of the records that no look reads any more.
    pub fn forget(&mut self) {
        let from = self.from();
        self.settled.retain(|_, received_at| *received_at >= from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_769_000_400_000 + seconds * 1000)
    }

    #[test]
    fn a_look_begins_a_minute_before_the_newest_settled_record() {
        let mut seen = Seen::since(at(0));
        assert_eq!(seen.from(), at(0));
        seen.settle("a".into(), at(30), at(1000));
        assert_eq!((seen.from(), seen.newest()), (at(0), at(30)));
        seen.settle("b".into(), at(100), at(1000));
        assert_eq!(seen.from(), at(40));
        // It appeared late.
        seen.settle("c".into(), at(45), at(1000));
        assert_eq!(seen.from(), at(40));
        seen.forget();
        assert!(seen.is_new("a") && !seen.is_new("b") && !seen.is_new("c"));
    }

    #[test]
    fn a_backlog_is_read_once() {
        let mut seen = Seen::since(at(0));
        seen.found(at(3600), at(3600));
        seen.settle("a".into(), at(30), at(3600));
        // All records of that time have appeared long ago.
        assert_eq!(seen.from(), at(30));
        seen.settle("b".into(), at(3580), at(3600));
        assert_eq!(seen.from(), at(3540));
        seen.forget();
        let restored = Seen::restore(seen.from(), seen.newest(), seen.settled.clone());
        assert_eq!(restored.from(), at(3540));
        assert!(restored.is_new("a") && !restored.is_new("b"));
    }

    #[test]
    fn a_record_of_the_future_does_not_hide_the_records_of_the_present() {
        let mut seen = Seen::since(at(0));
        seen.settle("ahead".into(), at(7200), at(100));
        assert_eq!(seen.from(), at(40));
        seen.forget();
        assert!(!seen.is_new("ahead"));
    }
}
