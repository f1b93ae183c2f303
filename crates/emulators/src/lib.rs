//! AWS's services on one machine: DynamoDB and Secrets Manager in this process, on loopback ports. The real SDK clients
//! talk to them. The command line uses this crate on a laptop, and the tests use it too.

#![forbid(unsafe_code)]

mod dynamodb;
pub mod sample_events;
mod secrets_manager;
mod server;

use std::error::Error;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use rustls::RootCertStore;
use sonotheia_webhook::aws::transport::HttpsClient;

pub use dynamodb::{DynamoDb, create_table};
pub use secrets_manager::{Fault, SecretsManager, rotate};

/// A boxed error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The region of the emulators.
pub const REGION: &str = "us-east-1";

/// The key id and the key for the emulators, which accept any.
pub const CREDENTIALS: (&str, &str) = ("local", "local");

/// The crates whose warnings the log leaves out: the embedded DynamoDB warns of each failed condition, and here each failed
/// condition is a duplicate.
pub const ERRORS_ONLY: &[&str] = &["dynoxide"];

/// The SDK's settings for an emulator at `endpoint`.
pub fn sdk_config(endpoint: &str) -> SdkConfig {
    let (id, key) = CREDENTIALS;
    let credentials = Credentials::new(id, key, None, None, "local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .http_client(HttpsClient::new(RootCertStore::empty()))
        .build()
}
