//! The parts that `serve` and `backends` share: a configuration that needs no variables, ports, the embedded DynamoDB, and
//! the signals to end.

use std::ffi::OsString;
use std::path::Path;

use emulators::DynamoDb;
use sonotheia_webhook::config::{Config, Fault, Faults, SecretSource};
use tokio::net::TcpListener;

use super::front;
use crate::failure::Failure;

const SECRET: &str = "SONOTHEIA_WEBHOOK_SECRET";

/// The receiver's configuration on a laptop.
pub struct LocalConfig {
    /// The settings. Their secret may be a placeholder, so that nothing uses it but [`given`](Self::given).
    pub config: Config,
    /// The secret in the environment.
    pub given: Option<String>,
}

impl LocalConfig {
    /// Reads the environment. The table has a default name. A laptop does not use Secrets Manager, so the variable for a
    /// secret there does not count.
    ///
    /// # Errors
    /// [`Failure::Configuration`].
    pub fn from_env() -> Result<Self, Failure> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let or = |value, default| Some(Option::unwrap_or_else(value, || OsString::from(default)));
        let secret = variable(SECRET);
        let config = Config::from_lookup(|name| match name {
            SECRET => or(secret.clone(), "placeholder"),
            "SONOTHEIA_WEBHOOK_SECRET_ARN" => None,
            "EVENTS_TABLE" => or(variable(name), "sonotheia-events"),
            // The samples in Sonotheia's documents have dates, and a laptop should accept them.
            "RETENTION_DAYS" => or(variable(name), "3650"),
            _ => variable(name),
        })?;
        let given = match &config.secret {
            SecretSource::Fixed(text) => secret.is_some().then(|| text.clone()),
            SecretSource::SecretsManager(_) => None,
        };
        Ok(Self { config, given })
    }
}

/// The port of `serve`: typed, or else from the environment, or else 8080.
///
/// # Errors
/// [`Failure::Configuration`] if `PORT` is not the number of a port.
pub fn port(typed: Option<u16>) -> Result<u16, Failure> {
    let variable = std::env::var_os("PORT").filter(|value| !value.is_empty());
    let port = match (typed, variable) {
        (Some(port), _) => Some(port),
        (None, None) => Some(8080),
        (None, Some(text)) => text.to_str().and_then(|text| text.trim().parse().ok()),
    };
    port.ok_or_else(|| {
        let fault = "is not the number of a port, 0 to 65535".to_owned();
        let variable = "PORT";
        Faults(vec![Fault { variable, fault }]).into()
    })
}

/// Listens on a port, or says which option to change.
///
/// # Errors
/// [`Failure::Listen`].
pub async fn listen(host: &str, port: u16, option: &'static str) -> Result<TcpListener, Failure> {
    TcpListener::bind((host, port))
        .await
        .map_err(|source| Failure::Listen {
            address: format!("{host}:{port}"),
            option,
            source,
        })
}

/// Starts the embedded DynamoDB, in memory or in a file. Its address is for this process only.
///
/// # Errors
/// [`Failure::Data`] if it cannot use the file.
pub async fn dynamodb(data: Option<&Path>) -> Result<DynamoDb, Failure> {
    DynamoDb::start(front::hidden().await?, data).map_err(|source| match data {
        Some(file) => Failure::Data {
            file: file.to_owned(),
            source,
        },
        None => Failure::BackEnd(source),
    })
}

/// A future that resolves at Ctrl-C or SIGTERM. It misses no signal between this call
/// and the first poll.
///
/// # Errors
/// [`Failure::Serve`] if the operating system refuses.
pub fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::Serve)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(Failure::Serve)?;
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}
