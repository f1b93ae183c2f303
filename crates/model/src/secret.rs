//! The secret as a state machine: one environment's cache, Secrets Manager, an operator, a sender and a forger.
//!
//! The operator puts versions, also unusable ones, moves `AWSCURRENT` back, and revokes the previous version. Secrets Manager
//! is up or down at each call. Labels move and time goes on while a call is under way. The environment may die. Deliveries
//! come signed with every version there ever was, or forged; some wait for their turn and verify late.
//!
//! The operator makes only the previous version the current one again, and does so once. Two moves back and a revocation
//! within a cache period can lead to a 401 for a good signature: the calls that the contract allows are too few to see them.
//!
//! Environments share nothing, so one environment shows all that several can do.

mod calls;
mod invariants;

use std::fmt;

use stateright::{Model, Property};

use crate::environment::{Clock, Environment, Next, Signature, Use, Verdict, stage};
use crate::secrets_manager::SecretsManager;
use calls::Calls;
pub use invariants::INVARIANTS;

/// The receiver and the sender, or a change of them that is known to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The receiver's cache, and a sender that waits for a cache period before it uses a new version.
    Receiver,
    /// The sender uses a new version at once.
    SenderDoesNotWait,
    /// The receiver believes a version for two cache periods.
    TwoPeriods,
    /// The receiver uses the cache in another way.
    Uses(Use),
}

/// The bounds of the state machine.
#[derive(Clone, Copy, Debug)]
pub struct World {
    pub rule: Rule,
    pub clock: Clock,
    /// Ticks after the start.
    pub ticks: u8,
    /// The number of versions that the operator puts.
    pub puts: u8,
    /// How often the operator moves the label `AWSCURRENT` back.
    pub moves: u8,
}

/// The verification of one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Verification {
    signature: Signature,
    began: u8,
    /// The tick in which the call that is under way began.
    asked: u8,
    /// The number of calls so far.
    made: u8,
    /// The receiver has to accept it, unless a fault prevents that.
    is_promised: bool,
    /// A call failed, or had failed so lately that the receiver may not ask again.
    is_disturbed: bool,
    /// The operator moved the labels back less than 30 s before. The receiver may have asked just before that, and may not
    /// ask again.
    is_move_recent: bool,
    verdict: Option<Verdict>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    now: u8,
    manager: SecretsManager,
    environment: Environment,
    calls: Calls,
    /// The versions that the environment has held as the current one since they have a label, as a set of bits. A version
    /// that becomes the current one again is not among them: the environment may know it as the previous one only, and learn
    /// that it is not the previous one any more.
    held: u8,
    moved: u8,
    /// The tick of the last move.
    moved_at: Option<u8>,
    verification: Option<Verification>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Tick,
    Put { is_usable: bool },
    MoveBack,
    Revoke,
    Crash,
    Begin { signature: Signature, began: u8 },
    Call { is_up: bool },
    Reply,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tick => f.write_str("time goes on"),
            Self::Put { is_usable: true } => f.write_str("the operator puts a new version"),
            Self::Put { is_usable: false } => f.write_str("the operator puts an unusable version"),
            Self::MoveBack => f.write_str("the operator makes the previous version the current one again"),
            Self::Revoke => f.write_str("the operator revokes the previous version"),
            Self::Crash => f.write_str("the environment dies"),
            Self::Begin {
                signature: Some(number),
                began,
            } => write!(
                f,
                "a delivery of tick {began} begins, signed with version {number}"
            ),
            Self::Begin {
                signature: None,
                began,
            } => write!(f, "a delivery of tick {began} begins, forged"),
            Self::Call { is_up: true } => f.write_str("Secrets Manager answers the call"),
            Self::Call { is_up: false } => f.write_str("Secrets Manager fails the call"),
            Self::Reply => f.write_str("the receiver answers the delivery"),
        }
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            clock: Clock { tick, period },
            ticks,
            puts,
            moves,
            ..
        } = self;
        write!(
            f,
            "the secret: {ticks} ticks of {tick} s, a cache period of {period}, {puts} new versions, {moves} moves back"
        )
    }
}

impl World {
    /// The tick in which the state machine starts: version 0 is as old as the sender's wait by then.
    const fn start(&self) -> u8 {
        self.clock.period
    }

    /// The clock that the cache lives by.
    fn cache_clock(&self) -> Clock {
        let periods = if self.rule == Rule::TwoPeriods { 2 } else { 1 };
        Clock {
            period: self.clock.period * periods,
            ..self.clock
        }
    }

    fn sender_waits(&self) -> u8 {
        match self.rule {
            Rule::SenderDoesNotWait => 0,
            _ => self.clock.period,
        }
    }

    fn how(&self) -> Use {
        match self.rule {
            Rule::Uses(how) => how,
            _ => Use::Receiver,
        }
    }

    fn next(&self, state: &State) -> Option<Next> {
        let verification = state.verification.filter(|v| v.verdict.is_none())?;
        let Verification { signature, began, .. } = verification;
        Some(state.environment.next(signature, self.cache_clock(), began))
    }

    fn begin(&self, state: &mut State, signature: Signature, began: u8) {
        let is_promised =
            signature.is_some_and(|number| state.manager.is_promised(number, self.sender_waits(), began));
        state.verification = Some(Verification {
            signature,
            began,
            asked: state.now,
            made: 0,
            is_promised,
            is_disturbed: state.environment.failed_since(began),
            is_move_recent: state
                .moved_at
                .is_some_and(|then| then + calls::mismatch(self.clock) > began),
            verdict: None,
        });
        self.settle(state);
    }

    /// Notes the verdict if the verification needs no call.
    fn settle(&self, state: &mut State) {
        if let (Some(Next::Answer(verdict)), now) = (self.next(state), state.now)
            && let Some(verification) = &mut state.verification
        {
            verification.verdict = Some(verdict);
            verification.asked = now;
        }
    }

    fn call(&self, state: &mut State, is_up: bool) -> Option<()> {
        let Some(Next::Ask(step)) = self.next(state) else {
            return None;
        };
        let State { now, manager, .. } = state;
        let verification = state.verification.as_mut()?;
        let Verification { began, asked, .. } = *verification;
        state.calls.note(
            stage(step),
            is_up.then_some(&*manager),
            self.clock,
            [began, asked, *now],
        );
        if is_up && stage(step) == sonotheia_webhook::secrets::Stage::Current {
            state.held |= bit(manager.current());
        }
        let manager = is_up.then_some(&*manager);
        let times = [began, asked, *now];
        verification.verdict = state
            .environment
            .ask(step, manager, self.cache_clock(), times, self.how());
        verification.made += 1;
        verification.is_disturbed |= !is_up;
        verification.asked = *now;
        if verification.verdict.is_none() {
            self.settle(state);
        }
        Some(())
    }

    /// Forgets the promises that end with the labels.
    fn labels_changed(&self, state: &mut State) {
        for number in 0..state.manager.count() {
            if state.manager.version(number).labelled.is_none() {
                state.held &= !bit(number);
            }
        }
        if let Some(verification) = &mut state.verification
            && let Some(number) = verification.signature
        {
            verification.is_promised &= state.manager.version(number).labelled.is_some();
        }
    }
}

/// The version's place in a set of bits.
const fn bit(number: u8) -> u8 {
    1 << number
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: self.start(),
            manager: SecretsManager::new(),
            environment: Environment::default(),
            calls: Calls::default(),
            held: 0,
            moved: 0,
            moved_at: None,
            verification: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let verification = state.verification;
        if verification.is_some_and(|v| v.verdict.is_some()) {
            actions.push(Action::Reply);
            return;
        }
        // A verification takes less than a tick, so it meets at most one end of a tick.
        let is_late = verification.is_some_and(|v| v.began < state.now);
        if state.now < self.start() + self.ticks && !is_late {
            actions.push(Action::Tick);
        }
        if state.manager.count() <= self.puts {
            actions.extend([true, false].map(|is_usable| Action::Put { is_usable }));
        }
        if state.manager.previous().is_some() {
            actions.push(Action::Revoke);
            if state.moved < self.moves {
                actions.push(Action::MoveBack);
            }
        }
        if verification.is_some() {
            actions.extend([true, false].map(|is_up| Action::Call { is_up }));
            return;
        }
        if state.environment != Environment::default() {
            actions.push(Action::Crash);
        }
        let usable = (0..state.manager.count()).filter(|number| state.manager.version(*number).is_usable);
        for signature in usable.map(Some).chain([None]) {
            for began in [state.now, (state.now - 1).max(self.start())] {
                actions.push(Action::Begin { signature, began });
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Tick => {
                state.now += 1;
                // The earliest delivery from now on is of the tick before this one.
                state.manager.forget_before(state.now - 1 - self.clock.period);
                let interval = calls::mismatch(self.clock);
                state.moved_at = state.moved_at.filter(|then| then + interval >= state.now);
            }
            Action::Put { is_usable } => {
                state.manager.put(is_usable, state.now);
                self.labels_changed(&mut state);
            }
            Action::MoveBack => {
                let number = state.manager.move_back(self.sender_waits(), state.now)?;
                state.moved += 1;
                state.moved_at = Some(state.now);
                if let Some(verification) = &mut state.verification {
                    verification.is_move_recent = true;
                }
                state.held &= !bit(number);
                self.labels_changed(&mut state);
            }
            Action::Revoke => {
                state.manager.revoke(state.now);
                self.labels_changed(&mut state);
            }
            Action::Crash => {
                state.environment = Environment::default();
                state.calls = Calls::default();
                state.held = 0;
            }
            Action::Begin { signature, began } => self.begin(&mut state, signature, began),
            Action::Call { is_up } => self.call(&mut state, is_up)?,
            Action::Reply => state.verification = None,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        invariants::properties()
    }
}
