//! Runs the release binary under faults and under load, and checks the contract's invariants.
//!
//! This program plays every part around the function: Lambda's Runtime API, an embedded DynamoDB behind proxies that break
//! requests, an embedded Secrets Manager, and a sender that retries, repeats and reorders its deliveries.

mod back_ends;
mod breakage;
mod environment;
mod faults;
mod overload;
mod plan;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};

use clap::{Parser, Subcommand};

/// Run the release binary under faults or under load, and check the contract's invariants
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
            "there is no function at {}; build it with `cargo build --release --bin sonotheia-webhook`, or name \
             another binary with --binary",
            arguments.binary.display()
        );
        return ExitCode::from(2);
    }
    let result = match arguments.command {
        Command::Faults(faults) => faults.run(arguments.binary).await,
        Command::Overload(overload) => overload.run(arguments.binary).await,
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Locks a mutex. A panic elsewhere ends the run with its own message, so poison says nothing new.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
