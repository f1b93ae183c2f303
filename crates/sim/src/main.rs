//! `cargo sim`: runs a simulation, and prints its table. The status is 1 if a promise was broken.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use sim::options::{Defect, Options};
use sim::simulation::{Summary, run};

/// Runs the real receiver on a simulated network and clock, and checks every promise of the contract.
///
/// A seed gives the same run each time. Exit status: 0; 1 if a promise was broken, or if the defect was not found.
#[derive(Parser)]
#[command(name = "sim")]
struct Arguments {
    /// The seed of all that is random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The number of deliveries after which the sender makes no new event
    #[arg(long, default_value_t = 20_000)]
    deliveries: u64,
    /// Write a line for each delivery to this file
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Plant a defect, which the checks must find
    #[arg(long)]
    defect: Option<Defect>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let trace: Box<dyn Write + Send> = match &arguments.trace {
        None => Box::new(io::sink()),
        Some(path) => match File::create(path) {
            Ok(file) => Box::new(BufWriter::new(file)),
            Err(error) => {
                eprintln!(
                    "{} cannot be written ({error}); choose another file for --trace",
                    path.display()
                );
                return ExitCode::FAILURE;
            }
        },
    };
    let options = Options {
        seed: arguments.seed,
        deliveries: arguments.deliveries,
        defect: arguments.defect,
    };
    let begun = Instant::now();
    let report = run(options, trace);
    print(&report, begun.elapsed().as_secs_f64());
    if verdict(&report) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn print(report: &Summary, seconds: f64) {
    println!("{:>10}  seed", report.options.seed);
    println!("{:>10}  events", report.events);
    println!("{:>10}  deliveries", report.deliveries);
    println!(
        "{:>10.1}  simulated days",
        report.simulated.as_secs_f64() / 86_400.0
    );
    println!("{seconds:>10.1}  seconds");
    println!(
        "{:>10.0}  deliveries a second",
        report.deliveries as f64 / seconds
    );
    for (name, count) in &report.counts {
        println!("{count:>10}  {name}");
    }
    println!("{:>10}  violations", report.violations.len());
    println!("the trace has the SHA-256 {}", report.trace_hash);
    for (check, text) in &report.violations {
        println!("{check:?}: {text}");
    }
}

/// True if the run ended as it should.
fn verdict(report: &Summary) -> bool {
    let seed = report.options.seed;
    match (report.options.defect, report.violations.first()) {
        (None, None) => {
            println!("every promise held");
            true
        }
        (None, Some(_)) => {
            let deliveries = report.options.deliveries;
            println!(
                "FAILED; repeat it with: cargo sim --seed {seed} --deliveries {deliveries} --trace FILE"
            );
            false
        }
        (Some(defect), Some((check, _))) if defect.found_by().contains(check) => {
            println!(
                "the defect was found after {} deliveries, by the check {check:?}",
                report.deliveries
            );
            true
        }
        (Some(_), _) => {
            println!("FAILED: the check for this defect did not find it; try more --deliveries");
            false
        }
    }
}
