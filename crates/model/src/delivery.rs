//! The delivery of events as a state machine: the receiver's protocol and the world around it.
//!
//! The world: a sender that delivers an event again and again, also at the same time; another event with the same id; a
//! forger; requests that are lost or late; two Lambda environments, each with its own cache of the secret, that may die at
//! any moment; the SDK, which sends a write twice if no answer comes; DynamoDB, which executes a request late, fails it, or
//! executes it and loses the answer; TTL, which deletes an expired item at any later time or never; Secrets Manager, which
//! may be down, and whose secret the operator rotates.
//!
//! Time is in ticks. A request to the receiver, with all that it causes, may begin in one tick and end in the next, but it
//! takes no longer: see [`Action::Tick`].

mod action;
mod invariants;
mod protocol;

use stateright::{Model, Property};

use crate::environment::{Clock, Environment, Signature, Verdict};
use crate::secrets_manager::SecretsManager;
pub use action::{Action, AnswerIs};
pub use invariants::INVARIANTS;
pub use protocol::Protocol;

/// How long the table keeps a record, and how old a signed time may be.
const RETENTION: u8 = 2;
/// The last tick. Every record can expire and be deleted before it.
const END: u8 = 4;
/// How often the SDK sends a request. (The receiver's SDK makes three attempts; the third one adds nothing new.)
const ATTEMPTS: u8 = 2;
const ENVIRONMENTS: usize = 2;
/// A tick is a cache period of the secret.
const CLOCK: Clock = Clock { tick: 60, period: 1 };

/// The content of a delivery. All contents have the same event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// An event of tick 0.
    Event,
    /// An event of tick 2 with the same id and other data.
    Other,
    /// The work of somebody who has no secret.
    Forged,
}

impl Body {
    /// The signed time.
    const fn time(self) -> u8 {
        match self {
            Self::Event | Self::Forged => 0,
            Self::Other => 2,
        }
    }
}

/// The state of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    Unsent,
    OnItsWay(Signature),
    /// In an environment, which waits for DynamoDB.
    Running {
        environment: usize,
        /// The tick in which it began, which is its time of receipt.
        began: u8,
        /// The place of its request to DynamoDB in the protocol.
        step: u8,
        attempt: u8,
        /// It met a fault, or another delivery was at work beside it.
        disturbed: bool,
    },
    /// The receiver has answered. The receiver does not see whether the answer reaches the sender.
    Answered(Answer),
    /// Lost on the way, or with its environment.
    Lost,
}

/// The answer to a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// 200, `duplicate: false`
    New,
    /// 200, `duplicate: true`
    Duplicate,
    /// 409
    Conflict,
    /// 400 `event_too_old`
    TooOld,
    /// 401. `wrongly` if the receiver had to accept the signature.
    Rejected { wrongly: bool },
    /// 503. `disturbed` if a fault was the reason.
    Unavailable { disturbed: bool },
}

/// A request to DynamoDB that has not arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Request {
    delivery: usize,
    began: u8,
    step: u8,
    attempt: u8,
}

/// The item under the event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Item {
    /// A wrong protocol's claim.
    Claim {
        by: usize,
    },
    Record {
        body: Body,
        expires: u8,
        token: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    now: u8,
    manager: SecretsManager,
    environments: [Environment; ENVIRONMENTS],
    deliveries: Vec<Delivery>,
    /// In order, so that the same requests are the same state.
    network: Vec<Request>,
    item: Option<Item>,
    /// For the invariants: each body that was stored while it had no record, and the delivery that stored it.
    stored: Vec<(Body, usize)>,
    /// For the invariants: a write replaced a record.
    changed: bool,
}

/// The state machine's bounds.
pub struct World {
    pub protocol: Protocol,
    /// The deliveries that there may be. The sender sends those of one body in this order.
    pub bodies: &'static [Body],
    /// How often the operator rotates the secret at most.
    pub rotations: u8,
}

impl State {
    fn is_idle(&self, environment: usize) -> bool {
        !self
            .deliveries
            .iter()
            .any(|delivery| matches!(delivery, Delivery::Running { environment: e, .. } if *e == environment))
    }

    fn send(&mut self, request: Request) {
        let at = self.network.partition_point(|other| *other < request);
        self.network.insert(at, request);
    }

    /// Notes for each running delivery that something else happens beside it.
    fn disturb(&mut self) {
        let running = self
            .deliveries
            .iter()
            .filter(|delivery| matches!(delivery, Delivery::Running { .. }))
            .count();
        let strays = self.network.len() > running;
        for delivery in &mut self.deliveries {
            if let Delivery::Running { disturbed, .. } = delivery {
                *disturbed |= running > 1 || strays;
            }
        }
    }
}

impl World {
    /// An environment verifies a delivery, and sends its first request to DynamoDB.
    fn start(&self, state: &mut State, delivery: usize, environment: usize, is_up: bool) {
        let Delivery::OnItsWay(signature) = state.deliveries[delivery] else {
            return;
        };
        let (body, now) = (self.bodies[delivery], state.now);
        let environments = &mut state.environments;
        let is_down = !is_up || environments[environment].failed_since(now);
        let is_promised =
            signature.is_some_and(|number| state.manager.is_promised(number, CLOCK.period, now));
        let manager = is_up.then_some(&state.manager);
        let verdict = environments[environment].verify(signature, manager, CLOCK, now);
        state.deliveries[delivery] = match verdict {
            Verdict::Unavailable => Delivery::Answered(Answer::Unavailable {
                disturbed: is_down || !is_promised,
            }),
            Verdict::Reject => Delivery::Answered(Answer::Rejected { wrongly: is_promised }),
            Verdict::Accept { .. } if self.is_too_old(body, now) => Delivery::Answered(Answer::TooOld),
            Verdict::Accept { .. } => {
                let (began, step, attempt) = (now, 0, 1);
                state.send(Request {
                    delivery,
                    began,
                    step,
                    attempt,
                });
                Delivery::Running {
                    environment,
                    began,
                    step,
                    attempt,
                    disturbed: is_down,
                }
            }
        };
    }

    /// DynamoDB executes a request. If its delivery still waits for it, the delivery goes on.
    fn arrive(&self, state: &mut State, request: Request, answer: AnswerIs) {
        state.network.retain(|other| *other != request);
        let reply = self.execute(state, request);
        let Delivery::Running {
            environment,
            began,
            step,
            attempt,
            disturbed,
        } = &mut state.deliveries[request.delivery]
        else {
            return;
        };
        if (*step, *attempt) != (request.step, request.attempt) {
            return;
        }
        if answer == AnswerIs::Lost {
            *disturbed = true;
            return;
        }
        let (environment, began, step, disturbed) = (*environment, *began, *step, *disturbed);
        match self.conclude(request.delivery, step, disturbed, &reply) {
            Some(answer) => state.deliveries[request.delivery] = Delivery::Answered(answer),
            None => {
                let (step, attempt) = (step + 1, 1);
                state.deliveries[request.delivery] = Delivery::Running {
                    environment,
                    began,
                    step,
                    attempt,
                    disturbed,
                };
                state.send(Request {
                    step,
                    attempt,
                    ..request
                });
            }
        }
    }

    /// The SDK gives up an attempt: it makes another one, or ends the call.
    fn time_out(state: &mut State, delivery: usize) {
        let Delivery::Running {
            began,
            step,
            attempt,
            disturbed,
            ..
        } = &mut state.deliveries[delivery]
        else {
            return;
        };
        *disturbed = true;
        if *attempt < ATTEMPTS {
            *attempt += 1;
            let request = Request {
                delivery,
                began: *began,
                step: *step,
                attempt: *attempt,
            };
            state.send(request);
        } else {
            let disturbed = true;
            state.deliveries[delivery] = Delivery::Answered(Answer::Unavailable { disturbed });
        }
    }

    fn crash(state: &mut State, environment: usize) {
        state.environments[environment] = Environment::default();
        for delivery in &mut state.deliveries {
            if matches!(delivery, Delivery::Running { environment: e, .. } if *e == environment) {
                *delivery = Delivery::Lost;
            }
        }
    }

    /// Adds the signatures that a delivery may be sent with, if it may be sent now.
    fn sends(&self, state: &State, delivery: usize, actions: &mut Vec<Action>) {
        let body = self.bodies[delivery];
        let earlier = self.bodies[..delivery].iter().zip(&state.deliveries);
        let mut same = earlier.filter(|(other, _)| **other == body);
        if body.time() > state.now || same.any(|(_, phase)| *phase == Delivery::Unsent) {
            return;
        }
        if body == Body::Forged {
            actions.push(Action::Send(delivery, None));
            return;
        }
        // A retry may have the signature of a version that has lost its label.
        let in_use = (0..state.manager.count()).filter(|number| {
            let version = state.manager.version(*number);
            let since = version.labelled.map_or(0, |since| since + CLOCK.period);
            version.is_usable && (*number == 0 || since <= state.now)
        });
        actions.extend(in_use.map(|number| Action::Send(delivery, Some(number))));
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: 0,
            manager: SecretsManager::new(),
            environments: Default::default(),
            deliveries: vec![Delivery::Unsent; self.bodies.len()],
            network: Vec::new(),
            item: None,
            stored: Vec::new(),
            changed: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let under_way = |began: &u8| *began < state.now;
        let late = state.network.iter().any(|request| under_way(&request.began))
            || state
                .deliveries
                .iter()
                .any(|delivery| matches!(delivery, Delivery::Running { began, .. } if under_way(began)));
        if state.now < END && !late {
            actions.push(Action::Tick);
        }
        if state.manager.count() <= self.rotations {
            actions.extend([true, false].map(|is_usable| Action::Rotate { is_usable }));
        }
        if matches!(state.item, Some(Item::Record { expires, .. }) if expires < state.now) {
            actions.push(Action::Expire);
        }
        for (delivery, phase) in state.deliveries.iter().enumerate() {
            match phase {
                Delivery::Unsent => self.sends(state, delivery, actions),
                Delivery::OnItsWay(_) => {
                    actions.push(Action::LoseRequest(delivery));
                    for environment in (0..ENVIRONMENTS).filter(|e| state.is_idle(*e)) {
                        actions.extend([true, false].map(|is_up| Action::Start {
                            delivery,
                            environment,
                            is_up,
                        }));
                    }
                }
                Delivery::Running { environment, .. } => {
                    actions.extend([Action::TimeOut(delivery), Action::Crash(*environment)]);
                }
                Delivery::Answered(_) | Delivery::Lost => {}
            }
        }
        for request in &state.network {
            actions.extend([
                Action::Arrive(*request, AnswerIs::Heard),
                Action::Arrive(*request, AnswerIs::Lost),
                Action::Fail(*request),
            ]);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Tick => state.now += 1,
            Action::Rotate { is_usable } => state.manager.put(is_usable, state.now),
            Action::Expire => state.item = None,
            Action::Send(delivery, signature) => state.deliveries[delivery] = Delivery::OnItsWay(signature),
            Action::LoseRequest(delivery) => state.deliveries[delivery] = Delivery::Lost,
            Action::Start {
                delivery,
                environment,
                is_up,
            } => self.start(&mut state, delivery, environment, is_up),
            Action::Arrive(request, answer) => self.arrive(&mut state, request, answer),
            Action::Fail(request) => {
                state.network.retain(|other| *other != request);
                if let Delivery::Running { disturbed, .. } = &mut state.deliveries[request.delivery] {
                    *disturbed = true;
                }
            }
            Action::TimeOut(delivery) => Self::time_out(&mut state, delivery),
            Action::Crash(environment) => Self::crash(&mut state, environment),
        }
        state.disturb();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        invariants::properties(self.bodies)
    }
}
