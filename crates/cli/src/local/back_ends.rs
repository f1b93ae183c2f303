//! The parts that `serve` and `backends` share: a configuration that works without setting up, and servers on this
//! machine.

use std::ffi::OsString;
use std::path::PathBuf;

use emulators::DynamoDb;
use sonotheia_webhook::config::Config;
use tokio::net::TcpListener;

use crate::args::random_hex;
use crate::failure::Failure;

const SECRET: &str = "SONOTHEIA_WEBHOOK_SECRET";

/// The receiver's configuration, with a table and a secret even if the environment names none.
pub struct BackEnds {
    pub config: Config,
    pub secret: String,
    /// True if this process made the secret, and the environment did not.
    pub made: bool,
}

impl BackEnds {
    /// Reads the environment. A laptop does not use Secrets Manager, so this ignores the variable of a secret there.
    pub fn from_env() -> Result<Self, Failure> {
        let given = std::env::var_os(SECRET);
        let made = given.is_none();
        let secret = match given {
            Some(secret) => secret,
            None => random_hex::<32>()?.into(),
        };
        let config = Config::from_lookup(|name| match name {
            SECRET => Some(secret.clone()),
            "SONOTHEIA_WEBHOOK_SECRET_ARN" => None,
            "EVENTS_TABLE" => std::env::var_os(name).or_else(|| Some(OsString::from("sonotheia-events"))),
            // The samples in Sonotheia's documents have dates, and they should work on a laptop.
            "RETENTION_DAYS" => std::env::var_os(name).or_else(|| Some(OsString::from("3650"))),
            _ => std::env::var_os(name),
        })?;
        Ok(Self {
            config,
            // Config has seen that it is UTF-8.
            secret: secret.to_string_lossy().into_owned(),
            made,
        })
    }
}

/// Listens, or says which option to change.
pub async fn listen(host: &str, port: u16, option: &'static str) -> Result<TcpListener, Failure> {
    TcpListener::bind((host, port))
        .await
        .map_err(|source| Failure::Listen {
            address: format!("{host}:{port}"),
            option,
            source,
        })
}

/// The embedded DynamoDB, in memory or in a file.
pub fn dynamodb(listener: TcpListener, data: Option<PathBuf>) -> Result<DynamoDb, Failure> {
    DynamoDb::start(listener, data.as_deref()).map_err(|source| match data {
        Some(file) => Failure::Data { file, source },
        None => Failure::BackEnd(source),
    })
}

/// What resolves when the process is told to end: by Ctrl-C, or by SIGTERM.
///
/// Signals are caught from the call on, not from the first poll: none is lost in between.
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
