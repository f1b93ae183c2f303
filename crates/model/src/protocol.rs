//! The receiver's protocol and the world around it, as a state machine.
//!
//! What is in it: a sender that delivers an event again and again, also at the same time; another event
//! with the same id; a forger; requests that are lost or late; two Lambda environments, each with its own
//! cache of the secret, that can die at any moment; the SDK, which sends a write twice where no answer
//! comes; DynamoDB, which takes a request late, fails it, or does it and loses the answer; TTL, which
//! deletes an expired item at any later time or never; Secrets Manager, whose secret is rotated, and
//! which can be down.
//!
//! Time is in ticks. A request to the receiver, with all that it causes, may begin in one tick and end
//! in the next, but takes no longer: see [`Action::Tick`].

use std::fmt;

use stateright::{Model, Property};

/// How long records are kept, and how old a signed time may be.
const RETENTION: u8 = 2;
/// The last tick: late enough for every record to expire and be deleted.
const END: u8 = 4;
/// How often the SDK sends a request. (The receiver's SDK has three attempts; the third adds nothing new.)
const ATTEMPTS: u8 = 2;
const ENVIRONMENTS: usize = 2;

/// How a delivery becomes a record. The first is the receiver's; the others are known to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// One write, on condition that there is no item.
    OneConditionalWrite,
    /// The same, but an event is taken until the very tick in which its record may expire.
    NoMargin,
    /// A claim on condition that there is no item, then the record. What finds either is a duplicate.
    ClaimThenStore,
    /// The same; what finds a claim is told to come again, and no claim ends.
    ClaimForever,
    /// A look whether there is an item, then an unconditional write.
    ReadThenWrite,
    /// One write, on condition that there is no item, or an expired one.
    OverwriteExpired,
}

/// What is delivered. All of them bear the same event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// An event of tick 0.
    Event,
    /// An event of tick 2 with the same id and other data.
    Other,
    /// Made by somebody who has no secret.
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

/// The version of the secret that a delivery is signed with; none for a forgery.
type Signature = Option<u8>;

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    Unsent,
    OnItsWay(Signature),
    /// In an environment, which waits for DynamoDB.
    Running {
        environment: usize,
        /// The tick it began in, which is its time of receipt.
        began: u8,
        /// Which of the protocol's requests to DynamoDB it is at.
        step: u8,
        attempt: u8,
        /// Whether it met a fault, or another delivery was at work beside it.
        disturbed: bool,
    },
    /// The receiver has answered. Whether the sender has heard it makes no difference to the receiver.
    Answered(Answer),
    /// Lost on the way, or with its environment.
    Lost,
}

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
    /// 401. `wrongly` where the secret it is signed with is the current or the previous one.
    Refused { wrongly: bool },
    /// 503
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

/// What is under the event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Item {
    /// Of the wrong protocols.
    Claim {
        by: usize,
    },
    Record {
        body: Body,
        expires: u8,
        token: usize,
    },
}

/// What DynamoDB answers.
enum Reply {
    Done,
    /// The condition failed; the item that is there. Or: the item that was read.
    Found(Item),
    /// Nothing was there to read.
    Nothing,
}

/// What an environment knows of the secret. Rules as in `src/secrets.rs`; the cache's lifetime and the
/// limit on refreshes are a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    current: u8,
    fresh: bool,
    /// The version before it, or that there is none; and whether that was asked in this tick.
    previous: Option<(Signature, bool)>,
    refreshed_on_mismatch: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    now: u8,
    /// When each version of the secret was put; the last one is current.
    secret: Vec<u8>,
    environments: [Option<Known>; ENVIRONMENTS],
    deliveries: Vec<Delivery>,
    /// In order, so that the same requests are the same state.
    network: Vec<Request>,
    item: Option<Item>,
    /// For the invariants: by which delivery each body was stored when there was no record of it, in turn.
    stored: Vec<(Body, usize)>,
    /// For the invariants: a record was replaced by another.
    changed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Time goes on; not while something that began in an earlier tick is still under way.
    Tick,
    /// A new version of the secret is put.
    Rotate,
    /// TTL deletes.
    Expire,
    /// A delivery is sent: by the sender, by the network once more, or by somebody who recorded it.
    Send(usize, Signature),
    LoseRequest(usize),
    /// An environment takes a delivery up: signature, time, and the first request to DynamoDB goes out.
    Start {
        delivery: usize,
        environment: usize,
        secrets_manager_is_up: bool,
    },
    /// DynamoDB does what a request asks for. The answer may be lost.
    Arrive(Request, AnswerIs),
    /// A request is lost, throttled or failed, without effect.
    Fail(Request),
    /// The SDK waits no longer for the current attempt: it tries once more, or gives up.
    TimeOut(usize),
    /// An environment dies, and what it knew with it. Its requests go on their way.
    Crash(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerIs {
    Heard,
    Lost,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = |f: &mut fmt::Formatter<'_>, request: &Request, what: &str| {
            let Request {
                delivery,
                step,
                attempt,
                ..
            } = request;
            write!(
                f,
                "delivery {delivery}, request {}, attempt {attempt}: {what}",
                step + 1
            )
        };
        match self {
            Self::Tick => f.write_str("time goes on"),
            Self::Rotate => f.write_str("the secret is rotated"),
            Self::Expire => f.write_str("TTL deletes the record"),
            Self::Send(delivery, None) => write!(f, "delivery {delivery} is sent, forged"),
            Self::Send(delivery, Some(version)) => {
                write!(f, "delivery {delivery} is sent, signed with version {version}")
            }
            Self::LoseRequest(delivery) => write!(f, "delivery {delivery} is lost on its way"),
            Self::Start {
                delivery,
                environment,
                secrets_manager_is_up,
            } => {
                let down = if *secrets_manager_is_up {
                    ""
                } else {
                    ", Secrets Manager being down"
                };
                write!(f, "delivery {delivery} begins in environment {environment}{down}")
            }
            Self::Arrive(of, AnswerIs::Heard) => request(f, of, "DynamoDB does it"),
            Self::Arrive(of, AnswerIs::Lost) => request(f, of, "DynamoDB does it, and the answer is lost"),
            Self::Fail(of) => request(f, of, "fails"),
            Self::TimeOut(delivery) => write!(f, "delivery {delivery} waits no longer for DynamoDB"),
            Self::Crash(environment) => write!(f, "environment {environment} dies"),
        }
    }
}

pub struct Receiver {
    pub protocol: Protocol,
    /// The deliveries that there may be. Those of one body are sent in this order.
    pub bodies: &'static [Body],
    /// How often the secret is rotated at most.
    pub rotations: u8,
}

impl Known {
    /// What `src/secrets.rs` does with a signature; none where that can't be told.
    fn verify(
        known: &mut Option<Self>,
        signature: Signature,
        current: u8,
        secrets_manager_is_up: bool,
    ) -> Option<bool> {
        let fetch_current = |known: &mut Option<Self>| {
            if secrets_manager_is_up {
                let same = known.filter(|known| known.current == current);
                *known = Some(Self {
                    current,
                    fresh: true,
                    previous: same.and_then(|known| known.previous),
                    refreshed_on_mismatch: known.is_some_and(|known| known.refreshed_on_mismatch),
                });
            }
        };
        let fetch_previous = |known: &mut Self| {
            let is_fresh = known.previous.is_some_and(|(_, fresh)| fresh);
            if secrets_manager_is_up && !is_fresh {
                known.previous = Some((current.checked_sub(1), true));
            }
        };
        let matches = |known: &Self| {
            let previous = known.previous.and_then(|(version, _)| version);
            signature.is_some() && (signature == Some(known.current) || signature == previous)
        };

        if !known.is_some_and(|known| known.fresh) {
            fetch_current(known);
        }
        if matches(known.as_ref()?) {
            return Some(true);
        }
        fetch_previous(known.as_mut()?);
        if matches(known.as_ref()?) {
            return Some(true);
        }
        if !known.as_ref()?.refreshed_on_mismatch {
            known.as_mut()?.refreshed_on_mismatch = true;
            fetch_current(known);
            fetch_previous(known.as_mut()?);
            if matches(known.as_ref()?) {
                return Some(true);
            }
        }
        let known = known.as_ref()?;
        (known.fresh && known.previous.is_some()).then_some(false)
    }
}

impl State {
    fn current(&self) -> u8 {
        self.secret.len() as u8 - 1
    }

    /// Whether the sender may sign with that version yet: a cache's lifetime after it was put.
    fn in_use(&self, version: u8) -> bool {
        version == 0 || self.secret[usize::from(version)] < self.now
    }

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

    /// Notes for each running delivery that something else is going on.
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

impl Receiver {
    fn is_too_old(&self, body: Body, now: u8) -> bool {
        // What begins in this tick may be written in the next, when the record may be gone.
        let margin = u8::from(self.protocol != Protocol::NoMargin);
        body.time() + RETENTION < now + margin
    }

    /// DynamoDB does what is asked of it, at once and alone.
    fn serve(&self, state: &mut State, request: Request) -> Reply {
        let Request {
            delivery,
            began,
            step,
            ..
        } = request;
        let body = self.bodies[delivery];
        let record = Item::Record {
            body,
            expires: began.max(body.time()) + RETENTION,
            token: delivery,
        };
        let there = state.item;
        let (item, is_conditional) = match (self.protocol, step) {
            (Protocol::OneConditionalWrite | Protocol::NoMargin, _) => (record, true),
            (Protocol::ClaimThenStore | Protocol::ClaimForever, 0) => (Item::Claim { by: delivery }, true),
            (Protocol::ClaimThenStore | Protocol::ClaimForever, _) => (record, false),
            (Protocol::ReadThenWrite, 0) => return there.map_or(Reply::Nothing, Reply::Found),
            (Protocol::ReadThenWrite, _) => (record, false),
            (Protocol::OverwriteExpired, _) => {
                let expired = matches!(there, Some(Item::Record { expires, .. }) if expires < began);
                (record, !expired)
            }
        };
        if let Some(there) = there.filter(|_| is_conditional) {
            return Reply::Found(there);
        }
        if let Item::Record { .. } = item {
            if matches!(there, Some(Item::Record { .. })) {
                state.changed = true;
            }
            state.stored.push((body, delivery));
        }
        state.item = Some(item);
        Reply::Done
    }

    /// What the receiver makes of DynamoDB's reply: an answer, or none where another request is to follow.
    fn conclude(&self, delivery: usize, step: u8, disturbed: bool, reply: &Reply) -> Option<Answer> {
        let has_steps = matches!(
            self.protocol,
            Protocol::ClaimThenStore | Protocol::ClaimForever | Protocol::ReadThenWrite
        );
        match reply {
            Reply::Done | Reply::Nothing if has_steps && step == 0 => None,
            Reply::Done | Reply::Nothing => Some(Answer::New),
            // The SDK sent it twice, and the first one landed.
            Reply::Found(Item::Record { token, .. }) if *token == delivery => Some(Answer::New),
            Reply::Found(Item::Record { body, .. }) if *body == self.bodies[delivery] => {
                Some(Answer::Duplicate)
            }
            Reply::Found(Item::Record { .. }) => Some(Answer::Conflict),
            Reply::Found(Item::Claim { by }) if *by == delivery => None,
            Reply::Found(Item::Claim { .. }) if self.protocol == Protocol::ClaimThenStore => {
                Some(Answer::Duplicate)
            }
            Reply::Found(Item::Claim { .. }) => Some(Answer::Unavailable { disturbed }),
        }
    }

    fn start(&self, state: &mut State, delivery: usize, environment: usize, is_up: bool) {
        let Delivery::OnItsWay(signature) = state.deliveries[delivery] else {
            return;
        };
        let (body, now, current) = (self.bodies[delivery], state.now, state.current());
        let verdict = Known::verify(&mut state.environments[environment], signature, current, is_up);
        state.deliveries[delivery] = match verdict {
            None => Delivery::Answered(Answer::Unavailable { disturbed: !is_up }),
            Some(false) => Delivery::Answered(Answer::Refused {
                wrongly: signature.is_some_and(|version| version + 1 >= current),
            }),
            Some(true) if self.is_too_old(body, now) => Delivery::Answered(Answer::TooOld),
            Some(true) => {
                state.send(Request {
                    delivery,
                    began: now,
                    step: 0,
                    attempt: 1,
                });
                Delivery::Running {
                    environment,
                    began: now,
                    step: 0,
                    attempt: 1,
                    disturbed: !is_up,
                }
            }
        };
    }

    fn arrive(&self, state: &mut State, request: Request, answer: AnswerIs) {
        state.network.retain(|other| *other != request);
        let reply = self.serve(state, request);
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
}

impl Model for Receiver {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: 0,
            secret: vec![0],
            environments: [None; ENVIRONMENTS],
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
        if state.current() < self.rotations {
            actions.push(Action::Rotate);
        }
        if matches!(state.item, Some(Item::Record { expires, .. }) if expires < state.now) {
            actions.push(Action::Expire);
        }
        for (delivery, (body, phase)) in self.bodies.iter().zip(&state.deliveries).enumerate() {
            match phase {
                Delivery::Unsent => {
                    let earlier = self.bodies[..delivery].iter().zip(&state.deliveries);
                    let mut same = earlier.filter(|(other, _)| *other == body);
                    if body.time() > state.now || same.any(|(_, phase)| *phase == Delivery::Unsent) {
                        continue;
                    }
                    match body {
                        Body::Forged => actions.push(Action::Send(delivery, None)),
                        Body::Event | Body::Other => actions.extend(
                            (0..=state.current())
                                .filter(|version| state.in_use(*version))
                                .map(|version| Action::Send(delivery, Some(version))),
                        ),
                    }
                }
                Delivery::OnItsWay(_) => {
                    actions.push(Action::LoseRequest(delivery));
                    for environment in (0..ENVIRONMENTS).filter(|e| state.is_idle(*e)) {
                        for secrets_manager_is_up in [true, false] {
                            actions.push(Action::Start {
                                delivery,
                                environment,
                                secrets_manager_is_up,
                            });
                        }
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
            Action::Tick => {
                state.now += 1;
                for known in state.environments.iter_mut().flatten() {
                    known.fresh = false;
                    known.refreshed_on_mismatch = false;
                    if let Some((_, fresh)) = &mut known.previous {
                        *fresh = false;
                    }
                }
            }
            Action::Rotate => state.secret.push(state.now),
            Action::Expire => state.item = None,
            Action::Send(delivery, signature) => state.deliveries[delivery] = Delivery::OnItsWay(signature),
            Action::LoseRequest(delivery) => state.deliveries[delivery] = Delivery::Lost,
            Action::Start {
                delivery,
                environment,
                secrets_manager_is_up,
            } => self.start(&mut state, delivery, environment, secrets_manager_is_up),
            Action::Arrive(request, answer) => self.arrive(&mut state, request, answer),
            Action::Fail(request) => {
                state.network.retain(|other| *other != request);
                if let Delivery::Running { disturbed, .. } = &mut state.deliveries[request.delivery] {
                    *disturbed = true;
                }
            }
            Action::TimeOut(delivery) => {
                let Delivery::Running {
                    began,
                    step,
                    attempt,
                    disturbed,
                    ..
                } = &mut state.deliveries[delivery]
                else {
                    return None;
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
            Action::Crash(environment) => {
                state.environments[environment] = None;
                for delivery in &mut state.deliveries {
                    if matches!(delivery, Delivery::Running { environment: e, .. } if *e == environment) {
                        *delivery = Delivery::Lost;
                    }
                }
            }
        }
        state.disturb();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn answers(state: &State) -> impl Iterator<Item = (usize, Answer)> {
            let answer = |(delivery, phase): (usize, &Delivery)| match phase {
                Delivery::Answered(answer) => Some((delivery, *answer)),
                _ => None,
            };
            state.deliveries.iter().enumerate().filter_map(answer)
        }
        fn first(model: &Receiver, state: &State, delivery: usize) -> Option<usize> {
            let body = model.bodies[delivery];
            let mut stored = state.stored.iter().filter(|(stored, _)| *stored == body);
            stored.next().map(|(_, by)| *by)
        }
        let mut properties = vec![
            Property::always(INVARIANTS.a, |model, state: &State| {
                answers(state)
                    .filter(|(_, answer)| matches!(answer, Answer::New | Answer::Duplicate))
                    .all(|(delivery, _)| first(model, state, delivery).is_some())
            }),
            Property::always(INVARIANTS.b, |_, state: &State| !state.changed),
            Property::always(INVARIANTS.c, |model, state: &State| {
                answers(state).all(|(delivery, answer)| match answer {
                    Answer::New => first(model, state, delivery) == Some(delivery),
                    Answer::Duplicate => first(model, state, delivery) != Some(delivery),
                    _ => true,
                })
            }),
            Property::always(INVARIANTS.f, |_, state: &State| {
                let bodies = state.stored.iter().map(|(body, _)| body);
                let stored = |body| bodies.clone().filter(|stored| *stored == body).count();
                stored(&Body::Event) <= 1 && stored(&Body::Other) <= 1
            }),
            Property::always(INVARIANTS.d, |_, state: &State| {
                state.stored.iter().all(|(body, _)| *body != Body::Forged)
            }),
            Property::always(INVARIANTS.rotation, |_, state: &State| {
                answers(state).all(|(_, answer)| answer != Answer::Refused { wrongly: true })
            }),
            Property::always(INVARIANTS.progress, |_, state: &State| {
                answers(state).all(|(_, answer)| answer != Answer::Unavailable { disturbed: false })
            }),
            Property::sometimes("an event is stored", |_, state: &State| {
                answers(state).any(|(_, answer)| answer == Answer::New)
            }),
            Property::sometimes("an event comes again", |_, state: &State| {
                answers(state).any(|(_, answer)| answer == Answer::Duplicate)
            }),
            Property::sometimes(
                "a record is deleted, and its event comes again",
                |_, state: &State| {
                    state.item.is_none()
                        && !state.stored.is_empty()
                        && answers(state).any(|(_, answer)| answer == Answer::TooOld)
                },
            ),
            Property::sometimes(
                "a record was stored by a delivery that was lost",
                |_, state: &State| {
                    matches!(state.item, Some(Item::Record { token, .. })
                    if state.deliveries[token] == Delivery::Lost)
                },
            ),
        ];
        if self.bodies.contains(&Body::Other) {
            properties.extend([
                Property::sometimes("an id comes with other data", |_, state: &State| {
                    answers(state).any(|(_, answer)| answer == Answer::Conflict)
                }),
                Property::sometimes("the id of a deleted record is used again", |_, state: &State| {
                    matches!(
                        state.item,
                        Some(Item::Record {
                            body: Body::Other,
                            ..
                        })
                    ) && state.stored.len() > 1
                }),
            ]);
        }
        if self.bodies.contains(&Body::Forged) {
            properties.push(Property::sometimes(
                "a forgery is refused",
                |model: &Self, state: &State| {
                    answers(state).any(|(delivery, answer)| {
                        model.bodies[delivery] == Body::Forged && answer == Answer::Refused { wrongly: false }
                    })
                },
            ));
        }
        properties
    }
}

/// The names of what has to hold.
pub struct Invariants {
    pub a: &'static str,
    pub b: &'static str,
    pub c: &'static str,
    pub d: &'static str,
    pub f: &'static str,
    pub rotation: &'static str,
    pub progress: &'static str,
}

/// A to F are the contract's; E, about the log, is no matter of the protocol.
pub const INVARIANTS: Invariants = Invariants {
    a: "A: a 2xx is a stored record",
    b: "B: a record is never changed",
    c: "C: the delivery that stored the record is told so, and no other",
    d: "D: nothing forged is stored",
    f: "F: no event is stored twice, deleted or not",
    rotation: "rotation: a current or previous secret is never refused",
    progress: "progress: a delivery that meets no fault is not put off",
};
