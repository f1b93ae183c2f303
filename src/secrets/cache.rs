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
//! While calls fail, the last good version serves, whatever its age. A previous version that is missing, unusable or
//! denied is not a failure: for a cache period there is no previous secret. A current version that is unusable counts as
//! missing, so the previous version serves.
//!
//! The cache calls a signature wrong only if it knows both versions of the last cache period, the last call for each of them
//! succeeded, and the current version is usable. Otherwise the sender may have a newer secret, so the delivery gets an error
//! that the sender retries.

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
/// note the times of their calls, and somebody may set the clock back.
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
    /// The version before the current one. The value is `None` if there is no usable previous version.
    previous: Slot<Option<S>>,
    /// The time of the last refresh that a mismatch caused.
    mismatch: Option<Timestamp>,
    /// The failed calls while no current version is known: the time of the first one, and their number.
    first_calls: Option<(Timestamp, u8)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Version<S> {
    id: String,
    /// `None` if nobody can use the version: malformed, binary or empty.
    secret: Option<S>,
}

/// The knowledge of one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Slot<T> {
    /// The last value, and the time of the call that brought it.
    held: Option<(T, Timestamp)>,
    /// The end of the last call, if that call failed.
    failed: Option<Timestamp>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        let (held, failed) = (None, None);
        Self { held, failed }
    }
}

impl<T> Slot<T> {
    fn fill(&mut self, value: T, asked: Timestamp) {
        self.held = Some((value, asked));
        self.failed = None;
    }

    fn value(&self) -> Option<&T> {
        self.held.as_ref().map(|(value, _)| value)
    }

    fn is_within(&self, age: Duration, now: Timestamp) -> bool {
        self.held
            .as_ref()
            .is_some_and(|(_, asked)| within(age, *asked, now))
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
        let Some(version) = current.value() else {
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
        if let Some(Some(secret)) = previous.value()
            && matches(secret)
        {
            return Step::Answer(Some(Stage::Previous));
        }

        let asked_for_this_delivery = current.is_within(Duration::ZERO, now);
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
        if is_fresh && is_previous_fresh && !has_failed && version.secret.is_some() {
            Step::Answer(None)
        } else {
            Step::Unavailable
        }
    }

    /// Notes that a mismatch causes a refresh at `now`.
    pub fn note_mismatch(&mut self, now: Timestamp) {
        self.mismatch = Some(now);
    }

    /// Notes the current version that a call at `asked` brought; its secret is `None` if the version is unusable. Another
    /// current version has another previous version.
    pub fn put_current(&mut self, id: String, secret: Option<S>, asked: Timestamp) {
        if self.current.value().is_none_or(|known| known.id != id) {
            self.previous = Slot::default();
        }
        self.first_calls = None;
        self.current.fill(Version { id, secret }, asked);
    }

    /// Returns true if the cache holds a current version, usable or not.
    pub fn has_current(&self) -> bool {
        self.current.held.is_some()
    }

    /// Notes the previous version that a call at `asked` brought; `None` if there is no usable previous version.
    pub fn put_previous(&mut self, secret: Option<S>, asked: Timestamp) {
        self.previous.fill(secret, asked);
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
