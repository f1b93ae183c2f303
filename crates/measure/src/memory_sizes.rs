//! The cost of a start and of an event at the processor share of each memory size.
//!
//! Lambda gives a function processor time in proportion to its memory: one processor at 1,769 MB (AWS Lambda Developer Guide,
//! "Configure Lambda function memory"). AWS does not document the period of the share; 20 ms is an assumption. AWS does not
//! document a larger share during a start either, so a start gets the same share here.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::Kind;
use crate::aws::{Aws, SECRET};
use crate::cpu_quota::CpuQuota;
use crate::event::{SMALL, body, invocation};
use crate::function::{Environment, Launch};
use crate::rounds::expect;
use crate::statistics::percentile;

/// The memory at which a function has one processor, in MB.
const ONE_PROCESSOR: f64 = 1769.0;
const PERIOD_US: u32 = 20_000;
const SIZES: [u32; 5] = [128, 256, 512, 1024, 1769];

/// The time that each answer of DynamoDB and Secrets Manager takes. An assumption: AWS says "single-digit milliseconds".
const AWS_ANSWER: Duration = Duration::from_millis(5);

/// US dollars for arm64 in us-east-1 ("AWS Lambda Pricing"): a GB-second, and a million requests.
const GB_SECOND: f64 = 0.000_013_333_4;
const MILLION_REQUESTS: f64 = 0.20;

/// The measurements of one memory size.
#[derive(Default)]
struct Times {
    init: Vec<Duration>,
    cold: Vec<Duration>,
    alone: Vec<Duration>,
    in_a_row: Vec<Duration>,
}

/// Measures each size in turn, `rounds` times, and prints the table.
pub fn run(binary: &Path, aws: &Aws, rounds: u16, events: u16) -> Result<(), Box<dyn Error>> {
    aws.set_delay(AWS_ANSWER);
    let mut measured: Vec<_> = SIZES.iter().map(|mb| (*mb, Times::default())).collect();
    for round in 0..rounds {
        for (mb, times) in &mut measured {
            let share = f64::from(*mb) / ONE_PROCESSOR;
            let quota = CpuQuota::new(&format!("{mb}-{round}"), share, PERIOD_US)?;
            measure(binary, aws, &quota, usize::from(events), times)?;
        }
    }
    println!(
        "| memory MB | processor | init ms | cold ms | one event ms: p50 / p99 | in a row: p50 / p99 | USD a million events | USD a million starts |"
    );
    println!("|{}", "---:|".repeat(8));
    for (mb, times) in &measured {
        print(*mb, times);
    }
    Ok(())
}

fn measure(
    binary: &Path,
    aws: &Aws,
    quota: &CpuQuota,
    events: usize,
    times: &mut Times,
) -> Result<(), Box<dyn Error>> {
    aws.clear();
    let launch = Launch {
        quota: Some(quota),
        ..Launch::default()
    };
    let mut function = Environment::launch(Command::new(binary), aws, &launch)?;
    let mut send = |id: &str| {
        let idle = function.idle()?;
        let since = idle.since;
        let answer = function.invoke(idle, invocation(&body(id, SMALL), SECRET))?;
        expect(&answer, Kind::Receiver, false)?;
        Ok::<_, Box<dyn Error>>((since, answer, function.started))
    };
    let (idle_since, first, started) = send("first")?;
    times.init.push(idle_since - started);
    times.cold.push(first.at - started);
    for n in 0..events {
        // The pauses have different lengths, so that the events meet each moment of a period. Each pause gives the function
        // time to get its whole share again.
        thread::sleep(Duration::from_micros(
            40_000 + (n as u64 * 7_919) % u64::from(PERIOD_US),
        ));
        times.alone.push(send(&format!("alone-{n}"))?.1.latency);
    }
    for n in 0..events {
        times.in_a_row.push(send(&format!("row-{n}"))?.1.latency);
    }
    Ok(())
}

fn print(mb: u32, times: &Times) {
    let ms = |durations: &[Duration], part| percentile(durations.iter().copied(), part) / 1e3;
    // Lambda bills each started millisecond.
    let dollars = |durations: &[Duration]| {
        let billed: f64 = durations
            .iter()
            .map(|time| (time.as_secs_f64() * 1e3).ceil())
            .sum();
        let mean_seconds = billed / durations.len() as f64 / 1e3;
        mean_seconds * f64::from(mb) / 1024.0 * GB_SECOND * 1e6
    };
    println!(
        "| {mb} | {:.2} | {:.1} | {:.1} | {:.1} / {:.1} | {:.1} / {:.1} | {:.2} | {:.2} |",
        f64::from(mb) / ONE_PROCESSOR,
        ms(&times.init, 0.5),
        ms(&times.cold, 0.5),
        ms(&times.alone, 0.5),
        ms(&times.alone, 0.99),
        ms(&times.in_a_row, 0.5),
        ms(&times.in_a_row, 0.99),
        MILLION_REQUESTS + dollars(&times.alone),
        MILLION_REQUESTS + dollars(&times.cold),
    );
}
