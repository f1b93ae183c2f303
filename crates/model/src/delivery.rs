//! The delivery of events as a state machine: the receiver's protocol and the world around it.
//!
//! The world: a sender that delivers an event again and again, also at the same time; another event with the same id; a
//! forger; requests that are lost or late; Lambda environments that may die at any moment; the SDK, which sends a write twice
//! if no answer comes; DynamoDB, which executes a request late, fails it, or executes it and loses the answer; TTL, which
//! deletes an expired item at any later time or never; an operator, who erases the payload of a record.
//!
//! The signature is one step here. It has the three results that [`secret`](crate::secret) promises, whatever the cache of
//! the secret knows: see [`Signature`].
//!
//! Time is in ticks. A request to the receiver, with all that it causes, may begin in one tick and end in the next, but it
//! takes no longer: see [`Action::Tick`].

mod action;
mod invariants;
mod protocol;

use std::fmt;

use stateright::{Model, Property};

pub use action::{Action, AnswerIs, Signature};
pub use invariants::INVARIANTS;
pub use protocol::Protocol;

/// How long the table keeps a record, and how old a signed time may be.
const RETENTION: u8 = 2;
/// The last tick. Every record can expire and be deleted before it.
const END: u8 = 4;
/// How often the SDK sends a request. (The receiver's SDK makes three attempts; the third one adds nothing new.)
const ATTEMPTS: u8 = 2;
/// The number of deliveries that run at once, each in its own environment.
const ENVIRONMENTS: usize = 2;

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
    OnItsWay,
    /// In an environment, which waits for DynamoDB.
    Running {
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
    Duplicate { of_erased: bool },
    /// 409
    Conflict,
    /// 400 `event_too_old`
    TooOld,
    /// 401
    Rejected,
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
    Claim { by: usize },
    Record {
        body: Body,
        expires: u8,
        token: usize,
        /// The operator has erased the payload. The hash of the body stays.
        is_erased: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    now: u8,
    deliveries: Vec<Delivery>,
    /// In order, so that the same requests are the same state.
    network: Vec<Request>,
    item: Option<Item>,
    /// For the invariants: each body that was stored while it had no record, and the delivery that stored it.
    stored: Vec<(Body, usize)>,
    /// For the invariants: something other than an erasure changed a record.
    changed: bool,
}

/// The state machine's bounds.
#[derive(Clone, Copy, Debug)]
pub struct World {
    pub protocol: Protocol,
    /// The deliveries that there may be. The sender sends those of one body in this order.
    pub bodies: &'static [Body],
    /// The operator erases records.
    pub erases: bool,
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let erases = if self.erases { ", an erasure" } else { "" };
        write!(f, "{:?}{erases}", self.bodies)
    }
}

impl State {
    /// The number of deliveries that are at work in an environment.
    fn running(&self) -> usize {
        let is_running = |delivery: &&Delivery| matches!(delivery, Delivery::Running { .. });
        self.deliveries.iter().filter(is_running).count()
    }

    fn send(&mut self, request: Request) {
        let at = self.network.partition_point(|other| *other < request);
        self.network.insert(at, request);
    }

    /// Notes for each running delivery that something else happens beside it.
    fn disturb(&mut self) {
        let running = self.running();
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
    fn start(&self, state: &mut State, delivery: usize, signature: Signature) {
        let now = state.now;
        state.deliveries[delivery] = match signature {
            Signature::Unknown => Delivery::Answered(Answer::Unavailable { disturbed: true }),
            Signature::Wrong => Delivery::Answered(Answer::Rejected),
            Signature::Right if self.is_too_old(self.bodies[delivery], now) => {
                Delivery::Answered(Answer::TooOld)
            }
            Signature::Right => {
                let (began, step, attempt) = (now, 0, 1);
                state.send(Request {
                    delivery,
                    began,
                    step,
                    attempt,
                });
                Delivery::Running {
                    began,
                    step,
                    attempt,
                    disturbed: false,
                }
            }
        };
    }

    /// The operator erases the payload of the record.
    fn erase(&self, state: &mut State) {
        if self.protocol == Protocol::EraseDeletes {
            state.item = None;
        } else if let Some(Item::Record { is_erased, .. }) = &mut state.item {
            *is_erased = true;
        }
    }

    /// DynamoDB executes a request. If its delivery still waits for it, the delivery goes on.
    fn arrive(&self, state: &mut State, request: Request, answer: AnswerIs) {
        state.network.retain(|other| *other != request);
        let reply = self.execute(state, request);
        let Delivery::Running {
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
        let (began, step, disturbed) = (*began, *step, *disturbed);
        match self.conclude(request.delivery, step, disturbed, &reply) {
            Some(answer) => state.deliveries[request.delivery] = Delivery::Answered(answer),
            None => {
                let (step, attempt) = (step + 1, 1);
                state.deliveries[request.delivery] = Delivery::Running {
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

    /// Returns true if the delivery may be sent now.
    fn may_send(&self, state: &State, delivery: usize) -> bool {
        let body = self.bodies[delivery];
        let earlier = self.bodies[..delivery].iter().zip(&state.deliveries);
        let mut same = earlier.filter(|(other, _)| **other == body);
        body.time() <= state.now && same.all(|(_, phase)| *phase != Delivery::Unsent)
    }

    /// The results that the verification of a delivery may have.
    fn signatures(&self, delivery: usize) -> [Signature; 2] {
        let is_forged = self.bodies[delivery] == Body::Forged && self.protocol != Protocol::NoSignature;
        let known = if is_forged {
            Signature::Wrong
        } else {
            Signature::Right
        };
        [known, Signature::Unknown]
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: 0,
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
        if self.erases && matches!(state.item, Some(Item::Record { is_erased: false, .. })) {
            actions.push(Action::Erase);
        }
        if matches!(state.item, Some(Item::Record { expires, .. }) if expires < state.now) {
            actions.push(Action::Expire);
        }
        for (delivery, phase) in state.deliveries.iter().enumerate() {
            match phase {
                Delivery::Unsent if self.may_send(state, delivery) => actions.push(Action::Send(delivery)),
                Delivery::OnItsWay => {
                    actions.push(Action::LoseRequest(delivery));
                    if state.running() < ENVIRONMENTS {
                        let signatures = self.signatures(delivery);
                        actions.extend(signatures.map(|signature| Action::Start(delivery, signature)));
                    }
                }
                Delivery::Running { .. } => {
                    actions.extend([Action::TimeOut(delivery), Action::Crash(delivery)]);
                }
                Delivery::Unsent | Delivery::Answered(_) | Delivery::Lost => {}
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
            Action::Erase => self.erase(&mut state),
            Action::Expire => state.item = None,
            Action::Send(delivery) => state.deliveries[delivery] = Delivery::OnItsWay,
            Action::LoseRequest(delivery) | Action::Crash(delivery) => {
                state.deliveries[delivery] = Delivery::Lost;
            }
            Action::Start(delivery, signature) => self.start(&mut state, delivery, signature),
            Action::Arrive(request, answer) => self.arrive(&mut state, request, answer),
            Action::Fail(request) => {
                state.network.retain(|other| *other != request);
                if let Delivery::Running { disturbed, .. } = &mut state.deliveries[request.delivery] {
                    *disturbed = true;
                }
            }
            Action::TimeOut(delivery) => Self::time_out(&mut state, delivery),
        }
        state.disturb();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        invariants::properties(self)
    }
}
