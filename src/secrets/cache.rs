//! The pure cache of the signing secret: the versions that are known, and the next step of a delivery (contract,
//! section 5).
//!
//! The cache has no client and no clock. [`Secrets`](super::Secrets) asks it for the [`next`](Cache::next) step, makes
//! the call that the step names, and notes the result. The cache is generic over the secret, so that a model can check this
//! code with a small secret.
//!
//! | When | Call | Limit |
//! |---|---|---|
//! | at start, and when the current version is `SECRET_CACHE_SECONDS` old | `AWSCURRENT` | once per cache period |
//! | a signature does not match the current version | `AWSPREVIOUS` | once per current version and cache period |
//! | a signature matches neither version | `AWSCURRENT` | once in 30 s |
//! | a call failed | the same call again | once in 10 s; 10 times in 10 s while no current version is known |
//!
//! While calls fail, the last good versions serve, whatever their age. A previous version that is missing, unusable or
//! denied is not a failure: for a cache period there is no previous secret. A current version that is unusable counts as
//! missing, so the previous version serves.
//!
//! The cache calls a signature wrong only if it knows both versions of the last cache period, the last call for each of them
//! succeeded, the labels did not move between the two calls, and the current version is usable. Otherwise the sender may have
//! another secret, so the delivery gets an error that the sender retries.

use std::time::Duration;

use super::Stage;
use crate::timestamp::Timestamp;

/// The shortest time between two refreshes that mismatches cause.
pub const MISMATCH_INTERVAL: Duration = Duration::from_secs(30);

/// The shortest time between a failed call and the same call again.
pub const FAILURE_INTERVAL: Duration = Duration::from_secs(10);

/// The number of failed calls in [`FAILURE_INTERVAL`] while no current version is known. Every delivery needs this call, so
/// it is repeated soon; forgeries cannot drive it beyond this number.
pub const FIRST_CALLS: u8 = 10;

/// The cache believes a noted time that is up to this far ahead of a delivery's time. Deliveries overtake each other and
/// note the times of their calls.
pub const AHEAD: Duration = Duration::from_secs(60);

/// The next step of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The signature matches this version, or no version.
    Answer(Option<Stage>),
    /// The cache cannot tell whether the signature is right, and may not ask now.
    Unavailable,
    /// Ask Secrets Manager for this version.
    Ask(Stage),
    /// Ask Secrets Manager for the current version, because of a mismatch.
    AskOnMismatch,
}

/// The versions that are known, and since when. `S` is a usable secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cache<S> {
    current: Slot<Version<S>>,
    /// The version before the current one.
    previous: Slot<Version<S>>,
    /// The operator may have moved the labels between the last call for the current version and the last call for the
    /// previous version. Then the real current version may be in neither slot.
    labels_may_have_moved: bool,
    /// The time of the last refresh that a mismatch caused.
    mismatch: Option<Timestamp>,
    /// The failed calls while no current version is known: the time of the first one, and their number.
    first_calls: Option<(Timestamp, u8)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Version<S> {
    /// `None` if Secrets Manager named no version.
    id: Option<String>,
    /// `None` if nobody can use the version: missing, denied, malformed, binary or empty.
    secret: Option<S>,
}

/// The knowledge of one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Slot<T> {
    /// The last value.
    value: Option<T>,
    /// The time of the call that brought the value; `None` if the value is past its period already.
    asked: Option<Timestamp>,
    /// The end of the last call, if that call failed.
    failed: Option<Timestamp>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            value: None,
            asked: None,
            failed: None,
        }
    }
}

impl<T> Slot<T> {
    fn fill(&mut self, value: T, asked: Timestamp) {
        *self = Self {
            value: Some(value),
            asked: Some(asked),
            failed: None,
        };
    }

    fn is_within(&self, age: Duration, now: Timestamp) -> bool {
        self.asked.is_some_and(|asked| within(age, asked, now))
    }

    fn failed_within(&self, interval: Duration, now: Timestamp) -> bool {
        self.failed.is_some_and(|then| within(interval, then, now))
    }
}

/// Returns true if `then` is less than `interval` before `now`, or about `now`.
fn within(interval: Duration, then: Timestamp, now: Timestamp) -> bool {
    match now.since(then) {
        Some(age) => age < interval || age.is_zero(),
        None => then.since(now).is_some_and(|lead| lead <= AHEAD),
    }
}

impl<S> Default for Cache<S> {
    fn default() -> Self {
        Self {
            current: Slot::default(),
            previous: Slot::default(),
            labels_may_have_moved: false,
            mismatch: None,
            first_calls: None,
        }
    }
}

impl<S> Cache<S> {
    /// Decides what a delivery does next. `matches` tells whether a secret made the delivery's signature, `period` is
    /// `SECRET_CACHE_SECONDS`, and `now` is the time at which the delivery began.
    ///
    /// Every call that a step asks for changes the cache, so the cache never asks for the same call twice.
    pub fn next(&self, matches: impl Fn(&S) -> bool, period: Duration, now: Timestamp) -> Step {
        let Self {
            current, previous, ..
        } = self;
        let Some(version) = &current.value else {
            let used_up = self
                .first_calls
                .is_some_and(|(since, calls)| calls >= FIRST_CALLS && within(FAILURE_INTERVAL, since, now));
            return if used_up {
                Step::Unavailable
            } else {
                Step::Ask(Stage::Current)
            };
        };
        let is_fresh = current.is_within(period, now);
        let may_ask = !current.failed_within(FAILURE_INTERVAL, now);
        if !is_fresh && may_ask {
            return Step::Ask(Stage::Current);
        }
        if version.secret.as_ref().is_some_and(&matches) {
            return Step::Answer(Some(Stage::Current));
        }

        // Somebody may have revoked a version that is past its period: ask for it before believing it.
        let is_previous_fresh = previous.is_within(period, now);
        if !is_previous_fresh && !previous.failed_within(FAILURE_INTERVAL, now) {
            return Step::Ask(Stage::Previous);
        }
        let previous_secret = previous
            .value
            .as_ref()
            .and_then(|version| version.secret.as_ref());
        if previous_secret.is_some_and(&matches) {
            return Step::Answer(Some(Stage::Previous));
        }

        let asked_for_this_delivery = current.is_within(Duration::ZERO, now) && !self.labels_may_have_moved;
        let asked_on_mismatch = self
            .mismatch
            .is_some_and(|then| within(MISMATCH_INTERVAL, then, now));
        if may_ask && !asked_for_this_delivery && !asked_on_mismatch {
            return Step::AskOnMismatch;
        }
        // After a failed refresh the receiver cannot know whether its versions are the newest, even within their period. Every
        // further mismatch then gets 503 and not 401, until a call succeeds; the limits above still hold, so forgeries drive
        // no calls.
        let has_failed = current.failed.is_some() || previous.failed.is_some();
        let knows_both = is_fresh && is_previous_fresh && !has_failed && !self.labels_may_have_moved;
        if knows_both && version.secret.is_some() {
            Step::Answer(None)
        } else {
            Step::Unavailable
        }
    }

    /// Notes that a mismatch causes a refresh at `now`.
    pub fn note_mismatch(&mut self, now: Timestamp) {
        self.mismatch = Some(now);
    }

    /// Notes the current version that a call at `asked` brought; its secret is `None` if the version is unusable.
    ///
    /// Another current version has another previous version. That is probably the version that was current before, so the
    /// old secret serves if the call for the previous version fails; it is past its period, so that the call comes first.
    pub fn put_current(&mut self, id: String, secret: Option<S>, asked: Timestamp) {
        let id = Some(id);
        let is_in = |slot: &Slot<Version<S>>| slot.value.as_ref().is_some_and(|known| known.id == id);
        if !is_in(&self.current) {
            self.previous = Slot {
                value: self.current.value.take(),
                ..Slot::default()
            };
        } else if is_in(&self.previous) {
            // The labels moved and moved back between these calls, so the previous version is another one by now.
            (self.previous.value, self.previous.asked) = (None, None);
        }
        self.labels_may_have_moved = false;
        self.first_calls = None;
        self.current.fill(Version { id, secret }, asked);
    }

    /// Returns true if the cache holds a current version, usable or not.
    pub fn has_current(&self) -> bool {
        self.current.value.is_some()
    }

    /// Notes the previous version that a call at `asked` brought. The secret is `None` if there is no usable previous version,
    /// and the id is `None` if the answer named no version.
    ///
    /// An operator who makes the previous version the current one again swaps the labels. If that happens after the last call
    /// for the current version, the previous version now is the one that the cache holds as the current one, or nothing if
    /// the operator has revoked it as well.
    pub fn put_previous(&mut self, id: Option<String>, secret: Option<S>, asked: Timestamp) {
        let had_no_previous = self.previous.asked.is_some()
            && self
                .previous
                .value
                .as_ref()
                .is_some_and(|version| version.secret.is_none());
        self.labels_may_have_moved |= match id {
            Some(_) => self.current.value.as_ref().is_some_and(|known| known.id == id),
            None => !had_no_previous,
        };
        self.previous.fill(Version { id, secret }, asked);
    }

    /// Notes that the call for a version failed at `now`. Without any current version the delivery then ends, since the next
    /// step would be the same call.
    pub fn note_failure(&mut self, stage: Stage, now: Timestamp) {
        match stage {
            Stage::Current => {
                self.current.failed = Some(now);
                self.first_calls = match self.first_calls {
                    Some((since, calls)) if within(FAILURE_INTERVAL, since, now) => {
                        Some((since, calls.saturating_add(1)))
                    }
                    _ => Some((now, 1)),
                };
            }
            Stage::Previous => self.previous.failed = Some(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(300);
    const FORGED: u8 = 99;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    fn next(cache: &Cache<u8>, secret: u8, second: i64) -> Step {
        cache.next(|known| *known == secret, PERIOD, at(second))
    }

    fn put_current(cache: &mut Cache<u8>, secret: u8, second: i64) {
        cache.put_current(secret.to_string(), Some(secret), at(second));
    }

    fn put_previous(cache: &mut Cache<u8>, secret: u8, second: i64) {
        cache.put_previous(Some(secret.to_string()), Some(secret), at(second));
    }

    /// A cache that has served version 0, and has just learned of version 1.
    fn rotated(second: i64) -> Cache<u8> {
        let mut cache = Cache::default();
        put_current(&mut cache, 0, 0);
        put_current(&mut cache, 1, second);
        cache
    }

    #[test]
    fn the_secret_that_was_current_serves_while_the_call_for_the_previous_version_fails() {
        let mut cache = rotated(300);
        assert_eq!(next(&cache, 0, 300), Step::Ask(Stage::Previous));
        cache.note_failure(Stage::Previous, at(300));
        assert_eq!(next(&cache, 0, 300), Step::Answer(Some(Stage::Previous)));
        assert_eq!(next(&cache, FORGED, 300), Step::Unavailable);
        // The operator has revoked version 0.
        assert_eq!(next(&cache, 0, 310), Step::Ask(Stage::Previous));
        cache.put_previous(None, None, at(310));
        assert_eq!(next(&cache, 0, 310), Step::AskOnMismatch);
        cache.note_mismatch(at(310));
        put_current(&mut cache, 1, 310);
        assert_eq!(next(&cache, 0, 310), Step::Answer(None));
    }

    /// The two answers of a delivery that comes while the operator makes version 0 the current one again: version 1 at
    /// `AWSCURRENT`, then version 1 at `AWSPREVIOUS`, or nothing there if the operator has revoked version 1.
    #[test]
    fn labels_that_move_between_two_calls_cause_another_call_or_503_and_no_401() {
        for is_revoked in [false, true] {
            for is_known in [false, true] {
                let mut cache = Cache::default();
                if is_known {
                    put_current(&mut cache, 0, 0);
                }
                put_current(&mut cache, 1, 300);
                let move_back = |cache: &mut Cache<u8>, second| match is_revoked {
                    true => cache.put_previous(None, None, at(second)),
                    false => put_previous(cache, 1, second),
                };
                move_back(&mut cache, 300);
                assert_eq!(
                    next(&cache, 0, 300),
                    Step::AskOnMismatch,
                    "{is_revoked} {is_known}"
                );
                cache.note_mismatch(at(300));
                put_current(&mut cache, 0, 300);
                assert_eq!(next(&cache, 0, 300), Step::Answer(Some(Stage::Current)));

                // It happens again within 30 s, so the limit forbids the call.
                put_current(&mut cache, 1, 310);
                move_back(&mut cache, 310);
                for secret in [0, FORGED] {
                    assert_eq!(next(&cache, secret, 310), Step::Unavailable);
                }
                assert_eq!(next(&cache, 0, 330), Step::AskOnMismatch);
            }
        }
    }

    #[test]
    fn labels_that_move_and_move_back_cause_another_call_for_the_previous_version() {
        let mut cache = Cache::default();
        put_current(&mut cache, 0, 0);
        // The operator has put version 1, and a call for the current version fails.
        cache.note_failure(Stage::Current, at(300));
        put_previous(&mut cache, 0, 301);
        assert_eq!(next(&cache, 1, 301), Step::Unavailable);
        // The operator has made version 0 the current one again.
        put_current(&mut cache, 0, 310);
        assert_eq!(next(&cache, 1, 310), Step::Ask(Stage::Previous));
        put_previous(&mut cache, 1, 310);
        assert_eq!(next(&cache, 1, 310), Step::Answer(Some(Stage::Previous)));
    }

    #[test]
    fn a_secret_without_a_previous_version_causes_one_more_call_once() {
        let mut cache = Cache::default();
        put_current(&mut cache, 0, 0);
        cache.put_previous(None, None, at(0));
        assert_eq!(next(&cache, FORGED, 0), Step::AskOnMismatch);
        cache.note_mismatch(at(0));
        put_current(&mut cache, 0, 0);
        assert_eq!(next(&cache, FORGED, 0), Step::Answer(None));
        // A further answer of the same kind is no news.
        put_current(&mut cache, 0, 300);
        assert_eq!(next(&cache, FORGED, 300), Step::Ask(Stage::Previous));
        cache.put_previous(None, None, at(300));
        assert_eq!(next(&cache, FORGED, 300), Step::Answer(None));
    }

    #[test]
    fn a_previous_version_that_is_gone_causes_another_call() {
        let mut cache = Cache::default();
        put_current(&mut cache, 1, 0);
        put_previous(&mut cache, 0, 0);
        put_current(&mut cache, 1, 300);
        assert_eq!(next(&cache, FORGED, 300), Step::Ask(Stage::Previous));
        cache.put_previous(None, None, at(300));
        assert_eq!(next(&cache, FORGED, 300), Step::AskOnMismatch);
    }

    #[test]
    fn each_interval_allows_ten_calls_that_fail_while_no_version_is_known() {
        let mut cache = Cache::default();
        for begin in [0, 10, 20] {
            for _ in 0..FIRST_CALLS {
                assert_eq!(next(&cache, 0, begin), Step::Ask(Stage::Current), "{begin}");
                cache.note_failure(Stage::Current, at(begin));
            }
            assert_eq!(next(&cache, 0, begin), Step::Unavailable, "{begin}");
            assert_eq!(next(&cache, 0, begin + 9), Step::Unavailable, "{begin}");
        }
    }
}
