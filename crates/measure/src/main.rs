//! Measures the release binary under a Runtime API, beside two other functions, and the reads of a table that grows.
//!
//! `cargo measure` prints the cost of a start and of an event; each subcommand measures one thing more. `docs/performance.md`
//! explains the figures. `--check` compares the calls, the sizes, the memory, the instructions and the growth with their
//! limits. Times have no limit, since other load changes them.

mod aws;
mod concurrency;
mod cpu_quota;
mod event;
mod function;
mod growth;
mod instructions;
mod memory_sizes;
mod programs;
mod report;
mod rounds;
mod statistics;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sonotheia_webhook::cause::Causes;

use crate::aws::Aws;
use crate::rounds::Round;

/// Measure the receiver's release binary, a function that only answers, and a function that only makes one PutItem
#[derive(Parser)]
#[command(name = "cargo measure", args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    functions: Functions,
    #[command(flatten)]
    rounds: Rounds,
    /// The number of events of each kind in a start
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..))]
    events: u16,
}

#[derive(Subcommand)]
enum What {
    /// Count instructions with `valgrind --tool=callgrind`. Other load hardly changes them
    Instructions {
        #[command(flatten)]
        functions: Functions,
        /// Keep callgrind's files in this folder, for `callgrind_annotate`
        #[arg(long)]
        keep: Option<PathBuf>,
    },
    /// Measure a start and an event with the processor share of each memory size
    MemorySizes {
        #[command(flatten)]
        receiver: Receiver,
        #[command(flatten)]
        rounds: Rounds,
        /// The number of events of each kind in a start
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
        events: u16,
    },
    /// Measure the events a second of one environment with one and with two processors, 64 events at once
    Concurrency {
        #[command(flatten)]
        receiver: Receiver,
        #[command(flatten)]
        rounds: Rounds,
        /// The number of events in a start
        #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u16).range(1..))]
        events: u16,
    },
    Growth(growth::Growth),
}

#[derive(clap::Args)]
struct Receiver {
    /// The receiver's binary. Without this option, the command builds it
    #[arg(long)]
    binary: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Functions {
    #[command(flatten)]
    receiver: Receiver,
    /// Measure only the receiver
    #[arg(long)]
    alone: bool,
    /// Fail if a value is over its limit
    #[arg(long)]
    check: bool,
}

#[derive(clap::Args)]
struct Rounds {
    /// The number of starts of each function
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

/// A function that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `lambda_http` that answers 200.
    Floor,
    /// One PutItem for each event.
    PutItem,
    Receiver,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("measure: {}", Causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Runs the command. Returns false if `--check` finds a value over its limit.
fn run(args: &Args) -> Result<bool, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    match &args.what {
        Some(What::Growth(growth)) => growth.run(),
        Some(What::Concurrency {
            receiver,
            rounds,
            events,
        }) => {
            let binary = programs::receiver(receiver.binary.as_deref())?;
            let aws = Aws::start(folder.path())?;
            concurrency::run(&binary, &aws, rounds.rounds, *events)?;
            Ok(true)
        }
        Some(What::MemorySizes {
            receiver,
            rounds,
            events,
        }) => {
            let binary = programs::receiver(receiver.binary.as_deref())?;
            function::stand_aside()?;
            let aws = Aws::start(folder.path())?;
            memory_sizes::run(&binary, &aws, rounds.rounds, *events)?;
            Ok(true)
        }
        Some(What::Instructions { functions, keep }) => {
            let binaries = functions.binaries()?;
            function::stand_aside()?;
            let aws = Aws::start(folder.path())?;
            let files = keep.as_deref().unwrap_or(folder.path());
            Ok(instructions::run(&binaries, &aws, files)? || !functions.check)
        }
        None => {
            let binaries = args.functions.binaries()?;
            function::stand_aside()?;
            let aws = Aws::start(folder.path())?;
            Ok(costs(binaries, &aws, args)? || !args.functions.check)
        }
    }
}

impl Functions {
    /// The binaries, built where that is necessary.
    fn binaries(&self) -> Result<Vec<(Kind, PathBuf)>, Box<dyn Error>> {
        let receiver = programs::receiver(self.receiver.binary.as_deref())?;
        let mut binaries = if self.alone {
            Vec::new()
        } else {
            programs::peers()?
        };
        binaries.push((Kind::Receiver, receiver));
        Ok(binaries)
    }
}

/// Measures the functions in turn, so that other load on the machine affects all of them, and prints the tables. Returns false
/// if a value is over its limit.
fn costs(functions: Vec<(Kind, PathBuf)>, aws: &Aws, args: &Args) -> Result<bool, Box<dyn Error>> {
    let mut measured: Vec<_> = functions.iter().map(|(kind, _)| (*kind, Vec::new())).collect();
    for _ in 0..args.rounds.rounds {
        for ((kind, binary), (_, rounds)) in functions.iter().zip(&mut measured) {
            let round = Round::measure(*kind, binary, aws, usize::from(args.events));
            let failed = |error: Box<dyn Error>| format!("{} failed: {}", binary.display(), Causes(&*error));
            rounds.push(round.map_err(failed)?);
        }
    }
    let mut lines = Vec::new();
    for ((kind, binary), (_, rounds)) in functions.into_iter().zip(measured) {
        lines.push(report::Line::new(kind, &binary, rounds)?);
    }
    report::print(&lines);
    Ok(report::limits(&lines))
}
