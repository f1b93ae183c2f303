//! The command `sonotheia`: the receiver on a laptop, signed deliveries, and the tools to operate a deployment (contract,
//! section 6).
//!
//! Each command has a file of its own, grouped by its user: [`local`], [`sender`], [`records`], [`operate`],
//! [`documents`]. Bad usage ends with status 2. A failure ends with status 1 and a line that says what happened and what
//! to do.

#![forbid(unsafe_code)]

mod address;
mod args;
mod client;
mod copied_body;
mod documents;
mod event_type;
mod failure;
mod hosts;
mod index;
mod inspector;
mod interrupt;
mod local;
mod manual;
mod operate;
mod program;
mod proxies;
mod records;
mod remote;
mod sdk;
mod secret;
mod sender;
mod show;
mod table;
mod trust;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};

use documents::{openapi, schema};
use local::{backends, demo, health, mock_api, serve};
use operate::{doctor, erase, reconcile, redrive, register};
use records::{event, inspect, listen, results, tail};
use sender::{send, sign};

#[derive(Parser)]
#[command(
    name = program::NAME,
    version,
    about = "Run the Sonotheia webhook receiver on this machine, send signed deliveries, and operate a deployment"
)]
enum Command {
    Serve(serve::Serve),
    Health(health::Health),
    Send(send::Send),
    Backends(backends::Backends),
    MockApi(mock_api::MockApi),
    Demo(demo::Demo),
    Sign(sign::Sign),
    Verify(sign::Verify),
    Results(results::Results),
    Event(event::ShowEvent),
    Tail(tail::Tail),
    Inspect(inspect::Inspect),
    Listen(listen::Listen),
    Redrive(redrive::Redrive),
    Reconcile(reconcile::Reconcile),
    Erase(erase::Erase),
    Register(register::Register),
    Doctor(doctor::Doctor),
    Openapi(openapi::Openapi),
    Schema(schema::Schema),
    Completions(manual::Completions),
    Man(manual::Man),
}

fn main() -> ExitCode {
    let parser = Command::command().bin_name(program::name());
    let command = Command::from_arg_matches(&parser.get_matches()).unwrap_or_else(|error| error.exit());
    let done = match command {
        Command::Serve(serve) => serve.run(),
        Command::Health(health) => health.run(),
        Command::Send(send) => send.run(),
        Command::Backends(backends) => backends.run(),
        Command::MockApi(mock_api) => mock_api.run(),
        Command::Demo(demo) => demo.run(),
        Command::Sign(sign) => sign.run(),
        Command::Verify(verify) => verify.run(),
        Command::Results(results) => results.run(),
        Command::Event(event) => event.run(),
        Command::Tail(tail) => tail.run(),
        Command::Inspect(inspect) => inspect.run(),
        Command::Listen(listen) => listen.run(),
        Command::Redrive(redrive) => redrive.run(),
        Command::Reconcile(reconcile) => reconcile.run(),
        Command::Erase(erase) => erase.run(),
        Command::Register(register) => register.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Openapi(openapi) => openapi.run(),
        Command::Schema(schema) => schema.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output, such as `head`, has read enough.
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::FAILURE
        }
    }
}
