//! What can go wrong in a command, and how a person is told.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::local::KeptSecretError;
use crate::records::listen::ListenError;
use crate::remote::RemoteError;
use emulators::BoxError;
use sonotheia_webhook::config::Faults;
use sonotheia_webhook::signature::{EmptySecret, MalformedSignature};

/// What to do about a port.
fn listen_hint(error: &io::Error, option: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "the port is in use, perhaps by another `serve`; end that program, or choose another port with {option}"
        ),
        io::ErrorKind::PermissionDenied => {
            format!("ports below 1024 need more permissions; choose another port with {option}")
        }
        _ => format!("choose an address of this machine with --host, or another port with {option}"),
    }
}

/// Why a command ends with status 1.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The environment is not one to start with.
    #[error(transparent)]
    Configuration(#[from] Faults),
    /// Likewise.
    #[error(transparent)]
    EmptySecret(#[from] EmptySecret),
    /// The port is in use, or the address is not an address of this machine.
    #[error("cannot listen on {address}: {}", listen_hint(source, option))]
    Listen {
        address: String,
        /// The command's option for the port.
        option: &'static str,
        #[source]
        source: io::Error,
    },
    /// The file cannot hold the records.
    #[error("cannot use {} for --data", file.display())]
    Data {
        file: PathBuf,
        #[source]
        source: BoxError,
    },
    /// The secret beside the data cannot be used.
    #[error(transparent)]
    KeptSecret(#[from] KeptSecretError),
    /// Nothing names the secret for a receiver on this machine.
    #[error(
        "no secret for {url}: you run no `serve` there; start it with `cargo sonotheia serve`, or name the receiver's secret \
         with --secret"
    )]
    NoSecret { url: String },
    /// An embedded back end does not do as asked.
    #[error("an embedded back end failed")]
    BackEnd(#[source] BoxError),
    /// Sockets or signals.
    #[error("the server failed")]
    Serve(#[source] io::Error),
    /// The operating system has no randomness to give.
    #[error("nothing random to make a secret or an id of")]
    Randomness(#[from] getrandom::Error),
    /// A file that was named can't be read.
    #[error("can't read {}", file.display())]
    Read {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Standard output is closed, or full.
    #[error("can't write to standard output")]
    Output(#[source] io::Error),
    /// Not one delivery was answered.
    #[error("nothing answers at {url}; start it with `cargo sonotheia serve`, or name another with --url")]
    NothingAnswers {
        url: String,
        #[source]
        source: Box<ureq::Error>,
    },
    /// Deliveries were not answered as the contract says.
    #[error("{unexpected} of {sent} answers were not the expected ones{}", if *.unsigned { "; the receiver may have another secret" } else { "" })]
    Unexpected {
        unexpected: usize,
        sent: usize,
        /// Whether one of them was a 401.
        unsigned: bool,
    },
    /// No answer, or half of one.
    #[error(
        "no answer from {url}; a receiver on this machine is started with `cargo sonotheia serve`, a deployment's table is named with --table"
    )]
    Http {
        url: String,
        #[source]
        source: Box<ureq::Error>,
    },
    /// A step of the demo did not go as it should.
    #[error("demo: the step \"{step}\" failed: {fault}")]
    Demo {
        step: &'static str,
        /// The answer that was not the expected one.
        fault: String,
    },
    /// A deployment, AWS or Sonotheia's API.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// `listen` cannot go on.
    #[error(transparent)]
    Listener(#[from] ListenError),
    /// What was given as a signature is none.
    #[error(transparent)]
    Malformed(#[from] MalformedSignature),
    /// A signature of other bytes, or by another secret.
    #[error("the signature is not this secret's for these bytes{hint}")]
    WrongSignature { hint: &'static str },
}

impl Failure {
    /// Tells standard error, with the causes. A reader who has gone away is no news to anyone.
    pub fn report(&self) {
        if matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            return;
        }
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let line = error.to_string().replace('\n', " ");
            // Some errors print their causes, too.
            if !text.contains(&line) {
                text = format!("{text}: {line}");
            }
            cause = error.source();
        }
        let mut err = io::stderr().lock();
        for line in text.lines() {
            // Where standard error is closed too, the exit status tells.
            let _ = writeln!(err, "error: {line}");
        }
    }
}
