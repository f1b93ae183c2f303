//! The AWS clients: which roots they trust, whose credentials they use, how long they may take.
//!
//! Endpoints and credentials come from the SDK's own variables (`AWS_ENDPOINT_URL_DYNAMODB`,
//! `AWS_REGION`, …; "Settings reference" of the AWS SDKs and Tools Reference Guide).

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

use crate::https::HttpsClient;

/// The roots that AWS's endpoints chain to ("Amazon Trust Services", repository of certificates).
///
/// Compiled in: reading a system's hundred and more roots costs a cold start many milliseconds.
const AMAZON_ROOTS: &[u8] = include_bytes!("amazon-roots.pem");

/// The whole of a request's time, from its first byte to its answer. The sender waits 5 s.
pub const REQUEST_DEADLINE: Duration = Duration::from_millis(4200);

/// What may be done ahead of the first request. It and [`REQUEST_DEADLINE`] fit into the sender's 5 s.
pub const PREFETCH_DEADLINE: Duration = Duration::from_millis(600);

/// The file of roots in `SSL_CERT_FILE` can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It can't be read.
    #[error("SSL_CERT_FILE: can't read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It holds no certificate, or something that is none.
    #[error("SSL_CERT_FILE: {path} is not a file of PEM certificates")]
    Pem {
        /// The file.
        path: PathBuf,
    },
}

/// The SDK's settings from the environment, with our trust store.
///
/// # Errors
/// [`TrustError`] where `SSL_CERT_FILE` is set and can't be used.
pub async fn sdk_config() -> Result<SdkConfig, TrustError> {
    let loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(HttpsClient::new(roots()?))
        // It watches for bodies that trickle; the attempts' time-outs end those.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    // Lambda's environment holds the keys, for as long as the process lives: nothing is asked for them,
    // and nothing keeps them fresh. Elsewhere it is the usual chain of files and services.
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

/// The Amazon roots and, where `SSL_CERT_FILE` names a file, those in it: for proxies that end TLS, and
/// for endpoints of one's own.
fn roots() -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    let mut trust = |pem: &[u8]| {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .ok()?;
        // Bundles hold old ones, too, that nothing chains to any more and that can't be read.
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

/// A DynamoDB client that gives up in time to answer: 3 attempts in 2.5 s.
pub fn dynamodb(config: &SdkConfig) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::config::Builder::from(config)
        .timeout_config(timeouts(1200, 2500))
        .retry_config(retries(3))
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

/// A Secrets Manager client that leaves time for the write: 2 attempts in 1.5 s.
pub fn secrets_manager(config: &SdkConfig) -> aws_sdk_secretsmanager::Client {
    let config = aws_sdk_secretsmanager::config::Builder::from(config)
        .timeout_config(timeouts(1000, 1500))
        .retry_config(retries(2))
        .build();
    aws_sdk_secretsmanager::Client::from_conf(config)
}

/// The SDK's defaults bound neither an attempt nor an operation.
fn timeouts(attempt_ms: u64, operation_ms: u64) -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_millis(attempt_ms))
        .operation_timeout(Duration::from_millis(operation_ms))
        .build()
}

fn retries(attempts: u32) -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(attempts)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_millis(400))
}
