//! The release binary under faults and under load: Lambda's Runtime API, the embedded DynamoDB behind a
//! proxy that breaks it, and a sender that does what the real one may do, all in this program.
//!
//! `cargo chaos faults --help` and `cargo chaos overload --help` say how much of it there can be.

mod back_ends;
mod environment;
mod faults;
mod overload;
mod plan;
mod proxy;
mod report;
mod runtime_api;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Break everything around the release binary, or ask too much of it, and look what it did
#[derive(Parser)]
#[command(name = "cargo chaos")]
struct Arguments {
    /// The function's binary
    #[arg(long, global = true, default_value = "target/release/sonotheia-webhook")]
    binary: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Faults(faults::Faults),
    Overload(overload::Overload),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.binary.is_file() {
        eprintln!(
            "{} is not there; build it with `cargo build --release --bin sonotheia-webhook`, \
             or name another one with --binary",
            arguments.binary.display()
        );
        return ExitCode::from(2);
    }
    let ran = match arguments.command {
        Command::Faults(faults) => faults.run(arguments.binary).await,
        Command::Overload(overload) => overload.run(arguments.binary).await,
    };
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::FAILURE
        }
    }
}
