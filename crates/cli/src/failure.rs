//! What can go wrong in a command, and how a person is told.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::show::clean;
use emulators::BoxError;
use sonotheia_webhook::config::Faults;
use sonotheia_webhook::secrets::text::UnusableSecret;
use sonotheia_webhook::signature::{EmptySecret, MalformedSignature};
use sonotheia_webhook::store::StoreError;

/// What a status says about the way there.
fn hint(status: u16) -> &'static str {
    match status {
        403 => "; the gateway takes signed requests only, --table NAME reads with AWS credentials",
        404 => "; this is no receiver's address, or not the whole of it",
        503 => "; try again",
        _ => "",
    }
}

/// What the sender's status says about the way there.
fn sender_hint(status: u16) -> &'static str {
    match status {
        401 | 403 => "it does not take the key in SONOTHEIA_API_KEY",
        404 => "--base-url may not be the API's",
        429 => "it wants fewer calls; wait a while",
        500.. => "try again later",
        300..=399 => "--base-url should be where it leads to",
        _ => "it does not understand the call",
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
    /// The address is taken, or not ours.
    #[error("can't listen on {address}; {option} chooses another port")]
    Listen {
        address: String,
        /// The command's option for the port.
        option: &'static str,
        #[source]
        source: io::Error,
    },
    /// The database's file can't be opened.
    #[error("can't use {} as the database; --data takes a new file, or one that `serve` made", file.display())]
    Data {
        file: PathBuf,
        #[source]
        source: BoxError,
    },
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
    /// An answer that is an error.
    #[error("{from} answered {status}{}{}", message.as_deref().map(|text| format!(": {}", clean(text))).unwrap_or_default(), hint(*status))]
    Answered {
        from: String,
        status: u16,
        /// What it says, if it is the receiver's.
        message: Option<String>,
    },
    /// An answer that the receiver does not give.
    #[error("the answer is not a receiver's; --url takes the address that `cargo sonotheia serve` prints")]
    NotOurs,
    /// A path that no request can have.
    #[error("{text:?} can't be asked for")]
    NotARead { text: String },
    /// A page that names itself as the next one.
    #[error("the answers do not end: a page names itself as the next one")]
    Endless,
    /// There is no such record.
    #[error("there is no event {event_id}; `results` lists those there are")]
    NoEvent { event_id: String },
    /// The table can't be used.
    #[error("can't use table {table}: {advice}")]
    Table {
        table: String,
        advice: &'static str,
        #[source]
        source: BoxError,
    },
    /// Nothing says where the table is.
    #[error("no region; --region or AWS_REGION names it")]
    NoRegion,
    /// A record could not be judged or stored.
    #[error("stopped after {done} of {total} rejected records{}", if *.applied { "; those that passed are stored, and it can be run again" } else { "" })]
    Redrive {
        done: u64,
        total: usize,
        applied: bool,
        #[source]
        source: BoxError,
    },
    /// A page could not be had, or an event not be stored.
    #[error(
        "stopped after {done} events; those that were missing are stored, unless it was a dry run, and it can be run again"
    )]
    Reconcile {
        done: usize,
        #[source]
        source: Box<Failure>,
    },
    /// An event could not be stored.
    #[error("the table does not answer; run the command again")]
    Store(#[source] StoreError),
    /// Some of the sender's events were not stored.
    #[error("{refused} of the sender's events can't be stored; the report says why")]
    NotStored { refused: usize },
    /// The sender's API can't be asked without one.
    #[error("SONOTHEIA_API_KEY is not set; it holds the key for Sonotheia's API")]
    NoApiKey,
    /// It would not fit into a header.
    #[error("SONOTHEIA_API_KEY has characters that no key has; it may have been pasted with a line break")]
    BadApiKey,
    /// The sender's API can't be reached.
    #[error("no answer from Sonotheia's API at {url}; --base-url says where it is")]
    NoSender {
        url: String,
        #[source]
        source: Box<ureq::Error>,
    },
    /// The sender's API answered with an error.
    #[error("Sonotheia's API at {url} answered {status} to {path}; {}", sender_hint(*status))]
    SenderRefused { url: String, path: String, status: u16 },
    /// The sender's list is not one that can be read.
    #[error(
        "page {page_number} of Sonotheia's list is not {{\"events\": […], \"next_cursor\": text or null}}: {fault}"
    )]
    SenderShape { page_number: usize, fault: String },
    /// There is none of that name, or it has no current version.
    #[error("Secrets Manager has no secret {id}; the stack's output SecretArn names it")]
    NoSecret { id: String },
    /// It can't be read.
    #[error("can't read secret {id}: {advice}")]
    Secret {
        id: String,
        advice: &'static str,
        #[source]
        source: BoxError,
    },
    /// The version in Secrets Manager is no usable secret.
    #[error("the secret {id} is not usable")]
    UnusableSecret {
        id: String,
        #[source]
        source: UnusableSecret,
    },
    /// Something is wrong with the deployment.
    #[error("{wrong} of {checked} checks failed")]
    Unwell { wrong: usize, checked: usize },
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
