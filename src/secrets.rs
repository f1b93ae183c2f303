//! The signing secret: current and previous version, cached, refreshed on a mismatch (contract, section 5).
//!
//! What a delivery may cost in calls to Secrets Manager:
//!
//! | When | Call | Limit |
//! |---|---|---|
//! | start, and when the cached version is `SECRET_CACHE_SECONDS` old | `AWSCURRENT` | once per cache period |
//! | a signature doesn't match a current version | `AWSPREVIOUS` | once per version and cache period |
//! | it matches neither | `AWSCURRENT` | once in 30 s |
//!
//! After a call that failed there is none for a second, as long as there is a version to go on with:
//! the last good one serves. But a signature is called wrong only by what is known to be true now.
//! While Secrets Manager can't be asked, a mismatch may be a rotation, and is an error, not a verdict.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use serde::Deserialize;

use crate::cause::{CallError, Causes};
use crate::signature::{EmptySecret, Secret, Signature};
use crate::timestamp::Timestamp;

/// How often a mismatch may ask for the current version again.
const MISMATCH_INTERVAL: Duration = Duration::from_secs(30);

/// How long Secrets Manager is left alone after a call that failed.
const FAILURE_INTERVAL: Duration = Duration::from_secs(1);

/// Which version a signature was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// `AWSCURRENT`, or the fixed secret.
    Current,
    /// `AWSPREVIOUS`.
    Previous,
}

/// What [`Secrets::verify`] found, and what it cost.
#[derive(Debug)]
pub struct Verification {
    /// The version that matched, none where the signature is nobody's, or why that can't be told.
    pub result: Result<Option<Match>, SecretsError>,
    /// Calls to Secrets Manager that were made for it.
    pub refreshes: u32,
}

/// The secret, or the truth about it, can't be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// Secrets Manager failed, refused or was slow.
    #[error("Secrets Manager did not give the {stage} version of the secret")]
    Fetch {
        /// The staging label asked for.
        stage: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The version has no text.
    #[error(
        "the secret's {stage} version is binary; it has to be a string, or a JSON object with `webhook_secret`"
    )]
    Binary {
        /// The staging label asked for.
        stage: &'static str,
    },
    /// A JSON object, but not the one that is wanted.
    #[error("the secret's {stage} version is a JSON object without a string `webhook_secret`")]
    NoWebhookSecret {
        /// The staging label asked for.
        stage: &'static str,
    },
    /// The version is empty.
    #[error("the secret's {stage} version is not usable")]
    Empty {
        /// The staging label asked for.
        stage: &'static str,
        /// Why.
        #[source]
        source: EmptySecret,
    },
    /// The signature matches no version that is known, and the newest ones can't be had.
    #[error("the signature matches no known version, and Secrets Manager can't be asked for newer ones")]
    Unknown,
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
            let mut asked = Asked {
                managed,
                refreshes: 0,
                now,
            };
            if let Err(error) = asked.current().await {
                warn(&error);
            }
        }
    }

    /// Whether `signature` is that of `body` under the current or the previous secret.
    pub async fn verify(&self, body: &[u8], signature: &Signature, now: Timestamp) -> Verification {
        match self {
            Self::Fixed(secret) => Verification {
                result: Ok(secret.verify(body, signature).then_some(Match::Current)),
                refreshes: 0,
            },
            Self::Managed(managed) => {
                let mut asked = Asked {
                    managed,
                    refreshes: 0,
                    now,
                };
                let result = asked.verify(body, signature).await;
                let refreshes = asked.refreshes;
                Verification { result, refreshes }
            }
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

#[derive(Clone, Debug, Default)]
struct Known {
    current: Option<Current>,
    /// The previous version (or that there is none), and the current one it was asked for beside.
    previous: Option<Previous>,
    mismatch_refresh: Option<Timestamp>,
    failure: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct Current {
    version: String,
    secret: Secret,
    fetched: Timestamp,
}

#[derive(Clone, Debug)]
struct Previous {
    beside: String,
    secret: Option<Secret>,
    fetched: Timestamp,
}

impl Known {
    fn matching(&self, body: &[u8], signature: &Signature) -> Option<Match> {
        let current = self.current.as_ref()?;
        if current.secret.verify(body, signature) {
            return Some(Match::Current);
        }
        let previous = self.previous.as_ref().filter(|p| p.beside == current.version)?;
        let secret = previous.secret.as_ref()?;
        secret.verify(body, signature).then_some(Match::Previous)
    }

    fn previous_of_current(&self) -> Option<&Previous> {
        let current = self.current.as_ref()?;
        self.previous.as_ref().filter(|p| p.beside == current.version)
    }
}

/// Whether `then` is less than `interval` ago. A clock that went back says no, and that asks once too often.
fn within(interval: Duration, then: Timestamp, now: Timestamp) -> bool {
    now.since(then).is_some_and(|age| age < interval)
}

/// One delivery's dealings with the secret.
struct Asked<'a> {
    managed: &'a Managed,
    refreshes: u32,
    now: Timestamp,
}

impl Asked<'_> {
    async fn verify(&mut self, body: &[u8], signature: &Signature) -> Result<Option<Match>, SecretsError> {
        let managed = self.managed;
        if !self.is_fresh() {
            let _one_at_a_time = managed.asking.lock().await;
            if !self.is_fresh() {
                self.renew_current().await?;
            }
        }
        if let Some(version) = self.known().matching(body, signature) {
            return Ok(Some(version));
        }

        let _one_at_a_time = managed.asking.lock().await;
        self.renew_previous().await;
        if let Some(version) = self.known().matching(body, signature) {
            return Ok(Some(version));
        }
        if self.may_refresh_on_mismatch() {
            self.known().mismatch_refresh = Some(self.now);
            if let Err(error) = self.current().await {
                warn(&error);
            }
            self.renew_previous().await;
            if let Some(version) = self.known().matching(body, signature) {
                return Ok(Some(version));
            }
        }
        let knows_all = self.is_fresh() && self.known().previous_of_current().is_some();
        if knows_all {
            Ok(None)
        } else {
            Err(SecretsError::Unknown)
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Whoever panicked while holding it left a whole value: every write is one assignment.
        self.managed.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_fresh(&self) -> bool {
        let known = self.known();
        let current = known.current.as_ref();
        current.is_some_and(|current| within(self.managed.cache, current.fetched, self.now))
            // A cache of no seconds still holds for the delivery that filled it.
            || self.refreshes > 0 && current.is_some_and(|current| current.fetched == self.now)
    }

    fn failed_lately(&self) -> bool {
        self.known()
            .failure
            .is_some_and(|then| within(FAILURE_INTERVAL, then, self.now))
    }

    fn may_refresh_on_mismatch(&self) -> bool {
        let last = self.known().mismatch_refresh;
        !self.failed_lately() && !last.is_some_and(|then| within(MISMATCH_INTERVAL, then, self.now))
    }

    /// The current version anew; the last good one serves where that fails.
    async fn renew_current(&mut self) -> Result<(), SecretsError> {
        let have_one = self.known().current.is_some();
        if have_one && self.failed_lately() {
            return Ok(());
        }
        match self.current().await {
            Err(error) if have_one => {
                warn(&error);
                Ok(())
            }
            result => result,
        }
    }

    /// The previous version, where it is not known for this current version and cache period.
    async fn renew_previous(&mut self) {
        let beside = {
            let known = self.known();
            let fresh =
                |p: &Previous| within(self.managed.cache, p.fetched, self.now) || p.fetched == self.now;
            if known.previous_of_current().is_some_and(fresh) {
                return;
            }
            known.current.as_ref().map(|current| current.version.clone())
        };
        let Some(beside) = beside else { return };
        if self.failed_lately() {
            return;
        }
        match self.fetch("AWSPREVIOUS").await {
            Ok(found) => {
                self.known().previous = Some(Previous {
                    beside,
                    secret: found.map(|(_, secret)| secret),
                    fetched: self.now,
                });
            }
            Err(error) => warn(&error),
        }
    }

    async fn current(&mut self) -> Result<(), SecretsError> {
        const STAGE: &str = "AWSCURRENT";
        let Some((version, secret)) = self.fetch(STAGE).await? else {
            self.known().failure = Some(self.now);
            let source = "there is no such secret, or it has no such version".into();
            return Err(SecretsError::Fetch { stage: STAGE, source });
        };
        let fetched = self.now;
        self.known().current = Some(Current {
            version,
            secret,
            fetched,
        });
        Ok(())
    }

    /// One call. A stage that no version has is `None`.
    async fn fetch(&mut self, stage: &'static str) -> Result<Option<(String, Secret)>, SecretsError> {
        self.refreshes += 1;
        let result = self.call(stage).await;
        self.known().failure = result.is_err().then_some(self.now);
        result
    }

    async fn call(&self, stage: &'static str) -> Result<Option<(String, Secret)>, SecretsError> {
        let request = self.managed.client.get_secret_value();
        let sent = request
            .secret_id(&self.managed.id)
            .version_stage(stage)
            .send()
            .await;
        let output = match sent {
            Ok(output) => output,
            Err(error) => match error.as_service_error() {
                Some(GetSecretValueError::ResourceNotFoundException(_)) => return Ok(None),
                _ => {
                    return Err(SecretsError::Fetch {
                        stage,
                        source: CallError::from(error).into(),
                    });
                }
            },
        };
        let text = output.secret_string().ok_or(SecretsError::Binary { stage })?;
        let secret = read(text, stage)?;
        Ok(Some((output.version_id().unwrap_or_default().to_owned(), secret)))
    }
}

/// The plain string, or the `webhook_secret` of a JSON object.
fn read(text: &str, stage: &'static str) -> Result<Secret, SecretsError> {
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
    // One of blanks alone is a slip, and as easily guessed as an empty one.
    let key = if secret.trim().is_empty() { "" } else { &secret };
    Secret::new(key).map_err(|source| SecretsError::Empty { stage, source })
}

fn warn(error: &SecretsError) {
    tracing::warn!(error = %Causes(error), "the signing secret could not be refreshed");
}
