//! The failures of a command, and their messages.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::args::SecretOrigin;
use crate::client::Unanswered;
use crate::local::KeptSecretError;
use crate::program;
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
    /// The environment has faults.
    #[error(transparent)]
    Configuration(#[from] Faults),
    /// The secret is empty.
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
        "no secret for {url}: you run no `serve` there; start it with `{} serve`, or name the receiver's secret with \
         --secret",
        program::name()
    )]
    NoSecret { url: String },
    /// An embedded back end does not do as asked.
    #[error("an embedded back end failed")]
    BackEnd(#[source] BoxError),
    /// Sockets or signals.
    #[error("the server failed")]
    Serve(#[source] io::Error),
    /// The operating system has no random bytes.
    #[error("the operating system gives no random bytes, which a secret and an id need")]
    Randomness(#[from] getrandom::Error),
    /// A file cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Standard output is closed, or full.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// Answers to deliveries are not the answers that the contract promises.
    #[error("{unexpected} of {sent} answers were not the expected answers{}", forged.map(other_secret).unwrap_or_default())]
    Unexpected {
        unexpected: usize,
        sent: usize,
        /// The place of the secret, if the receiver answered 401 to a delivery that was signed with it.
        forged: Option<SecretOrigin>,
    },
    /// No answer, or a part of an answer.
    #[error("no answer from {url}: {source}; {}", source.mend(&address()))]
    Http {
        url: String,
        #[source]
        source: Box<Unanswered>,
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
    /// The text of a signature is not a signature.
    #[error(transparent)]
    Malformed(#[from] MalformedSignature),
    /// A signature of other bytes, or with another secret.
    #[error("the signature does not match this secret and these bytes{hint}")]
    WrongSignature { hint: &'static str },
}

impl Failure {
    /// Returns true if the reader of standard output is gone.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Writes the failure and its causes to standard error.
    pub fn report(&self) {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let line = error.to_string().replace('\n', " ");
            // Some errors print their causes themselves.
            if !text.contains(&line) {
                text = format!("{text}: {line}");
            }
            cause = error.source();
        }
        let mut err = io::stderr().lock();
        for line in text.lines() {
            // If standard error is closed, the exit status still says that the command failed.
            let _ = writeln!(err, "error: {line}");
        }
    }
}

/// The remedy if there is no receiver at an address.
fn address() -> String {
    format!(
        "start a receiver on this machine with `{} serve`, or give another address with --url",
        program::name()
    )
}

/// The remedy if the receiver has another secret.
fn other_secret(origin: SecretOrigin) -> String {
    format!(
        "; the receiver has another secret than {origin}: `serve` prints its secret when it starts, and the stack's output \
         SecretArn names the secret of a deployment"
    )
}
