//! `sonotheia`: the receiver on a laptop, and what a sender would do to it (contract, section 6).
//!
//! A file a command. A usage error ends with status 2, a failure with 1 and a line that says what to do.

#![forbid(unsafe_code)]

mod args;
mod backends;
mod client;
mod doctor;
mod failure;
mod inspector;
mod local;
mod manual;
mod reads;
mod reconcile;
mod redrive;
mod register;
mod results;
mod secret;
mod send;
mod sender;
mod serve;
mod show;
mod sign;
mod table;
mod tail;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(
    bin_name = "cargo sonotheia",
    version,
    about = "The Sonotheia webhook receiver on a laptop, and a look at one that is deployed"
)]
enum Command {
    Serve(serve::Serve),
    Send(send::Send),
    Backends(backends::Backends),
    Sign(sign::Sign),
    Verify(sign::Verify),
    Results(results::Results),
    Event(results::Event),
    Tail(tail::Tail),
    Redrive(redrive::Redrive),
    Reconcile(reconcile::Reconcile),
    Register(register::Register),
    Doctor(doctor::Doctor),
    Completions(manual::Completions),
    Man(manual::Man),
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Serve(serve) => serve.run(),
        Command::Send(send) => send.run(),
        Command::Backends(backends) => backends.run(),
        Command::Sign(sign) => sign.run(),
        Command::Verify(verify) => verify.run(),
        Command::Results(results) => results.run(),
        Command::Event(event) => event.run(),
        Command::Tail(tail) => tail.run(),
        Command::Redrive(redrive) => redrive.run(),
        Command::Reconcile(reconcile) => reconcile.run(),
        Command::Register(register) => register.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::FAILURE
        }
    }
}
