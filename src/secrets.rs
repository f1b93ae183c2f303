//! The signing secret: fixed, or in Secrets Manager with a current and a previous version (contract, section 5).
//!
//! [`cache`] decides which call a delivery needs; this module makes the calls.

pub mod cache;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use serde::Deserialize;

use crate::cause::{CallError, Causes};
use crate::signature::{EmptySecret, Secret, Signature};
use crate::timestamp::Timestamp;
use cache::{Cache, Step};

/// A version of the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// `AWSCURRENT`, or the fixed secret.
    Current,
    /// `AWSPREVIOUS`.
    Previous,
}

impl Stage {
    /// The staging label that Secrets Manager uses.
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

/// The result of [`Secrets::verify`].
#[derive(Debug)]
pub struct Verification {
    /// The version that matches the signature, `None` if no version matches, or the reason why the receiver does not know.
    pub version: Result<Option<Stage>, SecretsError>,
    /// The number of calls to Secrets Manager for this delivery.
    pub refreshes: u32,
}

/// The receiver could not get a secret, or does not know whether its secrets are the newest.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// Secrets Manager failed, throttled or was slow.
    #[error("the call to Secrets Manager for the secret's {stage} version failed")]
    Fetch {
        /// The version.
        stage: Stage,
        /// The failed call.
        #[source]
        source: CallError,
    },
    /// The secret does not exist, or it has no such version.
    #[error("the secret has no {stage} version")]
    Missing {
        /// The version.
        stage: Stage,
        /// The failed call.
        #[source]
        source: CallError,
    },
    /// The function's role, or the policy of the secret's key, does not allow the call.
    #[error("Secrets Manager denies access to the secret's {stage} version")]
    Denied {
        /// The version.
        stage: Stage,
        /// The failed call.
        #[source]
        source: CallError,
    },
    /// The version holds bytes and no text.
    #[error("the secret's {stage} version is binary; store a string, or a JSON object with `webhook_secret`")]
    Binary {
        /// The version.
        stage: Stage,
    },
    /// The version is a JSON object without a string `webhook_secret`.
    #[error("the secret's {stage} version is a JSON object without a string `webhook_secret`")]
    NoWebhookSecret {
        /// The version.
        stage: Stage,
    },
    /// The version is empty, or holds blanks only.
    #[error("the secret's {stage} version is not usable")]
    Empty {
        /// The version.
        stage: Stage,
        /// The reason.
        #[source]
        source: EmptySecret,
    },
    /// The signature matches no known version, and the receiver cannot ask for newer ones now.
    #[error(
        "the signature matches no known version of the secret, and Secrets Manager is not available to ask for newer ones"
    )]
    Unknown,
}

impl SecretsError {
    /// Returns true if the error is about this version of the secret, so that a retry cannot help.
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

/// The signing secret.
#[derive(Debug)]
pub enum Secrets {
    /// The environment holds the secret.
    Fixed(Secret),
    /// Secrets Manager holds the secret.
    Managed(Box<Managed>),
}

impl Secrets {
    /// A secret with an id or ARN in Secrets Manager. The receiver uses a version for `period` before it asks again.
    pub fn managed(client: Client, id: impl Into<String>, period: Duration) -> Self {
        Self::Managed(Box::new(Managed {
            client,
            id: id.into(),
            period,
            cache: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }))
    }

    /// Fetches the current version before the first delivery. A failure is logged, and the delivery asks again.
    pub async fn prefetch(&self, now: Timestamp) {
        if let Self::Managed(managed) = self {
            let _turn = managed.asking.lock().await;
            if let Err(error) = managed.ask(Stage::Current, Clock::at(now)).await {
                warn(&error);
            }
        }
    }

    /// Finds the version of the secret that made `signature` of `body`.
    pub async fn verify(&self, body: &[u8], signature: &Signature, now: Timestamp) -> Verification {
        match self {
            Self::Fixed(secret) => Verification {
                version: Ok(secret.verify(body, signature).then_some(Stage::Current)),
                refreshes: 0,
            },
            Self::Managed(managed) => managed.verify(body, signature, Clock::at(now)).await,
        }
    }
}

/// A secret in Secrets Manager, and its cache.
#[derive(Debug)]
pub struct Managed {
    client: Client,
    id: String,
    period: Duration,
    /// Locked for a moment only, never while a call waits.
    cache: Mutex<Cache<Secret>>,
    /// Locked while a call waits, so that many deliveries at once make one call.
    asking: tokio::sync::Mutex<()>,
}

/// The wall clock, counted from the time of a delivery.
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
        let version = loop {
            let matches = |secret: &Secret| secret.verify(body, signature);
            let step = self.cache().next(matches, self.period, clock.start);
            let stage = match step {
                Step::Answer(answer) => break Ok(answer),
                Step::Unknown => break Err(SecretsError::Unknown),
                Step::Ask(stage) => stage,
                Step::AskOnMismatch => Stage::Current,
            };
            if turn.is_none() {
                turn = Some(self.asking.lock().await);
                // The delivery that had the turn before may have made the call already.
                continue;
            }
            if matches!(step, Step::AskOnMismatch) {
                self.cache().note_mismatch(clock.start);
            }
            refreshes += 1;
            match self.ask(stage, clock).await {
                Err(error) if !self.cache().has_current() => break Err(error),
                Err(error) => warn(&error),
                Ok(()) => {}
            }
        };
        Verification { version, refreshes }
    }

    fn cache(&self) -> MutexGuard<'_, Cache<Secret>> {
        // No change of the cache can panic half way.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one call, and notes its result in the cache.
    async fn ask(&self, stage: Stage, clock: Clock) -> Result<(), SecretsError> {
        let asked = clock.now();
        let found = self.fetch(stage).await;
        let mut cache = self.cache();
        match (stage, found) {
            (Stage::Current, Ok(version)) => cache.put_current(version.id, version.secret, asked),
            (Stage::Previous, Ok(version)) => cache.put_previous(Some(version.secret), asked),
            (Stage::Previous, Err(error)) if error.is_settled() => {
                cache.put_previous(None, asked);
                // A secret that was never rotated has no previous version.
                if !matches!(error, SecretsError::Missing { .. }) {
                    warn(&error);
                }
            }
            (stage, Err(error)) => {
                cache.note_failure(stage, clock.now());
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

/// A usable version of the secret.
struct Version {
    id: String,
    secret: Secret,
}

fn read(text: &str, stage: Stage) -> Result<Secret, SecretsError> {
    let key = webhook_secret(text, stage)?;
    Secret::new(key).map_err(|source| SecretsError::Empty { stage, source })
}

/// Reads the key from a version's text: the plain string, or the `webhook_secret` of a JSON object. A key of blanks reads
/// as empty: it is a slip, and anyone can guess it.
///
/// # Errors
/// [`SecretsError::NoWebhookSecret`] for an object without a string `webhook_secret`.
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
