//! Measures the release binary under a Runtime API, beside two other functions, and the reads of a table that grows.
//!
//! `cargo measure` prints the cost of a start and of an event; each subcommand measures one thing more. `docs/performance.md`
//! explains the figures. `--check` compares the calls, the sizes, the memory, the instructions and the growth with their
//! limits. The other times have no limit, since other load changes them.

mod aws;
mod build;
mod concurrency;
mod event;
mod function;
mod growth;
mod instructions;
mod memory_sizes;
mod report;
mod rounds;
mod share;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sonotheia_webhook::cause::Causes;

use crate::aws::Aws;
use crate::rounds::Round;

/// Measure the receiver's release binary, a function that only answers, and a function that only makes one PutItem
#[derive(Parser)]
#[command(name = "cargo measure")]
struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// The receiver's binary. Without this option, the command builds it
    #[arg(long, global = true)]
    binary: Option<PathBuf>,
    /// The number of starts of each function
    #[arg(long, global = true, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// The number of events of each kind in a start
    #[arg(long, global = true, default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..))]
    events: u16,
    /// Fail if a value is over its limit
    #[arg(long, global = true)]
    check: bool,
    /// Measure only the receiver
    #[arg(long, global = true)]
    alone: bool,
}

#[derive(Subcommand)]
enum What {
    /// Count instructions with `valgrind --tool=callgrind`. Other load does not change them
    Instructions {
        /// Keep callgrind's files in this folder, for `callgrind_annotate`
        #[arg(long)]
        keep: Option<PathBuf>,
    },
    /// Measure a start and an event with the processor share of each memory size
    MemorySizes,
    /// Measure the events a second of one environment with one and with two processors, 64 events at once
    Concurrency,
    Growth(growth::Growth),
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
    if let Some(What::Growth(growth)) = &args.what {
        return Ok(growth.run()? || !args.check);
    }
    let receiver = build::receiver(args.binary.as_deref())?;
    let mut functions = match (args.alone, &args.what) {
        (false, None | Some(What::Instructions { .. })) => build::peers()?,
        _ => Vec::new(),
    };
    functions.push((Kind::Receiver, receiver.clone()));
    function::stand_aside()?;
    let folder = tempfile::tempdir()?;
    let aws = Aws::start(folder.path())?;
    match &args.what {
        Some(What::MemorySizes) => memory_sizes::run(&receiver, &aws, args.rounds, args.events)?,
        Some(What::Concurrency) => concurrency::run(&receiver, &aws, args.rounds, args.events)?,
        Some(What::Instructions { keep }) => {
            let folder = keep.as_deref().unwrap_or(folder.path());
            return Ok(instructions::run(&functions, &aws, folder)? || !args.check);
        }
        _ => return Ok(costs(functions, &aws, args)? || !args.check),
    }
    Ok(true)
}

/// Measures the functions in turn, so that other load on the machine affects all of them, and prints the tables. Returns false
/// if a value is over its limit.
fn costs(functions: Vec<(Kind, PathBuf)>, aws: &Aws, args: &Args) -> Result<bool, Box<dyn Error>> {
    let mut measured: Vec<_> = functions.iter().map(|(kind, _)| (*kind, Vec::new())).collect();
    for _ in 0..args.rounds {
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
