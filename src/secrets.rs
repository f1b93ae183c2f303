//! The signing secret: fixed, or in Secrets Manager with a current and a previous version (contract, section 5).
//!
//! [`cache`] decides which call a delivery needs; this module makes the calls.

pub mod cache;
mod clock;
pub mod text;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use tokio::time::Instant;

use crate::cause::{CallError, Causes};
use crate::signature::{Secret, Signature};
use crate::timestamp::Timestamp;
use cache::{Cache, Step};
use clock::SteadyClock;
use text::UnusableSecret;

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
    /// The version is there, and it is not a usable secret.
    #[error("the secret's {stage} version is not usable")]
    Unusable {
        /// The version.
        stage: Stage,
        /// The version's id.
        id: String,
        /// The reason.
        #[source]
        source: UnusableSecret,
    },
    /// The signature matches no usable version, and the receiver cannot ask for newer ones now.
    #[error("no usable version of the secret is known that could settle whether the signature is right")]
    Unavailable,
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
            clock: Mutex::default(),
            cache: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }))
    }

    /// Fetches the current version before the first delivery. A failure is logged, and the delivery asks again.
    pub async fn prefetch(&self, now: Timestamp) {
        if let Self::Managed(managed) = self {
            let _turn = managed.asking.lock().await;
            managed.ask(Stage::Current, managed.time(now)).await;
        }
    }

    /// Finds the version of the secret that made `signature` of `body`.
    pub async fn verify(&self, body: &[u8], signature: &Signature, now: Timestamp) -> Verification {
        match self {
            Self::Fixed(secret) => Verification {
                version: Ok(secret.verify(body, signature).then_some(Stage::Current)),
                refreshes: 0,
            },
            Self::Managed(managed) => managed.verify(body, signature, managed.time(now)).await,
        }
    }
}

/// A secret in Secrets Manager, and its cache.
#[derive(Debug)]
pub struct Managed {
    client: Client,
    id: String,
    period: Duration,
    /// Locked for a moment only, as the cache is.
    clock: Mutex<SteadyClock>,
    /// Locked for a moment only, never while a call waits.
    cache: Mutex<Cache<Secret>>,
    /// Locked while a call waits, so that many deliveries at once make one call.
    asking: tokio::sync::Mutex<()>,
}

/// The time of a delivery, which goes on while the delivery waits for calls.
#[derive(Clone, Copy)]
struct Time {
    start: Timestamp,
    begun: Instant,
}

impl Time {
    fn now(self) -> Timestamp {
        self.start.plus(self.begun.elapsed())
    }
}

impl Managed {
    /// The time of a delivery that began at `wall` by the wall clock.
    fn time(&self, wall: Timestamp) -> Time {
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = Instant::now();
        let start = clock.time(wall, begun);
        Time { start, begun }
    }

    async fn verify(&self, body: &[u8], signature: &Signature, time: Time) -> Verification {
        let mut refreshes = 0;
        let mut turn = None;
        let version = loop {
            let matches = |secret: &Secret| secret.verify(body, signature);
            let step = self.cache().next(matches, self.period, time.start);
            let stage = match step {
                Step::Answer(answer) => break Ok(answer),
                Step::Unavailable => break Err(SecretsError::Unavailable),
                Step::Ask(stage) => stage,
                Step::AskOnMismatch => Stage::Current,
            };
            if turn.is_none() {
                turn = Some(self.asking.lock().await);
                // The delivery that had the turn before may have made the call already.
                continue;
            }
            if matches!(step, Step::AskOnMismatch) {
                self.cache().note_mismatch(time.start);
            }
            refreshes += 1;
            if !self.ask(stage, time).await && !self.cache().has_current() {
                break Err(SecretsError::Unavailable);
            }
        };
        Verification { version, refreshes }
    }

    fn cache(&self) -> MutexGuard<'_, Cache<Secret>> {
        // No change of the cache can panic half way.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one call, notes its result in the cache, and logs a fault. Returns false if the call failed.
    async fn ask(&self, stage: Stage, time: Time) -> bool {
        let asked = time.now();
        let found = self.fetch(stage).await;
        let mut cache = self.cache();
        match (stage, &found) {
            (Stage::Current, Ok((id, secret))) => cache.put_current(id.clone(), Some(secret.clone()), asked),
            (Stage::Current, Err(SecretsError::Unusable { id, .. })) => {
                cache.put_current(id.clone(), None, asked)
            }
            (Stage::Previous, Ok((id, secret))) => {
                cache.put_previous(Some(id.clone()), Some(secret.clone()), asked)
            }
            (Stage::Previous, Err(SecretsError::Unusable { id, .. })) => {
                cache.put_previous(Some(id.clone()), None, asked)
            }
            (Stage::Previous, Err(error)) if error.is_settled() => cache.put_previous(None, None, asked),
            (stage, Err(_)) => cache.note_failure(stage, time.now()),
        }
        drop(cache);
        match &found {
            Ok(_) => {}
            // A secret that was never rotated has no previous version.
            Err(SecretsError::Missing {
                stage: Stage::Previous,
                ..
            }) => {}
            Err(error) => tracing::warn!(error = %Causes(error), "the signing secret could not be refreshed"),
        }
        found.is_ok()
    }

    /// Fetches a version: its id, and the secret.
    async fn fetch(&self, stage: Stage) -> Result<(String, Secret), SecretsError> {
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
        let id = output.version_id().unwrap_or_default().to_owned();
        match text::key(output.secret_string()).and_then(|key| Ok(Secret::new(key)?)) {
            Ok(secret) => Ok((id, secret)),
            Err(source) => Err(SecretsError::Unusable { stage, id, source }),
        }
    }
}

impl SecretsError {
    /// Returns true if the error is about this version of the secret, so that a retry cannot help.
    const fn is_settled(&self) -> bool {
        match self {
            Self::Missing { .. } | Self::Denied { .. } | Self::Unusable { .. } => true,
            Self::Fetch { .. } | Self::Unavailable => false,
        }
    }
}
