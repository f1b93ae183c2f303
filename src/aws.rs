//! The AWS clients: their roots of trust, their credentials and their time limits. [`transport`] carries their requests.
//!
//! Endpoints and credentials come from the SDK's own variables (`AWS_ENDPOINT_URL_DYNAMODB`,
//! `AWS_REGION`, …; "Settings reference" of the AWS SDKs and Tools Reference Guide).

pub mod transport;

use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

use crate::config::{Endpoints, SdkSettings};
use crate::deadline;
use transport::HttpsClient;

/// The roots that AWS's endpoints chain to ("Amazon Trust Services", repository of certificates).
///
/// The binary contains them, in the form that needs no decoding. Reading the more than hundred roots of the system would add
/// many milliseconds to a cold start. `aws/amazon-roots.pem` has the same roots for people; a test compares both.
const AMAZON_ROOTS: [&[u8]; 5] = [
    include_bytes!("aws/roots/amazon-root-ca-1.der"),
    include_bytes!("aws/roots/amazon-root-ca-2.der"),
    include_bytes!("aws/roots/amazon-root-ca-3.der"),
    include_bytes!("aws/roots/amazon-root-ca-4.der"),
    include_bytes!("aws/roots/starfield-services-root-certificate-authority-g2.der"),
];

/// The SDK's settings, with the receiver's transport and roots.
pub async fn sdk_config(settings: &SdkSettings) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(HttpsClient::new(roots(&settings.roots)))
        // Each client has its own limits. Without a value here, the SDK would read its variables and panic on some.
        .retry_config(RetryConfig::standard())
        // This protection ends slow answers. The time limit of an attempt ends them too.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    }
    // On Lambda the environment holds the keys for as long as the process lives, so nothing has to refresh them.
    // Elsewhere the SDK's usual chain of files and services provides them.
    let keys = EnvironmentVariableCredentialsProvider::new()
        .provide_credentials()
        .await;
    if let Ok(keys) = keys {
        loader = loader
            .credentials_provider(keys)
            .identity_cache(IdentityCache::no_cache());
    }
    with_endpoints(loader.load().await, settings)
}

/// Makes an empty endpoint variable count as unset.
pub fn with_endpoints(sdk: SdkConfig, settings: &SdkSettings) -> SdkConfig {
    let Some(endpoints) = &settings.endpoints else {
        return sdk;
    };
    let mut builder = sdk.into_builder().service_config(endpoints.clone());
    builder.set_endpoint_url(endpoints.all.clone());
    builder.build()
}

impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        match (key.env(), key.service_id()) {
            ("AWS_ENDPOINT_URL", "DynamoDB") => self.dynamodb.clone(),
            ("AWS_ENDPOINT_URL", "Secrets Manager") => self.secrets_manager.clone(),
            _ => None,
        }
    }
}

/// Amazon's roots and more roots: for proxies that end TLS, and for endpoints outside of AWS.
fn roots(more: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(AMAZON_ROOTS.map(CertificateDer::from));
    roots.add_parsable_certificates(more.iter().cloned());
    roots
}

/// Returns true if at least one of the certificates can be a root.
pub fn can_trust(certificates: &[CertificateDer<'static>]) -> bool {
    let (trusted, _) = RootCertStore::empty().add_parsable_certificates(certificates.iter().cloned());
    trusted > 0
}

/// A DynamoDB client that gives up in time for an answer.
pub fn dynamodb(config: &SdkConfig) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::config::Builder::from(config)
        .timeout_config(timeouts(deadline::DYNAMODB))
        .retry_config(retries(deadline::DYNAMODB))
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

/// A Secrets Manager client that leaves time for the write.
pub fn secrets_manager(config: &SdkConfig) -> aws_sdk_secretsmanager::Client {
    let config = aws_sdk_secretsmanager::config::Builder::from(config)
        .timeout_config(timeouts(deadline::SECRETS_MANAGER))
        .retry_config(retries(deadline::SECRETS_MANAGER))
        .build();
    aws_sdk_secretsmanager::Client::from_conf(config)
}

fn timeouts(limits: deadline::Call) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(deadline::CONNECT)
        .operation_attempt_timeout(limits.attempt)
        .operation_timeout(limits.operation)
        .build()
}

fn retries(limits: deadline::Call) -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(limits.attempts)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_millis(400))
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn the_roots_are_those_of_the_file_for_people() {
        let pem = include_bytes!("aws/amazon-roots.pem");
        let pem: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .map(|root| root.expect("a certificate"))
            .collect();
        assert_eq!(AMAZON_ROOTS.map(CertificateDer::from).to_vec(), pem);
        assert_eq!(roots(&[]).len(), pem.len());
    }
}
