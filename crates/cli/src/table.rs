//! The table of a deployment, or of an embedded DynamoDB.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::Client;
use axum::http::Uri;
use clap::Args;
use sonotheia_webhook::app::App;
use sonotheia_webhook::aws::transport::error::TransportError;
use sonotheia_webhook::cause::{CallError, CallFault};
use sonotheia_webhook::config::{Config, SdkSettings, SecretSource};
use sonotheia_webhook::secrets::Secrets;
use sonotheia_webhook::signature::Secret;
use sonotheia_webhook::store::{Store, StoreError};
use sonotheia_webhook::telemetry::Telemetry;

use crate::args;
use crate::args::random_hex;
use crate::failure::Failure;
use crate::proxies::Proxies;
use crate::remote::RemoteError;
use crate::sdk;

/// The time limit of a call to DynamoDB, all attempts together. No delivery waits for it, so it is longer than the
/// function's.
pub const OPERATION: Duration = Duration::from_secs(30);

/// The account and the region of a table, or an embedded DynamoDB.
#[derive(Args)]
pub struct Account {
    /// The region; without it, the region of AWS_REGION or of the profile
    #[arg(long, value_parser = args::region)]
    pub region: Option<String>,
    /// The address of an embedded DynamoDB, as `serve` and `backends` print it
    #[arg(long, value_name = "URL", value_parser = crate::address::base, conflicts_with = "region")]
    dynamodb: Option<Uri>,
}

impl Account {
    /// Returns true if the table is in an embedded DynamoDB.
    pub fn is_embedded(&self) -> bool {
        self.dynamodb.is_some()
    }

    /// The table in words that differ for each table: its ARN, which names the account and the region, and the endpoint if it is
    /// not AWS's.
    ///
    /// # Errors
    /// As [`sdk`](Self::sdk), and [`RemoteError::Table`].
    pub async fn name(&self, table: &str) -> Result<String, Failure> {
        if let Some(endpoint) = &self.dynamodb {
            return Ok(format!("table {table} at {endpoint}"));
        }
        let client = Self::client(&self.sdk().await?);
        let described = client.describe_table().table_name(table).send().await;
        let described = described.map_err(|error| {
            let call = CallError::from(error);
            RemoteError::Table {
                table: table.to_owned(),
                advice: advice(&call),
                source: call.into(),
            }
        })?;
        let arn = described.table().and_then(|table| table.table_arn());
        let endpoint = |name| std::env::var(name).ok().filter(|endpoint| !endpoint.is_empty());
        let endpoint = endpoint("AWS_ENDPOINT_URL_DYNAMODB").or_else(|| endpoint("AWS_ENDPOINT_URL"));
        let at = endpoint.map_or(String::new(), |endpoint| format!(" at {endpoint}"));
        Ok(format!("table {}{at}", arn.unwrap_or(table)))
    }

    /// The SDK's settings: the usual credentials, or the credentials that an embedded DynamoDB accepts.
    pub async fn sdk(&self) -> Result<SdkConfig, Failure> {
        let Some(endpoint) = &self.dynamodb else {
            return Ok(sdk::config(self.region.as_deref()).await?);
        };
        Proxies::from_env().of(endpoint).map_err(RemoteError::from)?;
        let embedded = emulators::sdk_config(endpoint.to_string().trim_end_matches('/'));
        Ok(embedded
            .into_builder()
            .http_client(sdk::http_client(&SdkSettings::from_env()?)?)
            .build())
    }

    /// A client for commands.
    pub fn client(sdk: &SdkConfig) -> Client {
        let config = aws_sdk_dynamodb::config::Builder::from(sdk)
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_attempt_timeout(OPERATION / 3)
                    .operation_timeout(OPERATION)
                    .build(),
            )
            // The waits between five attempts are at most 15 s, so that the last error of AWS comes before the time limit.
            .retry_config(RetryConfig::standard().with_max_attempts(5))
            .build();
        Client::from_conf(config)
    }

    /// The table, after a read that shows that the table answers.
    pub async fn store(&self, table: &str) -> Result<Store, Failure> {
        let sdk = self.sdk().await?;
        let store = Store::new(Self::client(&sdk), table);
        store
            .prefetch()
            .await
            .map_err(|source| Failure::table(table, source))?;
        Ok(store)
    }

    /// The receiver over the table, for its reads. Its secret is random, so it accepts no delivery.
    pub async fn app(&self, table: &str) -> Result<Arc<App>, Failure> {
        let secret = random_hex::<32>()?;
        let config = Config::new(table, SecretSource::Fixed(secret.clone()));
        let secrets = Secrets::Fixed(Secret::new(secret)?);
        let store = self.store(table).await?;
        Ok(App::new(config, secrets, store, Telemetry::new(io::sink())))
    }
}

impl Failure {
    /// The reason why the table cannot be used, and advice.
    pub fn table(table: &str, source: StoreError) -> Self {
        let advice = match &source {
            StoreError::Foreign { .. } => {
                "another program wrote the record; compare --table with the stack's output EventsTableName"
            }
            StoreError::Vanished => "run the command again",
            StoreError::Unavailable { .. } | StoreError::Misunderstood { .. } => advice_in_chain(&source),
        };
        Self::Remote(RemoteError::Table {
            table: table.to_owned(),
            advice,
            source: source.into(),
        })
    }
}

/// What to do about an error of the store, by the call that failed among its causes.
fn advice_in_chain(error: &(dyn Error + 'static)) -> &'static str {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(call) = error.downcast_ref::<CallError>() {
            return advice(call);
        }
        next = error.source();
    }
    "run the command again"
}

/// What to do about a call to AWS that failed.
pub fn advice(call: &CallError) -> &'static str {
    if let Some(code) = call.code() {
        return advice_by_code(code);
    }
    match call.fault() {
        CallFault::Credentials => "there are no AWS credentials; see `aws sts get-caller-identity`",
        CallFault::Construction => {
            "AWS_REGION, the endpoint or the credentials have characters that no request can have"
        }
        CallFault::Transport(TransportError::Connect(ErrorKind::ConnectionRefused)) => {
            "the connection was refused: nothing answers there; check --dynamodb, AWS_ENDPOINT_URL_DYNAMODB and the proxies' variables"
        }
        CallFault::Transport(TransportError::Resolve) => {
            "the host has no address; check the region, the endpoint and the proxies' variables"
        }
        CallFault::Transport(TransportError::Tls(_)) => {
            "TLS failed; behind a proxy that ends TLS, SSL_CERT_FILE names the proxy's root"
        }
        CallFault::Dispatch => {
            "the request could not be sent; a proxy may have refused it: check the proxies' variables and the network"
        }
        CallFault::Timeout | CallFault::ConnectionTimeout => {
            "no answer in time; check the network, and run the command again"
        }
        _ => "nothing answers there; check the region, --dynamodb, the network and the proxies' variables",
    }
}

fn advice_by_code(code: &str) -> &'static str {
    match code {
        "ResourceNotFoundException" => {
            "there is no such name in this account and region; the stack's outputs EventsTableName and SecretArn have the \
             names, and --region or AWS_REGION the region"
        }
        "AccessDeniedException" => {
            "these credentials do not allow the call; infra/README.md lists the permissions"
        }
        "UnrecognizedClientException" | "InvalidSignatureException" | "ExpiredTokenException" => {
            "AWS does not accept these credentials; sign in again, or see `aws sts get-caller-identity`"
        }
        "ValidationException" => {
            "its key is not the receiver's, or its name is not valid; the template makes the right table"
        }
        "ThrottlingException" | "ProvisionedThroughputExceededException" | "RequestLimitExceeded" => {
            "AWS limits the number of calls; wait a minute and run the command again"
        }
        _ => "AWS answered with an error; its code says why",
    }
}
