//! Runs the release binary and two other functions under a Runtime API, and compares their cost.
//!
//! `cargo measure` builds all three with one lock file and one profile, starts them in turn, and prints the cost of a start
//! and of an event. `docs/performance.md` explains the figures. `--check` compares the calls, the sizes and the memory with
//! their limits; timings are not checked, since other load changes them.

mod aws;
mod event;
mod function;
mod instructions;
mod report;
mod rounds;

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Parser;
use sonotheia_webhook::cause::Causes;

use crate::aws::Aws;
use crate::rounds::Round;

/// Measure the receiver's release binary, a function that only answers, and a function that only makes one PutItem
#[derive(Parser)]
#[command(name = "cargo measure")]
struct Args {
    /// The receiver's binary. Without this option, the command builds it
    #[arg(long)]
    binary: Option<PathBuf>,
    /// The number of starts of each function
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// The number of events of each kind in a start
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..))]
    events: u16,
    /// Fail if a call count, a size or the memory is over its limit
    #[arg(long)]
    check: bool,
    /// Count instructions with `valgrind --tool=callgrind` instead. Other load does not change them
    #[arg(long)]
    instructions: bool,
    /// Keep callgrind's files in this folder, for `callgrind_annotate`
    #[arg(long, requires = "instructions")]
    keep: Option<PathBuf>,
    /// Measure only the receiver
    #[arg(long)]
    alone: bool,
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
    let functions = build(args)?;
    function::stand_aside()?;
    let folder = tempfile::tempdir()?;
    let aws = Aws::start(folder.path())?;
    if args.instructions {
        println!(
            "| instructions | start | new event | duplicate | forged | 256 KiB |\n|---|---:|---:|---:|---:|---:|"
        );
        for (kind, binary) in &functions {
            let folder = args.keep.as_deref().unwrap_or(folder.path());
            println!("{}", instructions::count(*kind, binary, &aws, folder)?);
        }
        return Ok(true);
    }
    let mut measured: Vec<_> = functions.iter().map(|(kind, _)| (*kind, Vec::new())).collect();
    // The functions take turns, so that other load on the machine affects all of them.
    for _ in 0..args.rounds {
        for ((kind, binary), (_, rounds)) in functions.iter().zip(&mut measured) {
            let round = Round::measure(*kind, binary, &aws, usize::from(args.events));
            let failed = |error: Box<dyn Error>| format!("{} failed: {}", binary.display(), Causes(&*error));
            rounds.push(round.map_err(failed)?);
        }
    }
    let mut lines = Vec::new();
    for ((kind, binary), (_, rounds)) in functions.into_iter().zip(measured) {
        lines.push(report::Line::new(kind, &binary, rounds)?);
    }
    report::print(&lines);
    Ok(report::limits(&lines) || !args.check)
}

/// Builds the functions, and returns their binaries.
fn build(args: &Args) -> Result<Vec<(Kind, PathBuf)>, Box<dyn Error>> {
    let built = function::release_folder();
    let mut functions = Vec::new();
    if !args.alone {
        cargo_build(&["--package", "peers"])?;
        functions.push((Kind::Floor, built.join("floor")));
        functions.push((Kind::PutItem, built.join("put_item")));
    }
    let receiver = match &args.binary {
        Some(binary) => binary.clone(),
        None => {
            cargo_build(&["--bin", "sonotheia-webhook"])?;
            built.join("sonotheia-webhook")
        }
    };
    functions.push((Kind::Receiver, receiver));
    Ok(functions)
}

fn cargo_build(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let arguments = [&["build", "--release", "--locked"], arguments].concat();
    eprintln!(
        "cargo {}; the first build takes some minutes",
        arguments.join(" ")
    );
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    match cargo.args(arguments).status()?.success() {
        true => Ok(()),
        false => Err("cargo could not build a function; its message is above".into()),
    }
}
