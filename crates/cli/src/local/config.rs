//! The receiver's configuration on a laptop, which needs no variables.

use std::ffi::OsString;

use sonotheia_webhook::config::{Config, SecretSource};

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
