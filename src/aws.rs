//! The AWS clients: their roots of trust, their credentials and their time limits. [`transport`] carries their requests.
//!
//! Endpoints and credentials come from the SDK's own variables (`AWS_ENDPOINT_URL_DYNAMODB`,
//! `AWS_REGION`, …; "Settings reference" of the AWS SDKs and Tools Reference Guide).

pub mod transport;

use std::path::PathBuf;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::deadline;
use transport::HttpsClient;

/// The roots that AWS's endpoints chain to ("Amazon Trust Services", repository of certificates).
///
/// They are compiled in: to read the system's hundred and more roots would cost a cold start many milliseconds.
const AMAZON_ROOTS: &[u8] = include_bytes!("aws/amazon-roots.pem");

/// The file that `SSL_CERT_FILE` names cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error("SSL_CERT_FILE names {path}, which cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a file of PEM certificates.
    #[error("SSL_CERT_FILE names {path}, which is not a file of PEM certificates")]
    Pem {
        /// The file.
        path: PathBuf,
    },
}

/// The SDK's settings from the environment, with the receiver's transport and roots.
///
/// # Errors
/// [`TrustError`] if `SSL_CERT_FILE` is set and cannot be used.
pub async fn sdk_config() -> Result<SdkConfig, TrustError> {
    let loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(HttpsClient::new(roots()?))
        // This protection watches for slow bodies. The time limit of an attempt ends those.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    // On Lambda the environment holds the keys for as long as the process lives, so nothing has to refresh them.
    // Elsewhere the SDK's usual chain of files and services provides them.
    let keys = EnvironmentVariableCredentialsProvider::new()
        .provide_credentials()
        .await;
    let loader = match keys {
        Ok(keys) => loader
            .credentials_provider(keys)
            .identity_cache(IdentityCache::no_cache()),
        Err(_) => loader,
    };
    Ok(loader.load().await)
}

/// Amazon's roots, and the roots in the file that `SSL_CERT_FILE` names: for proxies that end TLS, and for endpoints
/// outside of AWS.
fn roots() -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    let mut trust = |pem: &[u8]| {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .ok()?;
        // Bundles also hold old certificates, which no endpoint uses and rustls cannot read.
        let (trusted, _) = roots.add_parsable_certificates(certificates);
        (trusted > 0).then_some(())
    };
    trust(AMAZON_ROOTS).expect("the compiled-in roots are certificates");
    if let Some(path) = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from) {
        let pem = std::fs::read(&path).map_err(|source| TrustError::Read {
            path: path.clone(),
            source,
        })?;
        trust(&pem).ok_or(TrustError::Pem { path })?;
    }
    Ok(roots)
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
