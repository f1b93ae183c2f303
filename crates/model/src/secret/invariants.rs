//! The promises about the secret.

use stateright::Property;

use super::{State, Verification, World, bit};
use crate::environment::Verdict;

/// The names of the promises.
pub struct Invariants {
    pub accepted: &'static str,
    pub never_401: &'static str,
    pub last_good: &'static str,
    pub forged: &'static str,
    pub revoked: &'static str,
    pub known: &'static str,
    pub calls: &'static str,
}

pub const INVARIANTS: Invariants = Invariants {
    accepted: "without a fault or a move back, the current and the previous secret are accepted",
    never_401: "the current and the previous secret never get 401",
    last_good: "a secret that served as the current one serves while Secrets Manager fails",
    forged: "a forgery is never accepted",
    revoked: "without a fault, a revoked secret is out of use after a cache period",
    known: "401 only if both versions are known, no call failed since, and the current one is usable",
    calls: "no call beyond the limits of the contract",
};

/// The most calls of one verification: the current version, the previous one, and both again after a mismatch.
const MOST_CALLS: u8 = 4;

/// The verification that has its verdict, if there is one.
fn judged(state: &State) -> Option<(Verification, Verdict)> {
    let verification = state.verification?;
    Some((verification, verification.verdict?))
}

const fn is_accepted(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Accept { .. })
}

pub fn properties() -> Vec<Property<World>> {
    vec![
        Property::always(INVARIANTS.accepted, |_, state: &State| {
            judged(state).is_none_or(|(verification, verdict)| {
                let is_excused = verification.is_disturbed || verification.is_move_recent;
                !verification.is_promised || is_excused || is_accepted(verdict)
            })
        }),
        Property::always(INVARIANTS.never_401, |_, state: &State| {
            judged(state)
                .is_none_or(|(verification, verdict)| !verification.is_promised || verdict != Verdict::Reject)
        }),
        Property::always(INVARIANTS.last_good, |_, state: &State| {
            judged(state).is_none_or(|(verification, verdict)| {
                let is_held = verification
                    .signature
                    .is_some_and(|number| state.held & bit(number) != 0);
                !(verification.is_promised && is_held) || is_accepted(verdict)
            })
        }),
        Property::always(INVARIANTS.forged, |_, state: &State| {
            judged(state).is_none_or(|(verification, verdict)| {
                verification.signature.is_some() || !is_accepted(verdict)
            })
        }),
        Property::always(INVARIANTS.revoked, |world: &World, state: &State| {
            judged(state).is_none_or(|(verification, verdict)| {
                let is_revoked = verification.signature.is_some_and(|number| {
                    let lost = state.manager.version(number).lost;
                    lost.is_some_and(|lost| lost + world.clock.period <= verification.began)
                });
                !is_revoked || verification.is_disturbed || !is_accepted(verdict)
            })
        }),
        Property::always(INVARIANTS.known, |world: &World, state: &State| {
            judged(state).is_none_or(|(verification, verdict)| {
                verdict != Verdict::Reject || state.calls.know_both(world.clock.period, verification.began)
            })
        }),
        Property::always(INVARIANTS.calls, |_, state: &State| {
            let made = state.verification.map_or(0, |verification| verification.made);
            !state.calls.is_over_limit && made <= MOST_CALLS
        }),
        Property::sometimes("a forgery gets 401", |_, state: &State| {
            judged(state).is_some_and(|(verification, verdict)| {
                verification.signature.is_none() && verdict == Verdict::Reject
            })
        }),
        Property::sometimes(
            "a forgery gets 503, because the current version is unusable",
            |_, state: &State| {
                judged(state).is_some_and(|(verification, verdict)| {
                    let current = state.manager.version(state.manager.current());
                    verification.signature.is_none()
                        && verdict == Verdict::Unavailable
                        && !verification.is_disturbed
                        && !current.is_usable
                })
            },
        ),
        Property::sometimes(
            "the previous version serves beside an unusable current one",
            |_, state: &State| {
                judged(state).is_some_and(|(_, verdict)| {
                    let current = state.manager.version(state.manager.current());
                    verdict == (Verdict::Accept { previous: true }) && !current.is_usable
                })
            },
        ),
        Property::sometimes(
            "a secret serves while Secrets Manager fails",
            |_, state: &State| {
                judged(state)
                    .is_some_and(|(verification, verdict)| verification.is_disturbed && is_accepted(verdict))
            },
        ),
        Property::sometimes("a revoked secret gets 401", |_, state: &State| {
            judged(state).is_some_and(|(verification, verdict)| {
                let version = verification.signature.map(|number| state.manager.version(number));
                version.is_some_and(|version| version.lost.is_some()) && verdict == Verdict::Reject
            })
        }),
    ]
}
