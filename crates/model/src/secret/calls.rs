//! The limits of the contract's section 5, as a meter of an environment's calls. It knows the calls and nothing of the cache.

use sonotheia_webhook::secrets::Stage;

use crate::environment::Clock;
use crate::secrets_manager::SecretsManager;

/// The least time between two refreshes because of mismatches, in seconds.
const MISMATCH: u8 = 30;
/// The least time between a failed call and the same call again, in seconds.
const FAILURE: u8 = 10;

/// The least time between two refreshes because of mismatches, in ticks.
pub fn mismatch(clock: Clock) -> u8 {
    MISMATCH.div_ceil(clock.tick)
}

/// The calls of one environment so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Calls {
    /// The last call for the current version that succeeded: the tick, the version, and whether it is usable.
    current: Option<(u8, u8, bool)>,
    /// The last call for the previous version of this current version and cache period that succeeded.
    previous: Option<u8>,
    /// The tick of the last failure of each call, if nothing has succeeded since.
    failed: [Option<u8>; 2],
    /// The start of the last delivery that caused a further call for the current version.
    mismatch: Option<u8>,
    /// A call had none of the contract's reasons.
    pub is_over_limit: bool,
}

impl Calls {
    /// Returns true if the environment knows both versions of the last cache period, the last calls succeeded, and the
    /// current version is usable. Only then it can call a signature wrong.
    pub fn know_both(&self, period: u8, began: u8) -> bool {
        let is_fresh = |asked: u8| asked + period > began;
        self.current
            .is_some_and(|(asked, _, is_usable)| is_usable && is_fresh(asked))
            && self.previous.is_some_and(is_fresh)
            && self.failed == [None, None]
    }

    /// Notes a call of a delivery that began at `began`. The call began at `asked` and ends now; `manager` is `None` if it
    /// failed.
    pub fn note(
        &mut self,
        stage: Stage,
        manager: Option<&SecretsManager>,
        clock: Clock,
        [began, asked, now]: [u8; 3],
    ) {
        let ticks = |seconds: u8| seconds.div_ceil(clock.tick);
        let failed = &mut self.failed[usize::from(stage == Stage::Previous)];
        let is_retry = failed.is_some_and(|failed| failed + ticks(FAILURE) <= began);
        let is_held_off = failed.is_some() && !is_retry;
        *failed = manager.is_none().then_some(now);
        match stage {
            Stage::Current => {
                let is_new_period = self
                    .current
                    .is_none_or(|(asked, ..)| asked + clock.period <= began);
                if !is_new_period && !is_retry {
                    let is_allowed = self.mismatch.is_none_or(|then| then + ticks(MISMATCH) <= began);
                    self.is_over_limit |= !is_allowed;
                    self.mismatch = Some(began);
                }
                // Without any current version every delivery needs this call, and the limit is a number of calls.
                self.is_over_limit |= is_held_off && self.current.is_some();
                if let Some(manager) = manager {
                    let number = manager.current();
                    // The period of the previous version counts from its own call, which may end after the current one's.
                    if self.current.is_none_or(|(_, known, _)| known != number) {
                        (self.previous, self.failed[1]) = (None, None);
                    }
                    self.current = Some((asked, number, manager.version(number).is_usable));
                }
            }
            Stage::Previous => {
                let is_new_period = self.previous.is_none_or(|asked| asked + clock.period <= began);
                self.is_over_limit |= is_held_off || !is_new_period;
                if let Some(manager) = manager {
                    // An answer that names the known current version comes from labels that have moved, so it says nothing.
                    let known = self.current.map(|(_, number, _)| number);
                    let is_answer = manager.previous().is_none() || manager.previous() != known;
                    self.previous = is_answer.then_some(asked);
                }
            }
        }
    }
}
