//! The signing secret for commands that need its text: typed, from the environment, or from Secrets Manager.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use clap::Args;
use sonotheia_webhook::cause::CallError;
use sonotheia_webhook::secrets::{Stage, text};
use sonotheia_webhook::signature::EmptySecret;

use crate::args::usage;
use crate::failure::Failure;
use crate::remote::RemoteError;
use crate::{sdk, table};

const TEXT: &str = "SONOTHEIA_WEBHOOK_SECRET";
const ID: &str = "SONOTHEIA_WEBHOOK_SECRET_ARN";

/// The options that name the secret. An option wins over both variables, so clap must not read them: it would treat a
/// variable as if it was typed.
#[derive(Args)]
pub struct Source {
    /// The secret that sender and receiver share [env: SONOTHEIA_WEBHOOK_SECRET]
    #[arg(long, value_name = "TEXT", conflicts_with = "secret_id")]
    secret: Option<String>,
    /// The secret's id or ARN in Secrets Manager, the stack's output SecretArn [env: SONOTHEIA_WEBHOOK_SECRET_ARN]
    #[arg(long, value_name = "ID")]
    secret_id: Option<String>,
}

/// The place of the secret.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// An option or a variable holds the text, which may be empty.
    Given(String),
    /// Secrets Manager holds the text under this id or ARN.
    Managed(String),
}

impl Source {
    /// The place that an option or else the environment names. Ends with status 2 if both variables are set and no option
    /// chooses.
    pub fn place(&self) -> Option<Place> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        match (&self.secret, &self.secret_id) {
            (Some(text), _) => return Some(Place::Given(text.clone())),
            (None, Some(id)) => return Some(Place::Managed(id.clone())),
            (None, None) => {}
        }
        match (variable(TEXT), variable(ID)) {
            (Some(_), Some(_)) => usage(&format!(
                "{TEXT} and {ID} are both set; unset one of them, or choose with --secret or --secret-id"
            )),
            (Some(text), None) => Some(Place::Given(text)),
            (None, Some(id)) => Some(Place::Managed(id)),
            (None, None) => None,
        }
    }

    /// The secret's text, which is not empty. `None` if nothing names a secret.
    pub async fn text(&self, region: Option<&str>) -> Result<Option<String>, Failure> {
        let text = match self.place() {
            Some(Place::Given(text)) => text,
            Some(Place::Managed(id)) => match fetch(&id, Stage::Current, region).await? {
                Some(text) => text,
                None => return Err(RemoteError::NoSecret { id }.into()),
            },
            None => return Ok(None),
        };
        if text.trim().is_empty() {
            return Err(Failure::EmptySecret(EmptySecret));
        }
        Ok(Some(text))
    }
}

/// Reads the key of a version. `None` if there is no such secret or version.
///
/// The region is `region`, else the ARN's, else the environment's.
pub async fn fetch(id: &str, stage: Stage, region: Option<&str>) -> Result<Option<String>, Failure> {
    let sdk = sdk::config(region.or_else(|| region_of(id))).await?;
    let config = aws_sdk_secretsmanager::config::Builder::from(&sdk)
        .timeout_config(
            TimeoutConfig::builder()
                .operation_attempt_timeout(Duration::from_secs(10))
                .operation_timeout(Duration::from_secs(20))
                .build(),
        )
        .build();
    let request = aws_sdk_secretsmanager::Client::from_conf(config).get_secret_value();
    let sent = request.secret_id(id).version_stage(stage.as_str()).send().await;
    let output = match sent {
        Ok(output) => output,
        Err(error) if error.code() == Some("ResourceNotFoundException") => return Ok(None),
        Err(error) => {
            let call = CallError::from(error);
            return Err(RemoteError::Secret {
                id: id.to_owned(),
                advice: table::advice(&call),
                source: call.into(),
            }
            .into());
        }
    };
    let key = text::key(output.secret_string());
    let unusable = |source| RemoteError::UnusableSecret {
        id: id.to_owned(),
        source,
    };
    Ok(Some(key.map_err(unusable)?))
}

/// The region in an ARN: `arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME`.
fn region_of(id: &str) -> Option<&str> {
    let mut parts = id.split(':');
    let is_arn = parts.next() == Some("arn");
    parts.nth(2).filter(|region| is_arn && !region.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_has_its_region() {
        let arn = "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:a-AbCdEf";
        assert_eq!(region_of(arn), Some("cn-north-1"));
        for id in [
            "a/name",
            "arn:aws:secretsmanager",
            "arn:aws:secretsmanager::1:secret:a",
            "x:aws:s:r:1",
        ] {
            assert_eq!(region_of(id), None, "{id}");
        }
    }
}
