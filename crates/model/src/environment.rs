//! A Lambda environment's knowledge of the secret: the receiver's own cache, and the calls that it asks for.

use std::time::Duration;

use sonotheia_webhook::secrets::Stage;
use sonotheia_webhook::secrets::cache::{Cache, Step};
use sonotheia_webhook::timestamp::Timestamp;

use crate::secrets_manager::SecretsManager;

/// The id of no version.
const NO_VERSION: &str = "no version";

/// The version that signed a delivery; `None` for a forgery.
pub type Signature = Option<u8>;

/// How the model's time becomes the cache's time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The seconds of a tick.
    pub tick: u8,
    /// `SECRET_CACHE_SECONDS`, in ticks.
    pub period: u8,
}

impl Clock {
    fn at(self, tick: u8) -> Timestamp {
        Timestamp::from_millis(i64::from(tick) * i64::from(self.tick) * 1000)
    }

    fn period(self) -> Duration {
        Duration::from_secs(u64::from(self.tick) * u64::from(self.period))
    }
}

/// The result of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The signature matches the version at this label.
    Accept { previous: bool },
    /// 401
    Reject,
    /// 503
    Unavailable,
}

/// What a verification does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Answer(Verdict),
    Ask(Step),
}

/// How an environment uses the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// As the receiver does.
    Receiver,
    /// An unusable current version is a failed call. The receiver did this once, and never tried the previous version.
    UnusableIsAFailure,
    /// A current version removes the secret that was current before. The receiver did this once.
    ForgetsTheOldSecret,
    /// The cache does not learn which version the previous one is, so it cannot see that the labels moved. The receiver did
    /// this once.
    HidesTheId,
}

/// The knowledge of one environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Environment {
    cache: Cache<u8>,
    /// The tick of the last call that failed.
    failed: Option<u8>,
}

/// The call that a step asks for.
pub fn stage(step: Step) -> Stage {
    match step {
        Step::Ask(stage) => stage,
        _ => Stage::Current,
    }
}

impl Environment {
    /// The next step of a delivery that began at `began`.
    pub fn next(&self, signature: Signature, clock: Clock, began: u8) -> Next {
        let matches = |secret: &u8| Some(*secret) == signature;
        match self.cache.next(matches, clock.period(), clock.at(began)) {
            Step::Answer(Some(stage)) => Next::Answer(Verdict::Accept {
                previous: stage == Stage::Previous,
            }),
            Step::Answer(None) => Next::Answer(Verdict::Reject),
            Step::Unavailable => Next::Answer(Verdict::Unavailable),
            step => Next::Ask(step),
        }
    }

    /// Makes a call that began at `asked` and ends now. `manager` is `None` if Secrets Manager is down. Returns a verdict if
    /// the failure of the call is the end of the verification, as in `Managed::verify`.
    pub fn ask(
        &mut self,
        step: Step,
        manager: Option<&SecretsManager>,
        clock: Clock,
        [began, asked, now]: [u8; 3],
        how: Use,
    ) -> Option<Verdict> {
        if manager.is_none() {
            self.failed = Some(now);
        }
        if step == Step::AskOnMismatch {
            self.cache.note_mismatch(clock.at(began));
        }
        let stage = stage(step);
        let found = manager.map(|manager| match stage {
            Stage::Current => Some(manager.current()),
            Stage::Previous => manager.previous(),
        });
        let usable = |number: &u8| manager.is_some_and(|manager| manager.version(*number).is_usable);
        match (stage, found) {
            (Stage::Current, Some(Some(number))) if how != Use::UnusableIsAFailure || usable(&number) => {
                if how == Use::ForgetsTheOldSecret {
                    self.cache
                        .put_current(NO_VERSION.to_owned(), None, clock.at(asked));
                }
                let secret = usable(&number).then_some(number);
                self.cache
                    .put_current(number.to_string(), secret, clock.at(asked));
            }
            (Stage::Previous, Some(number)) => {
                let id = match how {
                    Use::HidesTheId => Some(NO_VERSION.to_owned()),
                    _ => number.map(|number| number.to_string()),
                };
                let secret = number.filter(usable);
                self.cache.put_previous(id, secret, clock.at(asked));
            }
            _ => {
                self.cache.note_failure(stage, clock.at(now));
                if !self.cache.has_current() {
                    return Some(Verdict::Unavailable);
                }
            }
        }
        None
    }

    /// Returns true if a call failed in this tick or later, so that the receiver may not make the same call again.
    pub fn failed_since(&self, tick: u8) -> bool {
        self.failed.is_some_and(|failed| failed >= tick)
    }
}
