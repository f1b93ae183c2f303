//! The receiver as state machines, checked over every state that they can reach: the delivery of events, and the cache of the
//! secret. Then protocols and rules that are known to be wrong: the check must find the invariant that each of them breaks.
//!
//! `cargo model` checks the small worlds; `cargo model --deep` adds the large ones.

mod delivery;
mod environment;
mod secret;
mod secrets_manager;

use std::fmt::Display;
use std::hash::Hash;
use std::process::ExitCode;
use std::time::Instant;

use delivery::{Body, Protocol};
use environment::{Clock, Use};
use secret::Rule;
use stateright::{Checker, Expectation, HasDiscoveries, Model};

use Body::{Event, Forged, Other};

const DELIVERIES: [delivery::World; 2] = [
    deliveries(&[Event, Event, Other, Forged]),
    delivery::World {
        erases: true,
        ..deliveries(&[Event, Event, Other])
    },
];

const DEEP_DELIVERIES: [delivery::World; 1] = [delivery::World {
    erases: true,
    ..deliveries(&[Event, Event, Event, Other])
}];

/// The wrong protocols, and the invariant that each of them breaks.
const WRONG_PROTOCOLS: [(Protocol, &str); 7] = [
    (Protocol::ClaimThenStore, delivery::INVARIANTS.a),
    (Protocol::ClaimForever, delivery::INVARIANTS.progress),
    (Protocol::ReadThenWrite, delivery::INVARIANTS.c),
    (Protocol::OverwriteExpired, delivery::INVARIANTS.b),
    (Protocol::NoMargin, delivery::INVARIANTS.f),
    (Protocol::NoSignature, delivery::INVARIANTS.d),
    (Protocol::EraseDeletes, delivery::INVARIANTS.f),
];

/// A tick is the least time between two refreshes because of mismatches; a cache period is two ticks.
const SECRET: secret::World = secret::World {
    rule: Rule::Receiver,
    clock: Clock { tick: 30, period: 2 },
    ticks: 5,
    puts: 1,
    moves: 0,
};

const SECRETS: [secret::World; 2] = [
    secret::World { moves: 1, ..SECRET },
    secret::World {
        puts: 2,
        ticks: 4,
        ..SECRET
    },
];

/// The last world has the interval after a failed call as its tick.
const DEEP_SECRETS: [secret::World; 2] = [
    secret::World { puts: 2, ..SECRET },
    secret::World {
        clock: Clock { tick: 10, period: 4 },
        ticks: 6,
        ..SECRET
    },
];

/// The wrong rules, and the invariant that each of them breaks.
const WRONG_RULES: [(Rule, &str); 5] = [
    (Rule::SenderDoesNotWait, secret::INVARIANTS.never_401),
    (Rule::TwoPeriods, secret::INVARIANTS.revoked),
    (Rule::Uses(Use::UnusableIsAFailure), secret::INVARIANTS.accepted),
    (Rule::Uses(Use::ForgetsTheOldSecret), secret::INVARIANTS.last_good),
    (Rule::Uses(Use::HidesTheId), secret::INVARIANTS.never_401),
];

fn main() -> ExitCode {
    let is_deep = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--deep") => true,
        Some(_) => {
            eprintln!("model takes no argument but --deep");
            return ExitCode::from(2);
        }
    };
    println!("states      different   steps  seconds  world");
    let mut holds = true;
    let deep = if is_deep { &DEEP_DELIVERIES[..] } else { &[] };
    for world in DELIVERIES.iter().chain(deep) {
        holds &= check(*world);
    }
    let deep = if is_deep { &DEEP_SECRETS[..] } else { &[] };
    for world in SECRETS.iter().chain(deep) {
        holds &= check(*world);
    }
    println!("\nwrong protocols and rules");
    for (protocol, invariant) in WRONG_PROTOCOLS {
        let world = delivery::World {
            protocol,
            erases: protocol == Protocol::EraseDeletes,
            ..deliveries(&[Event, Event, Other, Forged])
        };
        holds &= catch(world, &format!("{protocol:?}"), invariant);
    }
    for (rule, invariant) in WRONG_RULES {
        let moves = u8::from(rule == Rule::Uses(Use::HidesTheId));
        let world = secret::World {
            rule,
            moves,
            ..SECRET
        };
        holds &= catch(world, &format!("{rule:?}"), invariant);
    }
    let verdict = if holds {
        "every invariant holds, and the check caught every wrong protocol and rule"
    } else {
        "FAILED"
    };
    println!("\n{verdict}");
    if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The receiver's protocol, with these deliveries.
const fn deliveries(bodies: &'static [Body]) -> delivery::World {
    delivery::World {
        protocol: Protocol::OneConditionalWrite,
        bodies,
        erases: false,
    }
}

/// Visits every state. Returns true if every invariant holds, and everything that must be possible is possible.
fn check<M>(world: M) -> bool
where
    M: Model + Display + Send + Sync + 'static,
    M::State: Hash + Send + Sync,
    M::Action: Display + Clone + PartialEq,
    M::State: Clone + PartialEq + std::fmt::Debug,
{
    let (name, begun) = (world.to_string(), Instant::now());
    let checker = world.checker().threads(threads()).spawn_bfs().join();
    let found = checker.discoveries();
    println!(
        "{:<10}  {:<10}  {:<5}  {:<7.1}  {name}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        begun.elapsed().as_secs_f64(),
    );
    let mut holds = true;
    for property in checker.model().properties() {
        let is_found = found.contains_key(property.name);
        let fault = match property.expectation {
            Expectation::Always if is_found => "does not hold",
            // An invariant about an event that never happens holds and says nothing.
            Expectation::Sometimes if !is_found => "never happens",
            _ => continue,
        };
        holds = false;
        println!("  {}: {fault}", property.name);
        if let Some(path) = found.get(property.name) {
            print_steps(path.clone().into_actions());
        }
    }
    holds
}

/// Looks for the shortest way to break the invariant. Returns true if there is one.
fn catch<M>(world: M, name: &str, invariant: &'static str) -> bool
where
    M: Model + Send + Sync + 'static,
    M::State: Hash + Send + Sync,
    M::Action: Display + Clone + PartialEq,
    M::State: Clone + PartialEq + std::fmt::Debug,
{
    let checker = world
        .checker()
        .finish_when(HasDiscoveries::AllOf([invariant].into()))
        .spawn_bfs()
        .join();
    let states = checker.unique_state_count();
    match checker.discovery(invariant) {
        Some(path) => {
            println!("\n{name} breaks the invariant \"{invariant}\" (found among {states} states):");
            print_steps(path.into_actions());
            true
        }
        None => {
            println!("\n{name} does not break the invariant \"{invariant}\" in {states} states");
            false
        }
    }
}

fn print_steps(actions: Vec<impl Display>) {
    for (i, action) in actions.into_iter().enumerate() {
        println!("  {:>2}. {action}", i + 1);
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
