//! `sonotheia`: the receiver on a laptop, and what a sender would do to it (contract, section 6).
//!
//! A file a command. A usage error ends with status 2, a failure with 1 and a line that says what to do.

mod args;
mod backends;
mod failure;
mod local;
mod send;
mod serve;
mod sign;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(
    bin_name = "cargo sonotheia",
    version,
    about = "The Sonotheia webhook receiver on a laptop"
)]
enum Command {
    Serve(serve::Serve),
    Send(send::Send),
    Backends(backends::Backends),
    Sign(sign::Sign),
    Verify(sign::Verify),
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Serve(serve) => serve.run(),
        Command::Send(send) => send.run(),
        Command::Backends(backends) => backends.run(),
        Command::Sign(sign) => sign.run(),
        Command::Verify(verify) => verify.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::FAILURE
        }
    }
}
