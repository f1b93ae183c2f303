//! The tables: the cost of each function, and the limits.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::Kind;
use crate::rounds::{Calls, Phase, Round};
use crate::statistics::{median, percentile};

/// The figures of a function. A duration is the median of all rounds, in microseconds. Memory is the maximum, in bytes.
pub struct Line {
    kind: Kind,
    bytes: usize,
    deflated: usize,
    init: f64,
    cold: f64,
    first_event_cpu: f64,
    fresh: Figures,
    duplicate: Option<Figures>,
    forged: Option<Figures>,
    large: Figures,
    memory: u64,
    memory_after_large: u64,
    start_calls: Calls,
}

/// The figures of one kind of event. Durations are in microseconds.
struct Figures {
    p50: f64,
    p99: f64,
    cpu: f64,
    calls: Calls,
    events: usize,
}

impl Kind {
    /// The name in the tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor: `lambda_http` that answers 200",
            Self::PutItem => "one PutItem, trimmed SDK",
            Self::Receiver => "**the receiver**",
        }
    }
}

impl Line {
    /// The figures of these rounds.
    pub fn new(kind: Kind, binary: &Path, rounds: Vec<Round>) -> Result<Self, Box<dyn Error>> {
        let program = std::fs::read(binary)?;
        // A zip has these bytes and a directory.
        let mut zip = DeflateEncoder::new(Vec::new(), Compression::best());
        zip.write_all(&program)?;
        let all = |figure: fn(&Round) -> Duration| median(rounds.iter().map(figure));
        let each = |phase: fn(&Round) -> Option<&Phase>| {
            let phases: Option<Vec<_>> = rounds.iter().map(phase).collect();
            phases.map(|phases| Figures::new(&phases))
        };
        let none = "a round has no events";
        Ok(Self {
            kind,
            bytes: program.len(),
            deflated: zip.finish()?.len(),
            init: all(|round| round.init),
            cold: all(|round| round.cold),
            first_event_cpu: all(|round| round.first_event_cpu),
            fresh: each(|round| Some(&round.fresh)).ok_or(none)?,
            duplicate: each(|round| round.duplicate.as_ref()),
            forged: each(|round| round.forged.as_ref()),
            large: each(|round| Some(&round.large)).ok_or(none)?,
            memory: rounds.iter().map(|round| round.memory).max().unwrap_or(0),
            memory_after_large: rounds
                .iter()
                .map(|round| round.memory_after_large)
                .max()
                .unwrap_or(0),
            start_calls: rounds
                .first()
                .map(|round| round.start_calls.clone())
                .unwrap_or_default(),
        })
    }
}

impl Figures {
    fn new(phases: &[&Phase]) -> Self {
        let latencies = || phases.iter().flat_map(|phase| phase.latencies.iter().copied());
        let mut calls = Calls::new();
        for (operation, count) in phases.iter().flat_map(|phase| &phase.calls) {
            *calls.entry(operation.clone()).or_default() += count;
        }
        Self {
            p50: median(latencies()),
            p99: percentile(latencies(), 0.99),
            cpu: median(phases.iter().map(|phase| phase.cpu)),
            calls,
            events: latencies().count(),
        }
    }

    fn is_one_put_each(&self) -> bool {
        self.calls == Calls::from([("PutItem".to_owned(), self.events as u64)])
    }
}

const MB: f64 = 1e6;

/// Prints the cost of each function.
pub fn print(lines: &[Line]) {
    println!(
        "| | init ms | cold ms | first-event CPU ms | new p50 / p99 us | CPU us: new | duplicate | forged | 256 KiB | peak MB | after 256 KiB | binary MB | zip MB |"
    );
    println!("|---|{}", "---:|".repeat(12));
    for line in lines {
        let cpu = |figures: &Option<Figures>| {
            figures
                .as_ref()
                .map_or_else(String::new, |figures| format!("{:.0}", figures.cpu))
        };
        println!(
            "| {} | {:.2} | {:.2} | {:.2} | {:.0} / {:.0} | {:.0} | {} | {} | {:.0} | {:.1} | {:.1} | {:.2} | {:.2} |",
            line.kind.name(),
            line.init / 1000.0,
            line.cold / 1000.0,
            line.first_event_cpu / 1000.0,
            line.fresh.p50,
            line.fresh.p99,
            line.fresh.cpu,
            cpu(&line.duplicate),
            cpu(&line.forged),
            line.large.cpu,
            line.memory as f64 / MB,
            line.memory_after_large as f64 / MB,
            line.bytes as f64 / MB,
            line.deflated as f64 / MB,
        );
    }
}

/// Prints the ratios, and the limits beside the sizes and the calls. Returns true if all limits hold. The ratios have no
/// limit, because other load changes them.
pub fn limits(lines: &[Line]) -> bool {
    let of = |kind| lines.iter().find(|line| line.kind == kind);
    let Some(receiver) = of(Kind::Receiver) else {
        return false;
    };
    println!("\n| figure | limit | measured | |\n|---|---:|---:|---|");
    let ratio = |name: &str, measured: f64| println!("| {name} | | {measured:.2} | |");
    let (duplicate, forged) = (receiver.duplicate.as_ref(), receiver.forged.as_ref());
    let cpu = |figures: Option<&Figures>| figures.map_or(f64::NAN, |figures| figures.cpu);
    let new = receiver.fresh.cpu;
    if let (Some(floor), Some(put)) = (of(Kind::Floor), of(Kind::PutItem)) {
        ratio("cold start / the floor's", receiver.cold / floor.cold);
        ratio("CPU of a new event / one PutItem's", new / put.fresh.cpu);
        ratio(
            "p50 of a new event / one PutItem's",
            receiver.fresh.p50 / put.fresh.p50,
        );
        ratio(
            "CPU of a 256 KiB event / one PutItem's",
            receiver.large.cpu / put.large.cpu,
        );
        ratio(
            "CPU of a forged request / the floor's",
            cpu(forged) / floor.fresh.cpu,
        );
    }
    ratio("CPU of a duplicate / a new event's", cpu(duplicate) / new);
    ratio("CPU of the first event, ms", receiver.first_event_cpu / 1000.0);

    let mut all_hold = true;
    let mut size = |name: &str, limit: f64, measured: f64| {
        let holds = measured <= limit;
        all_hold &= holds;
        println!("| {name} | {limit} | {measured:.2} | {} |", verdict(holds));
    };
    size("peak memory, MB", 9.0, receiver.memory as f64 / MB);
    size("zip, MB", 3.0, receiver.deflated as f64 / MB);

    let mut counted = |name: &str, holds: bool, calls: &Calls| {
        all_hold &= holds;
        let calls: Vec<_> = calls
            .iter()
            .map(|(operation, count)| format!("{count} {operation}"))
            .collect();
        let calls = if calls.is_empty() {
            "none".to_owned()
        } else {
            calls.join(", ")
        };
        println!("| {name} | | {calls} | {} |", verdict(holds));
    };
    let of_start =
        [("GetItem", 1), ("GetSecretValue", 1), ("PutItem", 1)].map(|(name, count)| (name.to_owned(), count));
    counted(
        "calls of a start and its first event",
        receiver.start_calls == Calls::from(of_start),
        &receiver.start_calls,
    );
    counted(
        "calls of new events",
        receiver.fresh.is_one_put_each(),
        &receiver.fresh.calls,
    );
    if let (Some(duplicate), Some(forged)) = (duplicate, forged) {
        counted(
            "calls of duplicates",
            duplicate.is_one_put_each(),
            &duplicate.calls,
        );
        counted("calls of forged requests", forged.calls.is_empty(), &forged.calls);
    }
    counted(
        "calls of 256 KiB events",
        receiver.large.is_one_put_each(),
        &receiver.large.calls,
    );
    all_hold
}

/// The last column of the limits.
pub const fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "**does not hold**" }
}
