//! The parts of the receiver that every handler needs, built once.

use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::cause::Causes;
use crate::config::{Config, SecretSource};
use crate::deadline::Start;
use crate::secrets::Secrets;
use crate::signature::{EmptySecret, Secret};
use crate::sources::Sources;
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::timestamp::Timestamp;
use crate::{aws, deadline};

/// The receiver.
pub struct App {
    /// The settings.
    pub config: Config,
    /// The signing secret.
    pub secrets: Secrets,
    /// The table.
    pub store: Store,
    /// The log.
    pub telemetry: Telemetry,
    /// The wall clock and the random bytes.
    pub sources: Sources,
    /// The start of the process. Empty if no request waits for it, as on a laptop.
    start: OnceLock<Start>,
}

impl App {
    /// Puts the parts together, with the clock and the random bytes of the operating system. Makes no call.
    pub fn new(config: Config, secrets: Secrets, store: Store, telemetry: Telemetry) -> Arc<Self> {
        Self::with_sources(config, secrets, store, telemetry, Sources::system())
    }

    /// As [`new`](Self::new), with another clock and other random bytes.
    pub fn with_sources(
        config: Config,
        secrets: Secrets,
        store: Store,
        telemetry: Telemetry,
        sources: Sources,
    ) -> Arc<Self> {
        Arc::new(Self {
            config,
            secrets,
            store,
            telemetry,
            sources,
            start: OnceLock::new(),
        })
    }

    /// Builds the receiver on AWS's services. Makes no call.
    ///
    /// # Errors
    /// [`EmptySecret`] if the configuration holds the secret, and the secret is empty.
    pub fn on_aws(
        config: Config,
        sdk: &aws_config::SdkConfig,
        telemetry: Telemetry,
    ) -> Result<Arc<Self>, EmptySecret> {
        let secrets = match &config.secret {
            SecretSource::Fixed(secret) => Secrets::Fixed(Secret::new(secret)?),
            SecretSource::SecretsManager(id) => {
                Secrets::managed(aws::secrets_manager(sdk), id, config.secret_cache)
            }
        };
        let store = Store::new(aws::dynamodb(sdk), &config.events_table);
        Ok(Self::new(config, secrets, store, telemetry))
    }

    /// Notes that a process which began at `process` is ready for requests at `now`.
    pub fn ready(&self, process: Instant, now: Timestamp) {
        // The first call counts.
        let _ = self.start.set(Start::new(process, now));
    }

    /// The longest time until the answer, for a request that begins at `now`.
    pub fn time_for_request(&self, now: Timestamp) -> Duration {
        self.start
            .get()
            .map_or(deadline::REQUEST, |start| start.time_for_request(now))
    }

    /// Fetches the secret and opens the connection to the table before the first delivery, which then does not wait for
    /// them. A failure is logged, and the first delivery tries again.
    pub async fn prefetch(&self, now: Timestamp) {
        let secret = self.secrets.prefetch(now);
        let connection = self.store.prefetch();
        let both = async { tokio::join!(secret, connection).1 };
        let error: Box<dyn Error + Send + Sync> = match tokio::time::timeout(deadline::PREFETCH, both).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.into(),
            Err(elapsed) => elapsed.into(),
        };
        tracing::warn!(error = %Causes(&*error), "the start could not fetch ahead; the first delivery tries again");
    }
}
