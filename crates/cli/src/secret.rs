//! The secret as a command gets it that has to know its text: given, or from Secrets Manager.

use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use clap::Args;
use sonotheia_webhook::aws;
use sonotheia_webhook::cause::CallError;
use sonotheia_webhook::config::SdkSettings;
use sonotheia_webhook::secrets::{Stage, text};

use crate::failure::Failure;

/// Where the secret is.
#[derive(Args)]
#[group(multiple = false)]
pub struct Source {
    /// The secret that sender and receiver share
    #[arg(
        long,
        value_name = "TEXT",
        env = "SONOTHEIA_WEBHOOK_SECRET",
        hide_env_values = true
    )]
    pub secret: Option<String>,
    /// Its id or ARN in Secrets Manager, the stack's output SecretArn
    #[arg(long, value_name = "ID", env = "SONOTHEIA_WEBHOOK_SECRET_ARN")]
    pub secret_id: Option<String>,
}

impl Source {
    /// The secret's text, which is not empty; none where nothing names one.
    pub async fn text(&self) -> Result<Option<String>, Failure> {
        let text = match (&self.secret, &self.secret_id) {
            (Some(text), _) => text.clone(),
            (None, Some(id)) => fetch(id, Stage::Current)
                .await?
                .ok_or_else(|| Failure::NoSecret { id: id.clone() })?,
            (None, None) => return Ok(None),
        };
        if text.trim().is_empty() {
            return Err(Failure::EmptySecret(sonotheia_webhook::signature::EmptySecret));
        }
        Ok(Some(text))
    }
}

/// Fetches the key of one version. `None` if there is no such secret or version.
pub async fn fetch(id: &str, stage: Stage) -> Result<Option<String>, Failure> {
    let sdk = aws::sdk_config(&SdkSettings::from_env()?).await;
    if sdk.region().is_none() {
        return Err(Failure::NoRegion);
    }
    let request = aws::secrets_manager(&sdk).get_secret_value();
    let sent = request.secret_id(id).version_stage(stage.as_str()).send().await;
    let output = match sent {
        Ok(output) => output,
        Err(error) if error.code() == Some("ResourceNotFoundException") => return Ok(None),
        Err(error) => {
            let error = CallError::from(error);
            return Err(Failure::Secret {
                id: id.to_owned(),
                advice: crate::table::advice(&error),
                source: error.into(),
            });
        }
    };
    let key = text::key(output.secret_string());
    key.map(Some).map_err(|source| Failure::UnusableSecret {
        id: id.to_owned(),
        source,
    })
}
