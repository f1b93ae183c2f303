//! What every handler needs, built once.

use std::sync::Arc;

use crate::aws;
use crate::cause::Causes;
use crate::config::{Config, SecretSource};
use crate::secrets::Secrets;
use crate::signature::{EmptySecret, Secret};
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::timestamp::Timestamp;

/// The receiver: its configuration, its secret, its table, its log.
pub struct App {
    /// What the environment says.
    pub config: Config,
    /// The signing secret.
    pub secrets: Secrets,
    /// The table.
    pub store: Store,
    /// The log.
    pub telemetry: Telemetry,
}

impl App {
    /// Puts the parts together; calls nobody.
    ///
    /// # Errors
    /// [`EmptySecret`] where the configuration holds the secret itself, and it is empty.
    pub fn new(
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
        Ok(Arc::new(Self {
            config,
            secrets,
            store,
            telemetry,
        }))
    }

    /// Does at start what the first delivery would have to wait for: fetches the secret, and opens the
    /// connection to the table. Never fails: a delivery asks again. Nor does it wait for long, since the
    /// first delivery's sender is waiting already.
    pub async fn prefetch(&self, now: Timestamp) {
        let secret = self.secrets.prefetch(now);
        let connection = self.store.prefetch();
        let both = async { tokio::join!(secret, connection).1 };
        let error: Box<dyn std::error::Error + Send + Sync> =
            match tokio::time::timeout(aws::PREFETCH_DEADLINE, both).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.into(),
                Err(elapsed) => elapsed.into(),
            };
        tracing::warn!(error = %Causes(&*error), "not ready yet; the first delivery asks again");
    }
}
