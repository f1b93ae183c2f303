//! The table of a deployment, or of an embedded DynamoDB, as the commands that are pointed at it use it.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use axum::http::Uri;
use clap::Args;
use sonotheia_webhook::app::App;
use sonotheia_webhook::aws;
use sonotheia_webhook::cause::{CallError, CallFault};
use sonotheia_webhook::config::{Config, SdkSettings, SecretSource};
use sonotheia_webhook::ingest::Rules;
use sonotheia_webhook::secrets::Secrets;
use sonotheia_webhook::signature::Secret;
use sonotheia_webhook::store::{Store, StoreError};
use sonotheia_webhook::telemetry::Telemetry;

use crate::args::random_hex;
use crate::client;
use crate::failure::Failure;

/// Whose account, which region, or which embedded DynamoDB.
#[derive(Args)]
pub struct Account {
    /// Region of the table; without it AWS_REGION's or the profile's
    #[arg(long)]
    region: Option<String>,
    /// An embedded DynamoDB, as `serve` and `backends` print it, and not AWS
    #[arg(long, value_name = "URL", value_parser = client::base, conflicts_with = "region")]
    dynamodb: Option<Uri>,
}

impl Account {
    /// Whether an embedded DynamoDB was named.
    pub fn is_embedded(&self) -> bool {
        self.dynamodb.is_some()
    }

    /// The SDK's settings: the usual credentials, or those that an embedded DynamoDB takes.
    pub async fn sdk(&self) -> Result<SdkConfig, Failure> {
        if let Some(endpoint) = &self.dynamodb {
            return Ok(emulators::sdk_config(endpoint.to_string().trim_end_matches('/')));
        }
        let mut sdk = aws::sdk_config(&SdkSettings::from_env()?).await;
        if let Some(region) = &self.region {
            sdk = sdk.into_builder().region(Region::new(region.clone())).build();
        }
        if sdk.region().is_none() {
            return Err(Failure::NoRegion);
        }
        Ok(sdk)
    }

    /// A client with more patience than the function's: nobody's delivery waits for it.
    pub fn client(sdk: &SdkConfig) -> Client {
        let config = aws_sdk_dynamodb::config::Builder::from(sdk)
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_attempt_timeout(Duration::from_secs(10))
                    .operation_timeout(Duration::from_secs(30))
                    .build(),
            )
            .retry_config(RetryConfig::standard().with_max_attempts(8))
            .build();
        Client::from_conf(config)
    }

    /// The table, after a read that shows that it answers.
    pub async fn store(&self, table: &str) -> Result<Store, Failure> {
        let sdk = self.sdk().await?;
        let store = Store::new(Self::client(&sdk), table);
        store
            .prefetch()
            .await
            .map_err(|source| Failure::table(table, source))?;
        Ok(store)
    }

    /// The receiver over the table, for its reads. Nobody knows its secret, so it accepts no delivery.
    pub async fn app(&self, table: &str) -> Result<Arc<App>, Failure> {
        let secret = random_hex::<32>()?;
        let config = Config::new(table, SecretSource::Fixed(secret.clone()));
        let secrets = Secrets::Fixed(Secret::new(secret)?);
        let store = self.store(table).await?;
        Ok(App::new(config, secrets, store, Telemetry::new(io::sink())))
    }
}

/// The longest time between a judgement and its write: longer than the time limit of [`Account::client`].
const WRITE_LIMIT: Duration = Duration::from_secs(35);

/// The receiver's rules, from the variables that the function has.
pub fn rules(table: &str) -> Result<Rules, Failure> {
    let config = Config::from_lookup(|name| match name {
        "EVENTS_TABLE" => Some(table.into()),
        "SONOTHEIA_WEBHOOK_SECRET" => Some("not used".into()),
        "SONOTHEIA_WEBHOOK_SECRET_ARN" => None,
        _ => std::env::var_os(name),
    })?;
    Ok(Rules {
        write_limit: WRITE_LIMIT,
        ..config.rules()
    })
}

impl Failure {
    /// Why a table can't be used, and what to do about it.
    pub fn table(table: &str, source: StoreError) -> Self {
        let advice = match &source {
            StoreError::Foreign { .. } => "another program may have made it",
            StoreError::Vanished => "run the command again",
            StoreError::Unavailable { .. } | StoreError::Misunderstood { .. } => advice_in_chain(&source),
        };
        Self::Table {
            table: table.to_owned(),
            advice,
            source: source.into(),
        }
    }
}

/// What to do about an error of the store, by the failed call among its causes.
fn advice_in_chain(error: &(dyn Error + 'static)) -> &'static str {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(call) = error.downcast_ref::<CallError>() {
            return advice(call);
        }
        next = error.source();
    }
    unanswered(false)
}

/// What to do about a call that failed.
pub fn advice(error: &CallError) -> &'static str {
    match error.code() {
        Some(code) => refused(code),
        None => unanswered(error.fault() == CallFault::Credentials),
    }
}

fn refused(code: &str) -> &'static str {
    match code {
        "ResourceNotFoundException" => {
            "there is none of that name here; the stack's output EventsTableName has it, --region and AWS_REGION say where"
        }
        "AccessDeniedException" => "these credentials may not read it",
        "UnrecognizedClientException" | "InvalidSignatureException" | "ExpiredTokenException" => {
            "AWS does not take these credentials; sign in again, or see `aws sts get-caller-identity`"
        }
        "ValidationException" => {
            "its key is not the receiver's, or its name is none; the template makes the right one"
        }
        _ => "AWS refuses; the code in the error is the reason",
    }
}

/// Nobody was asked: the SDK had nobody to ask as, or nobody to ask.
fn unanswered(has_no_credentials: bool) -> &'static str {
    if has_no_credentials {
        "there may be no AWS credentials here; see `aws sts get-caller-identity`"
    } else {
        "nothing answers there; check the region, --dynamodb, the network"
    }
}
