//! The receiver's protocol, checked over every state that it can reach; then protocols that are known to
//! be wrong, each of which has to be caught, and by the invariant that it is known to break.
//!
//! `cargo model` takes half a minute; `cargo model --deep` adds the largest space.

mod protocol;

use std::process::ExitCode;
use std::time::Instant;

use protocol::{Body, INVARIANTS, Protocol, Receiver};
use stateright::{Checker, Expectation, HasDiscoveries, Model};

use Body::{Event, Forged, Other};

/// Deliveries, and how often the secret is rotated.
type World = (&'static [Body], u8);

const WORLDS: [World; 3] = [
    (&[Event, Event, Event, Other], 0),
    (&[Event, Event, Other], 1),
    (&[Event, Event, Forged], 2),
];

const DEEP: World = (&[Event, Event, Other, Forged], 1);

/// What is wrong, and the invariant that has to find it.
const WRONG: [(Protocol, &str); 5] = [
    (Protocol::ClaimThenStore, INVARIANTS.a),
    (Protocol::ClaimForever, INVARIANTS.progress),
    (Protocol::ReadThenWrite, INVARIANTS.c),
    (Protocol::OverwriteExpired, INVARIANTS.b),
    (Protocol::NoMargin, INVARIANTS.f),
];

fn main() -> ExitCode {
    let worlds = match std::env::args().nth(1).as_deref() {
        None => WORLDS.to_vec(),
        Some("--deep") => WORLDS.into_iter().chain([DEEP]).collect(),
        Some(_) => {
            eprintln!("model takes --deep, or nothing");
            return ExitCode::from(2);
        }
    };
    println!("states      different   steps  seconds  world");
    let mut holds = true;
    for world in worlds {
        holds &= check(world);
    }
    println!("\nwrong protocols");
    for (protocol, invariant) in WRONG {
        holds &= catch(protocol, invariant);
    }
    println!(
        "\n{}",
        if holds {
            "every invariant holds, and every wrong protocol was caught"
        } else {
            "FAILED"
        }
    );
    if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Goes through all of the receiver's states; says whether all that has to hold does, and whether all
/// that has to be possible in any of the worlds is possible in this one, where it can be.
fn check((bodies, rotations): World) -> bool {
    let begun = Instant::now();
    let receiver = Receiver {
        protocol: Protocol::OneConditionalWrite,
        bodies,
        rotations,
    };
    let checker = receiver.checker().threads(threads()).spawn_bfs().join();
    let found = checker.discoveries();
    let rotated = match rotations {
        0 => String::new(),
        1 => ", the secret rotated once".to_owned(),
        n => format!(", the secret rotated {n} times"),
    };
    println!(
        "{:<10}  {:<10}  {:<5}  {:<7.1}  {bodies:?}{rotated}",
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
            // What never happens holds of everything.
            Expectation::Sometimes if !is_found => "never happens",
            _ => continue,
        };
        holds = false;
        println!("  {} {fault}", property.name);
        if let Some(path) = found.get(property.name) {
            tell(path.clone().into_actions());
        }
    }
    holds
}

/// Looks for the shortest way to break the invariant; says whether there is one.
fn catch(protocol: Protocol, invariant: &'static str) -> bool {
    let receiver = Receiver {
        protocol,
        bodies: &[Event, Event, Other],
        rotations: 0,
    };
    let checker = receiver
        .checker()
        .finish_when(HasDiscoveries::AllOf([invariant].into()))
        .spawn_bfs()
        .join();
    let states = checker.unique_state_count();
    match checker.discovery(invariant) {
        Some(path) => {
            println!("\n{protocol:?} breaks {invariant} ({states} states looked at):");
            tell(path.into_actions());
            true
        }
        None => {
            println!("\n{protocol:?} was not caught by {invariant} in {states} states");
            false
        }
    }
}

fn tell(actions: Vec<protocol::Action>) {
    for (i, action) in actions.into_iter().enumerate() {
        println!("  {:>2}. {action}", i + 1);
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
