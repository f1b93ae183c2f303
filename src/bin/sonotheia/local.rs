//! What `serve` and `backends` share: a configuration that needs no setting up, and servers on this machine.

use std::ffi::OsString;
use std::path::PathBuf;

use sonotheia_webhook::config::Config;
use sonotheia_webhook::local::DynamoDb;
use tokio::net::TcpListener;

use crate::failure::Failure;

const SECRET: &str = "SONOTHEIA_WEBHOOK_SECRET";

/// The receiver's configuration, with a table and a secret where the environment names none.
pub struct Local {
    pub config: Config,
    pub secret: String,
    /// Whether the secret is a new one, and not the environment's.
    pub made: bool,
}

impl Local {
    /// Reads the environment. A secret in Secrets Manager is none of a laptop's: its variable is ignored.
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

/// So many random bytes as hex digits.
pub fn random_hex<const BYTES: usize>() -> Result<String, Failure> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
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
