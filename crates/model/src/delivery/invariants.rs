//! The contract's invariants A to F (E, about the log, is no matter of the protocol), and progress.

use stateright::Property;

use super::{Answer, Body, Delivery, Item, State, World};

/// The names of the invariants.
pub struct Invariants {
    pub a: &'static str,
    pub b: &'static str,
    pub c: &'static str,
    pub d: &'static str,
    pub f: &'static str,
    pub progress: &'static str,
}

pub const INVARIANTS: Invariants = Invariants {
    a: "A: every 2xx implies a stored record",
    b: "B: only an erasure changes a record",
    c: "C: the delivery that stored the record gets duplicate:false, and no other delivery",
    d: "D: the table has no forgery",
    f: "F: no event is stored twice, even if its record was deleted",
    progress: "progress: a delivery that meets no fault gets no 503",
};

/// The deliveries that have their answers.
fn answers(state: &State) -> impl Iterator<Item = (usize, Answer)> {
    let answer = |(delivery, phase): (usize, &Delivery)| match phase {
        Delivery::Answered(answer) => Some((delivery, *answer)),
        _ => None,
    };
    state.deliveries.iter().enumerate().filter_map(answer)
}

/// The delivery that stored the body of this one first.
fn first(world: &World, state: &State, delivery: usize) -> Option<usize> {
    let body = world.bodies[delivery];
    let mut stored = state.stored.iter().filter(|(stored, _)| *stored == body);
    stored.next().map(|(_, by)| *by)
}

pub fn properties(world: &World) -> Vec<Property<World>> {
    let mut properties = vec![
        Property::always(INVARIANTS.a, |world, state: &State| {
            answers(state)
                .filter(|(_, answer)| matches!(answer, Answer::New | Answer::Duplicate { .. }))
                .all(|(delivery, _)| first(world, state, delivery).is_some())
        }),
        Property::always(INVARIANTS.b, |_, state: &State| !state.changed),
        Property::always(INVARIANTS.c, |world, state: &State| {
            answers(state).all(|(delivery, answer)| match answer {
                Answer::New => first(world, state, delivery) == Some(delivery),
                Answer::Duplicate { .. } => first(world, state, delivery) != Some(delivery),
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
        Property::always(INVARIANTS.progress, |_, state: &State| {
            answers(state).all(|(_, answer)| answer != Answer::Unavailable { disturbed: false })
        }),
        Property::sometimes("an event is stored", |_, state: &State| {
            answers(state).any(|(_, answer)| answer == Answer::New)
        }),
        Property::sometimes("an event comes again", |_, state: &State| {
            answers(state).any(|(_, answer)| answer == Answer::Duplicate { of_erased: false })
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
            "a delivery that was lost stored its record",
            |_, state: &State| {
                matches!(state.item, Some(Item::Record { token, .. })
                if state.deliveries[token] == Delivery::Lost)
            },
        ),
    ];
    if world.erases {
        properties.push(Property::sometimes(
            "an erased event comes again",
            |_, state: &State| {
                answers(state).any(|(_, answer)| answer == Answer::Duplicate { of_erased: true })
            },
        ));
    }
    if world.bodies.contains(&Body::Other) {
        properties.extend([
            Property::sometimes("an id comes with other data", |_, state: &State| {
                answers(state).any(|(_, answer)| answer == Answer::Conflict)
            }),
            Property::sometimes(
                "the id of a deleted record comes again with other data",
                |_, state: &State| {
                    matches!(
                        state.item,
                        Some(Item::Record {
                            body: Body::Other,
                            ..
                        })
                    ) && state.stored.len() > 1
                },
            ),
        ]);
    }
    if world.bodies.contains(&Body::Forged) {
        properties.push(Property::sometimes(
            "a forgery gets 401",
            |world: &World, state: &State| {
                answers(state).any(|(delivery, answer)| {
                    world.bodies[delivery] == Body::Forged && answer == Answer::Rejected
                })
            },
        ));
    }
    properties
}
