//! Plays Lambda to the release binary, and to the two functions it is held against, in one run.
//!
//! `cargo measure` builds all three from the same lock file with the same profile, starts them in turn,
//! and prints what a start and an event cost, as figures and as ratios. `docs/performance.md` tells what
//! they mean. `--check` holds what is no timing (calls, sizes, memory) against its limits.

mod aws;
mod event;
mod function;
mod http;
mod instructions;
mod report;
mod runtime_api;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;
use serde_json::Value;

use crate::aws::{Aws, SECRET};
use crate::event::{LARGE, SMALL, body, invocation};
use crate::function::Function;
use crate::runtime_api::{Answer, Idle};

/// Measure the receiver's release binary beside the floor and a plain PutItem.
#[derive(Parser)]
struct Args {
    /// The receiver's binary; it is built where none is named
    #[arg(long)]
    binary: Option<PathBuf>,
    /// How often each function is started
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How many events of each kind a start gets
    #[arg(long, default_value_t = 300)]
    events: usize,
    /// Fail where a count, a size or the memory is over its limit
    #[arg(long)]
    check: bool,
    /// Count instructions instead, by `valgrind --tool=callgrind`: the same for the same binary
    #[arg(long)]
    instructions: bool,
    /// Keep callgrind's files in this folder, for `callgrind_annotate`
    #[arg(long, requires = "instructions")]
    keep: Option<PathBuf>,
    /// Only the receiver, without the functions it is held against
    #[arg(long)]
    alone: bool,
}

/// One of the functions that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Floor,
    PutItem,
    Receiver,
}

/// What one start of a function cost.
struct Round {
    init: Duration,
    cold: Duration,
    first_event_cpu: Duration,
    fresh: Phase,
    duplicate: Option<Phase>,
    forged: Option<Phase>,
    large: Phase,
    memory: u64,
    memory_after_large: u64,
    start_calls: Calls,
}

/// Many events of one kind.
struct Phase {
    latencies: Vec<Duration>,
    /// Processor time an event.
    cpu: Duration,
    calls: Calls,
}

type Make<'a> = &'a dyn Fn(usize) -> String;
type Check<'a> = &'a dyn Fn(&Answer) -> Result<(), String>;

type Calls = BTreeMap<String, u64>;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

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
    // In turn, so that what else the machine does falls on all of them.
    for _ in 0..args.rounds.max(1) {
        for ((kind, binary), (_, rounds)) in functions.iter().zip(&mut measured) {
            let round = round(*kind, binary, &aws, args.events.max(1));
            rounds.push(round.map_err(|error| format!("{kind:?} ({}): {error}", binary.display()))?);
        }
    }
    let mut lines = Vec::new();
    for ((kind, binary), (_, rounds)) in functions.into_iter().zip(measured) {
        lines.push(report::Line::new(kind, &binary, rounds)?);
    }
    report::print(&lines);
    Ok(report::limits(&lines) || !args.check)
}

fn build(args: &Args) -> Result<Vec<(Kind, PathBuf)>, Box<dyn Error>> {
    let cargo = |arguments: &[&str]| -> Result<(), Box<dyn Error>> {
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        let status = command
            .args(["build", "--release", "--locked"])
            .args(arguments)
            .status()?;
        status
            .success()
            .then_some(())
            .ok_or_else(|| "a build failed".into())
    };
    let built = function::release_folder();
    let mut functions = Vec::new();
    if !args.alone {
        cargo(&["--package", "peers"])?;
        functions.push((Kind::Floor, built.join("floor")));
        functions.push((Kind::PutItem, built.join("put_item")));
    }
    let receiver = match &args.binary {
        Some(binary) => binary.clone(),
        None => {
            cargo(&["--bin", "sonotheia-webhook"])?;
            built.join("sonotheia-webhook")
        }
    };
    functions.push((Kind::Receiver, receiver));
    Ok(functions)
}

fn round(kind: Kind, binary: &Path, aws: &Aws, events: usize) -> Result<Round, Box<dyn Error>> {
    aws.clear();
    aws.take_calls();
    let function = Function::start(binary, aws)?;
    let idle = function.api.idle()?;
    let (before, init) = (function.cpu()?, idle.since - function.started);
    let first = function
        .api
        .invoke(&idle, invocation(&body("first", SMALL), SECRET))?;
    expect(&first, kind, false)?;
    let mut idle = function.api.idle()?;
    let first_event_cpu = function.cpu()? - before;
    let start_calls = aws.take_calls();

    let mut many =
        |count, make: Make<'_>, check: Check<'_>| phase(&function, aws, &mut idle, count, make, check);
    let taken = |answer: &Answer| expect(answer, kind, false);
    // The first ones fill caches and pools.
    many(
        50,
        &|i| invocation(&body(&format!("warm-{i}"), SMALL), SECRET),
        &taken,
    )?;
    let fresh = many(
        events,
        &|i| invocation(&body(&format!("event-{i}"), SMALL), SECRET),
        &taken,
    )?;
    let (mut duplicate, mut forged) = (None, None);
    if kind == Kind::Receiver {
        let known = |answer: &Answer| expect(answer, kind, true);
        let known_body = invocation(&body("known", SMALL), SECRET);
        many(1, &|_| known_body.clone(), &taken)?;
        duplicate = Some(many(events, &|_| known_body.clone(), &known)?);
        let forgery = invocation(&body("forged", SMALL), "not the secret");
        // The first one asks for the previous version and for a newer one; the rest ask nobody.
        many(1, &|_| forgery.clone(), &refused)?;
        forged = Some(many(events, &|_| forgery.clone(), &refused)?);
    }
    let memory = function.peak_memory()?;
    let large = many(
        events.div_ceil(10),
        &|i| invocation(&body(&format!("large-{i}"), LARGE), SECRET),
        &taken,
    )?;
    let round = Round {
        init,
        cold: first.at - function.started,
        first_event_cpu,
        fresh,
        duplicate,
        forged,
        large,
        memory,
        memory_after_large: function.peak_memory()?,
        start_calls,
    };
    // Before `idle`: whose poll ends unanswered complains.
    drop(function);
    Ok(round)
}

fn phase(
    function: &Function,
    aws: &Aws,
    idle: &mut Idle,
    count: usize,
    make: Make<'_>,
    check: Check<'_>,
) -> Result<Phase, Box<dyn Error>> {
    let before = function.cpu()?;
    let mut latencies = Vec::with_capacity(count);
    for i in 0..count {
        let answer = function.api.invoke(idle, make(i))?;
        check(&answer)?;
        latencies.push(answer.latency);
        *idle = function.api.idle()?;
    }
    Ok(Phase {
        latencies,
        cpu: (function.cpu()? - before) / u32::try_from(count)?,
        calls: aws.take_calls(),
    })
}

/// A figure of an answer that was wrong is worth nothing.
fn expect(answer: &Answer, kind: Kind, duplicate: bool) -> Result<(), String> {
    let body = answer.reply["body"].as_str().unwrap_or_default();
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let right = answer.reply["statusCode"] == 200
        && body["received"] == true
        && (kind != Kind::Receiver || body["duplicate"] == duplicate);
    right.then_some(()).ok_or_else(|| format!("got {}", answer.reply))
}

fn refused(answer: &Answer) -> Result<(), String> {
    let right = answer.reply["statusCode"] == 401;
    right
        .then_some(())
        .ok_or_else(|| format!("a forged request got {}", answer.reply))
}
