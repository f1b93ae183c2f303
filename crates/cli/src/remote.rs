//! The failures of the work with a deployment, with AWS, and with Sonotheia's API.

use emulators::BoxError;
use sonotheia_webhook::config::Faults;
use sonotheia_webhook::secrets::text::UnusableSecret;
use sonotheia_webhook::store::StoreError;

use crate::client::Unanswered;
use crate::failure::Failure;
use crate::program;
use crate::proxies::BadProxy;
use crate::show::{clean, clip};

/// The most characters of a message from outside that an error repeats.
const MAX_MESSAGE: usize = 500;

/// The advice for the status of a receiver's answer to a read.
fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => {
            "; a deployment answers signed requests only, and --table NAME reads its table with AWS credentials"
        }
        404 | 405 => "; this is not a receiver's address, or a part of the address is missing",
        503 => "; try again",
        _ => "",
    }
}

/// The advice for the status of Sonotheia's answer.
fn api_hint(status: u16) -> &'static str {
    match status {
        401 | 403 => "it does not accept the key in SONOTHEIA_API_KEY",
        404 => "--base-url may not be the API's address",
        429 => "it wants fewer calls; wait a while",
        500.. => "try again later",
        300..=399 => "it redirects, and no key is sent there; --base-url may need the new address",
        _ => "it does not accept the call",
    }
}

/// Why a command that works with a deployment ends with status 1.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The receiver answered with an error.
    #[error("{from} answered {status}{}{}", message.as_deref().map(|text| format!(": {}", clip(text, MAX_MESSAGE))).unwrap_or_default(), hint(*status))]
    Answered {
        from: String,
        status: u16,
        /// The receiver's own text.
        message: Option<String>,
    },
    /// The address answers, but has no reads.
    #[error(
        "{from} has no reads: it knows no path {path}; --url takes the address that `{program} serve` prints, --table the \
         table of a deployment",
        program = program::name()
    )]
    NoReads { from: String, path: &'static str },
    /// The answer is not an answer of the receiver.
    #[error(
        "the answer is not a receiver's; --url takes the address that `{} serve` prints",
        program::name()
    )]
    NotOurs,
    /// No request can have this path.
    #[error("no request can have the path {text:?}")]
    NotARead { text: String },
    /// A page names itself as the next page.
    #[error("the list does not end: a page names itself as the next page; report this to the project")]
    Endless,
    /// The record does not exist.
    #[error(
        "there is no event {event_id}, and no newer event whose id begins with it; `results` lists the events"
    )]
    NoEvent { event_id: String },
    /// Erasure removed the body.
    #[error("event {event_id} has no body: it was erased")]
    NoBody { event_id: String },
    /// A prefix of more than one id.
    #[error("{prefix} is the beginning of more than one id: {}; give more of it", ids.join(", "))]
    Ambiguous { prefix: String, ids: Vec<String> },
    /// Ctrl-C or SIGTERM.
    #[error("interrupted: {done}")]
    Interrupted { done: String },
    /// A listing ended before its end.
    #[error("stopped after {shown} records, and there are more")]
    Cut {
        shown: usize,
        #[source]
        source: Box<Failure>,
    },
    /// The table cannot be used.
    #[error("cannot use table {table}: {advice}")]
    Table {
        table: String,
        advice: &'static str,
        #[source]
        source: BoxError,
    },
    /// Variables of the SDK cannot be used.
    #[error(transparent)]
    Variables(#[from] Faults),
    /// A proxy's variable cannot be used.
    #[error(transparent)]
    Proxy(#[from] BadProxy),
    /// The SDK's client of HTTP does not start.
    #[error("the client for AWS does not start")]
    Client(#[source] BoxError),
    /// The region is not known.
    #[error("the region is not known; set AWS_REGION, choose a profile that has a region, or give --region")]
    NoRegion,
    /// AWS_PROFILE names no profile.
    #[error(
        "AWS_PROFILE names {}, and there is no such profile; {}",
        clean(name),
        if known.is_empty() { "there are no profiles: see `aws configure`".to_owned() } else { format!("the profiles are {}", clean(&known.join(", "))) }
    )]
    NoProfile { name: String, known: Vec<String> },
    /// The files of profiles cannot be read.
    #[error("AWS_PROFILE is set, and the files of profiles cannot be read; see `aws configure list`")]
    Profiles,
    /// A record could not be judged or stored.
    #[error("stopped after {done} of {total} rejected records{}; run the command again", if *.applied { ": those that passed are stored" } else { "" })]
    Redrive {
        done: usize,
        total: usize,
        applied: bool,
        #[source]
        source: BoxError,
    },
    /// A page could not be read, or an event not be stored.
    #[error("stopped after {done} events{}; run the command again", if *.applied { ": those that were missing are stored" } else { "" })]
    Reconcile {
        done: usize,
        applied: bool,
        #[source]
        source: Box<Failure>,
    },
    /// A record could not be read or erased.
    #[error("stopped after {done} of {total} records{}; run the command again", if *.applied { ": those that the report names are erased" } else { "" })]
    Erase {
        done: usize,
        total: usize,
        applied: bool,
        #[source]
        source: BoxError,
    },
    /// Some records ask for a retention of their own.
    #[error(
        "{} not erased, because of a retention that the event asks for; the report says until when, and --despite-retention \
         erases nevertheless",
        if *kept == 1 { "1 record was".to_owned() } else { format!("{kept} records were") }
    )]
    Kept { kept: usize },
    /// Nothing has this id, so there is nothing to erase.
    #[error("the table has no record of event {event_id}; compare the id with `results`")]
    NoRecord { event_id: String },
    /// The table failed in the middle of the work.
    #[error("the table does not answer; run the command again")]
    Store(#[from] StoreError),
    /// Some of Sonotheia's events cannot be stored.
    #[error("{refused} of Sonotheia's events cannot be stored; the report says why")]
    NotStored { refused: usize },
    /// Neither the command nor the table says how long the deployment keeps records.
    #[error(
        "the table has no record to read the deployment's retention from; --retention-days N names the stack's parameter \
         RetentionDays"
    )]
    NoRetention,
    /// The retention is longer than the deployment's.
    #[error(
        "--retention-days says {given}, but the newest record is kept for {kept} days: a replay of an event that the table \
         has already deleted could be stored as new; use --retention-days {kept} or less"
    )]
    Retention { given: u32, kept: u32 },
    /// The variable of the key is not set.
    #[error("SONOTHEIA_API_KEY is not set; it holds the key for Sonotheia's API")]
    NoApiKey,
    /// The key does not fit into a header.
    #[error("SONOTHEIA_API_KEY has characters that no key has; it may have been pasted with a line break")]
    BadApiKey,
    /// No answer from Sonotheia's API.
    #[error("no answer from Sonotheia's API at {url}: {source}; {}", source.mend("check the network, or give the API's address with --base-url"))]
    NoApi {
        url: String,
        #[source]
        source: Box<Unanswered>,
    },
    /// Sonotheia's API answered with an error.
    #[error("Sonotheia's API at {url} answered {status} to {path}; {}", api_hint(*status))]
    ApiRefused { url: String, path: String, status: u16 },
    /// Sonotheia's API answered, but not with a JSON object.
    #[error(
        "Sonotheia's API at {url} answered {status} with {came}, and not with a JSON object: --base-url may not be the API's \
         address, and nothing says that the webhook is registered; `register --list` shows the registered webhooks"
    )]
    NotAnObject { url: String, status: u16, came: String },
    /// A page of Sonotheia's list has a shape that the command does not know.
    #[error("cannot read page {page} of Sonotheia's list: {fault}")]
    ListShape { page: usize, fault: String },
    /// The secret does not exist, or has no current version.
    #[error("Secrets Manager has no secret {id}; the stack's output SecretArn names it")]
    NoSecret { id: String },
    /// The secret cannot be read.
    #[error("cannot read secret {id}: {advice}")]
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
    /// The deployment is not well.
    #[error("{wrong} of {checks} checks failed{}", if *.skipped > 0 { format!(", and {skipped} could not be made") } else { String::new() })]
    Unwell {
        wrong: usize,
        skipped: usize,
        checks: usize,
    },
    /// Nothing is wrong with the checks that were made.
    #[error(
        "{skipped} of {checks} checks were not made, and the report says why; {}--allow-skipped accepts that",
        if options.is_empty() { String::new() } else { format!("give {}; ", options.join(", ")) }
    )]
    Skipped {
        skipped: usize,
        checks: usize,
        options: Vec<&'static str>,
    },
}
