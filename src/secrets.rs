//! The signing secret: current and previous version, cached, refreshed on a mismatch (contract, section 5).
//!
//! What a delivery may cost in calls to Secrets Manager:
//!
//! | When | Call | Limit |
//! |---|---|---|
//! | start, and when the cached version is `SECRET_CACHE_SECONDS` old | `AWSCURRENT` | once per cache period |
//! | a signature doesn't match the current version | `AWSPREVIOUS` | once per current version and cache period |
//! | it matches neither | `AWSCURRENT` | once in 30 s |
//! | a call failed | the same again | once in 10 s; without any current version, once a delivery |
//!
//! While a call fails, the last good version serves, whatever its age. An `AWSPREVIOUS` that is not
//! there, can't be used, or is denied to us, is no failure: for a cache period there is no previous secret.
//!
//! A signature is called wrong only by what is known to be true now, which is both versions asked for
//! within the cache period. Else a mismatch may be a rotation, and is an error, not a verdict.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use serde::Deserialize;

use crate::cause::{CallError, Causes};
use crate::signature::{EmptySecret, Secret, Signature};
use crate::timestamp::Timestamp;

/// How often a mismatch may ask for the current version again.
const MISMATCH_INTERVAL: Duration = Duration::from_secs(30);

/// How long a version is not asked for again after a call that failed.
const FAILURE_INTERVAL: Duration = Duration::from_secs(10);

/// How far ahead of a delivery's time a noted one is believed: further than any delivery takes, since
/// they overtake each other and note what they asked for on the way, and a clock may be set back.
const AHEAD: Duration = Duration::from_secs(60);

/// One of the secret's two versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// `AWSCURRENT`, or the fixed secret.
    Current,
    /// `AWSPREVIOUS`.
    Previous,
}

impl Stage {
    /// Secrets Manager's label for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "AWSCURRENT",
            Self::Previous => "AWSPREVIOUS",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What [`Secrets::verify`] found, and what it cost.
#[derive(Debug)]
pub struct Verification {
    /// The version that matched, none where the signature is nobody's, or why that can't be told.
    pub result: Result<Option<Stage>, SecretsError>,
    /// Calls to Secrets Manager that were made for it.
    pub refreshes: u32,
}

/// The secret, or the truth about it, can't be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// Secrets Manager failed, throttled or was slow.
    #[error("Secrets Manager did not give the {stage} version of the secret")]
    Fetch {
        /// The version asked for.
        stage: Stage,
        /// Why.
        #[source]
        source: CallError,
    },
    /// There is no such secret, or it has no such version.
    #[error("the secret has no {stage} version")]
    Missing {
        /// The version asked for.
        stage: Stage,
        /// What Secrets Manager says.
        #[source]
        source: CallError,
    },
    /// The function's role, or the secret's key, keeps it from us.
    #[error("Secrets Manager denies us the {stage} version of the secret")]
    Denied {
        /// The version asked for.
        stage: Stage,
        /// What Secrets Manager says.
        #[source]
        source: CallError,
    },
    /// The version has no text.
    #[error(
        "the secret's {stage} version is binary; it has to be a string, or a JSON object with `webhook_secret`"
    )]
    Binary {
        /// The version asked for.
        stage: Stage,
    },
    /// A JSON object, but not the one that is wanted.
    #[error("the secret's {stage} version is a JSON object without a string `webhook_secret`")]
    NoWebhookSecret {
        /// The version asked for.
        stage: Stage,
    },
    /// The version is empty.
    #[error("the secret's {stage} version is not usable")]
    Empty {
        /// The version asked for.
        stage: Stage,
        /// Why.
        #[source]
        source: EmptySecret,
    },
    /// The signature matches no version that is known, and the newest ones can't be had.
    #[error("the signature matches no known version, and Secrets Manager can't be asked for newer ones")]
    Unknown,
}

impl SecretsError {
    /// Whether it tells of the version, and another try would tell the same; else it is of the moment.
    const fn is_settled(&self) -> bool {
        match self {
            Self::Missing { .. }
            | Self::Denied { .. }
            | Self::Binary { .. }
            | Self::NoWebhookSecret { .. }
            | Self::Empty { .. } => true,
            Self::Fetch { .. } | Self::Unknown => false,
        }
    }
}

/// The signing secret, wherever it comes from.
#[derive(Debug)]
pub enum Secrets {
    /// The secret itself.
    Fixed(Secret),
    /// A secret in Secrets Manager.
    Managed(Box<Managed>),
}

impl Secrets {
    /// The secret with that id or ARN, each version used for `cache` before it is asked for again.
    pub fn managed(client: Client, id: impl Into<String>, cache: Duration) -> Self {
        Self::Managed(Box::new(Managed {
            client,
            id: id.into(),
            cache,
            known: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }))
    }

    /// Fetches the current version ahead of the first delivery. A failure is logged: the delivery asks again.
    pub async fn prefetch(&self, now: Timestamp) {
        if let Self::Managed(managed) = self {
            let _turn = managed.asking.lock().await;
            if let Err(error) = managed.ask(Stage::Current, Clock::at(now)).await {
                warn(&error);
            }
        }
    }

    /// Whether `signature` is that of `body` under the current or the previous secret.
    pub async fn verify(&self, body: &[u8], signature: &Signature, now: Timestamp) -> Verification {
        match self {
            Self::Fixed(secret) => Verification {
                result: Ok(secret.verify(body, signature).then_some(Stage::Current)),
                refreshes: 0,
            },
            Self::Managed(managed) => managed.verify(body, signature, Clock::at(now)).await,
        }
    }
}

/// A secret in Secrets Manager, and what is known of it.
#[derive(Debug)]
pub struct Managed {
    client: Client,
    id: String,
    cache: Duration,
    /// Held only to read or to write, never while waiting.
    known: Mutex<Known>,
    /// Held while Secrets Manager is asked, so that many deliveries at once ask once.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    current: Slot<Version>,
    /// The version before the current one, or that there is none to be used.
    previous: Slot<Option<Secret>>,
    /// When a mismatch last asked for the current version again.
    mismatch: Option<Timestamp>,
}

#[derive(Debug)]
struct Version {
    id: String,
    secret: Secret,
}

/// What is known of one version, and since when.
#[derive(Debug)]
struct Slot<T> {
    /// What was got last, and when it was asked for.
    held: Option<(T, Timestamp)>,
    /// When the last call ended, if it failed.
    failed: Option<Timestamp>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        let (held, failed) = (None, None);
        Self { held, failed }
    }
}

impl<T> Slot<T> {
    fn fill(&mut self, value: T, asked: Timestamp) {
        self.held = Some((value, asked));
        self.failed = None;
    }

    fn value(&self) -> Option<&T> {
        self.held.as_ref().map(|(value, _)| value)
    }

    fn is_within(&self, age: Duration, now: Timestamp) -> bool {
        self.held
            .as_ref()
            .is_some_and(|(_, asked)| within(age, *asked, now))
    }

    fn failed_lately(&self, now: Timestamp) -> bool {
        self.failed
            .is_some_and(|then| within(FAILURE_INTERVAL, then, now))
    }
}

/// Whether `then` is less than `interval` ago, or about now.
fn within(interval: Duration, then: Timestamp, now: Timestamp) -> bool {
    match now.since(then) {
        Some(age) => age < interval || age.is_zero(),
        None => then.since(now).is_some_and(|lead| lead <= AHEAD),
    }
}

/// What a delivery has to do next.
enum Step {
    Answer(Option<Stage>),
    /// There is no answer to be had.
    Unknown,
    Ask(Stage),
    /// Ask for the current version because of a mismatch.
    AskOnMismatch,
}

impl Known {
    /// The module's table. Every call that it asks for changes what is known, so that it asks for none twice.
    fn next(&self, body: &[u8], signature: &Signature, cache: Duration, now: Timestamp) -> Step {
        let Self {
            current, previous, ..
        } = self;
        let is_fresh = current.is_within(cache, now);
        let may_ask = !current.failed_lately(now);
        let version = match current.value() {
            Some(version) if is_fresh || !may_ask => version,
            _ => return Step::Ask(Stage::Current),
        };
        if version.secret.verify(body, signature) {
            return Step::Answer(Some(Stage::Current));
        }

        // One that is out of its time may have been revoked: it is asked for before it is believed.
        let is_previous_fresh = previous.is_within(cache, now);
        if !is_previous_fresh && !previous.failed_lately(now) {
            return Step::Ask(Stage::Previous);
        }
        if let Some(Some(secret)) = previous.value()
            && secret.verify(body, signature)
        {
            return Step::Answer(Some(Stage::Previous));
        }

        let asked_for_this_delivery = current.is_within(Duration::ZERO, now);
        let asked_on_mismatch = self
            .mismatch
            .is_some_and(|then| within(MISMATCH_INTERVAL, then, now));
        if may_ask && !asked_for_this_delivery && !asked_on_mismatch {
            return Step::AskOnMismatch;
        }
        if is_fresh && is_previous_fresh {
            Step::Answer(None)
        } else {
            Step::Unknown
        }
    }

    /// Another current version has another one before it.
    fn put_current(&mut self, version: Version, asked: Timestamp) {
        if self.current.value().is_none_or(|known| known.id != version.id) {
            self.previous = Slot::default();
        }
        self.current.fill(version, asked);
    }
}

/// The wall clock, from a delivery's time on.
#[derive(Clone, Copy)]
struct Clock {
    start: Timestamp,
    begun: Instant,
}

impl Clock {
    fn at(start: Timestamp) -> Self {
        let begun = Instant::now();
        Self { start, begun }
    }

    fn now(self) -> Timestamp {
        self.start.plus(self.begun.elapsed())
    }
}

impl Managed {
    async fn verify(&self, body: &[u8], signature: &Signature, clock: Clock) -> Verification {
        let mut refreshes = 0;
        let mut turn = None;
        let result = loop {
            let step = self.known().next(body, signature, self.cache, clock.start);
            let stage = match step {
                Step::Answer(answer) => break Ok(answer),
                Step::Unknown => break Err(SecretsError::Unknown),
                Step::Ask(stage) => stage,
                Step::AskOnMismatch => Stage::Current,
            };
            if turn.is_none() {
                turn = Some(self.asking.lock().await);
                // Whoever had the turn before may have asked already.
                continue;
            }
            if matches!(step, Step::AskOnMismatch) {
                self.known().mismatch = Some(clock.start);
            }
            refreshes += 1;
            match self.ask(stage, clock).await {
                Err(error) if self.known().current.held.is_none() => break Err(error),
                Err(error) => warn(&error),
                Ok(()) => {}
            }
        };
        Verification { result, refreshes }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing that is done while it is held can leave it half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call, and what is known by it.
    async fn ask(&self, stage: Stage, clock: Clock) -> Result<(), SecretsError> {
        let asked = clock.now();
        let found = self.fetch(stage).await;
        let mut known = self.known();
        match (stage, found) {
            (Stage::Current, Ok(version)) => known.put_current(version, asked),
            (Stage::Previous, Ok(version)) => known.previous.fill(Some(version.secret), asked),
            (Stage::Previous, Err(error)) if error.is_settled() => {
                known.previous.fill(None, asked);
                // A secret that was never rotated has none.
                if !matches!(error, SecretsError::Missing { .. }) {
                    warn(&error);
                }
            }
            (Stage::Current, Err(error)) => {
                known.current.failed = Some(clock.now());
                return Err(error);
            }
            (Stage::Previous, Err(error)) => {
                known.previous.failed = Some(clock.now());
                return Err(error);
            }
        }
        Ok(())
    }

    async fn fetch(&self, stage: Stage) -> Result<Version, SecretsError> {
        let request = self.client.get_secret_value().secret_id(&self.id);
        let sent = request.version_stage(stage.as_str()).send().await;
        let output = sent.map_err(|error| {
            let code = error.code().map(str::to_owned);
            let source = CallError::from(error);
            match code.as_deref() {
                Some("ResourceNotFoundException") => SecretsError::Missing { stage, source },
                Some("AccessDeniedException" | "DecryptionFailure") => SecretsError::Denied { stage, source },
                _ => SecretsError::Fetch { stage, source },
            }
        })?;
        let text = output.secret_string().ok_or(SecretsError::Binary { stage })?;
        Ok(Version {
            secret: read(text, stage)?,
            id: output.version_id().unwrap_or_default().to_owned(),
        })
    }
}

fn read(text: &str, stage: Stage) -> Result<Secret, SecretsError> {
    let key = webhook_secret(text, stage)?;
    Secret::new(key).map_err(|source| SecretsError::Empty { stage, source })
}

/// The key in a version's text: the plain string, or the `webhook_secret` of a JSON object. Empty where
/// it is blank: one of blanks alone is a slip, and as easily guessed as an empty one.
///
/// # Errors
/// [`SecretsError::NoWebhookSecret`] for another object.
pub fn webhook_secret(text: &str, stage: Stage) -> Result<String, SecretsError> {
    #[derive(Deserialize)]
    struct Object {
        webhook_secret: String,
    }
    let is_object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok();
    let secret = if is_object {
        let object: Object =
            serde_json::from_str(text).map_err(|_| SecretsError::NoWebhookSecret { stage })?;
        object.webhook_secret
    } else {
        text.to_owned()
    };
    Ok(if secret.trim().is_empty() {
        String::new()
    } else {
        secret
    })
}

fn warn(error: &SecretsError) {
    tracing::warn!(error = %Causes(error), "the signing secret could not be refreshed");
}
