//! The configuration (contract, section 5). Only this module reads the environment, and it reports all faults together.

use std::ffi::OsString;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::deadline;
use crate::ingest::Rules;

/// The place of the signing secret.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// The environment holds the secret, for local use: `SONOTHEIA_WEBHOOK_SECRET`.
    Fixed(String),
    /// Secrets Manager holds the secret under this id or ARN: `SONOTHEIA_WEBHOOK_SECRET_ARN`.
    SecretsManager(String),
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(_) => f.write_str("Fixed(redacted)"),
            Self::SecretsManager(id) => f.debug_tuple("SecretsManager").field(id).finish(),
        }
    }
}

/// The receiver's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// `EVENTS_TABLE`: the DynamoDB table.
    pub events_table: String,
    /// `SONOTHEIA_WEBHOOK_SECRET_ARN` or `SONOTHEIA_WEBHOOK_SECRET`.
    pub secret: SecretSource,
    /// `SECRET_CACHE_SECONDS`: how long the receiver uses a fetched secret before it fetches it again.
    pub secret_cache: Duration,
    /// `RETENTION_DAYS`: how long a record is kept, and how old a signed time may be.
    pub retention_days: u32,
    /// `MAX_BODY_BYTES`: the largest body that the receiver reads.
    pub max_body_bytes: usize,
    /// `DEEPFAKE_ALERT_THRESHOLD`: the score from which a result is an alert.
    pub alert_threshold: f64,
    /// `SERVICE_NAME`: the value of the metrics' dimension `Service`.
    pub service_name: String,
}

impl Config {
    /// The defaults of all other variables, for a table and a secret.
    pub fn new(events_table: impl Into<String>, secret: SecretSource) -> Self {
        Self {
            events_table: events_table.into(),
            secret,
            secret_cache: Duration::from_secs(300),
            retention_days: 90,
            max_body_bytes: 262_144,
            alert_threshold: 0.8,
            service_name: "sonotheia-webhook".to_owned(),
        }
    }

    /// The rules that a delivery is judged by.
    pub fn rules(&self) -> Rules {
        Rules {
            retention_days: self.retention_days,
            alert_threshold: self.alert_threshold,
            write_limit: deadline::WRITE,
        }
    }

    /// Reads the process's environment.
    ///
    /// # Errors
    /// [`Faults`]: each variable that is missing or wrong, by its name.
    pub fn from_env() -> Result<Self, Faults> {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// Reads the variables through `lookup`, which returns `None` for a variable that is not set.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, Faults> {
        let mut variables = Variables {
            lookup,
            faults: Vec::new(),
        };
        let table = variables.text("EVENTS_TABLE");
        if table.is_none() && !variables.has_fault("EVENTS_TABLE") {
            variables.fault("EVENTS_TABLE", "is not set; it names the DynamoDB table");
        }
        let secret = variables.secret();

        let mut config = Self::new(
            table.unwrap_or_default(),
            secret.unwrap_or(SecretSource::Fixed(String::new())),
        );
        if let Some(seconds) = variables.number("SECRET_CACHE_SECONDS", 0..=86_400_u32) {
            config.secret_cache = Duration::from_secs(seconds.into());
        }
        if let Some(days) = variables.number("RETENTION_DAYS", 1..=3650_u32) {
            config.retention_days = days;
        }
        // An item holds 400 KB. The rest is room for the other attributes.
        if let Some(bytes) = variables.number("MAX_BODY_BYTES", 1..=358_400_usize) {
            config.max_body_bytes = bytes;
        }
        if let Some(score) = variables.number("DEEPFAKE_ALERT_THRESHOLD", 0.0..=1.0_f64) {
            config.alert_threshold = score;
        }
        if let Some(name) = variables.text("SERVICE_NAME") {
            config.service_name = name;
        }

        if variables.faults.is_empty() {
            Ok(config)
        } else {
            Err(Faults(variables.faults))
        }
    }
}

struct Variables<L> {
    lookup: L,
    faults: Vec<Fault>,
}

impl<L: Fn(&str) -> Option<OsString>> Variables<L> {
    fn fault(&mut self, variable: &'static str, fault: impl Into<String>) {
        let fault = fault.into();
        self.faults.push(Fault { variable, fault });
    }

    fn has_fault(&self, variable: &str) -> bool {
        self.faults.iter().any(|fault| fault.variable == variable)
    }

    fn text(&mut self, name: &'static str) -> Option<String> {
        match (self.lookup)(name)?.into_string() {
            Ok(value) if value.trim().is_empty() => self.fault(name, "is empty"),
            Ok(value) => return Some(value),
            Err(_) => self.fault(name, "is not UTF-8"),
        }
        None
    }

    fn number<T>(&mut self, name: &'static str, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + fmt::Display,
    {
        let value = self.text(name)?;
        let number = value.trim().parse().ok().filter(|n| range.contains(n));
        if number.is_none() {
            self.fault(
                name,
                format!("is not a number from {} to {}", range.start(), range.end()),
            );
        }
        number
    }

    fn secret(&mut self) -> Option<SecretSource> {
        const ARN: &str = "SONOTHEIA_WEBHOOK_SECRET_ARN";
        const FIXED: &str = "SONOTHEIA_WEBHOOK_SECRET";
        match (self.text(ARN), self.text(FIXED)) {
            (Some(arn), None) => return Some(SecretSource::SecretsManager(arn)),
            (None, Some(secret)) => return Some(SecretSource::Fixed(secret)),
            (Some(_), Some(_)) => self.fault(FIXED, format!("is set, and so is {ARN}; set one of the two")),
            (None, None) if self.has_fault(ARN) || self.has_fault(FIXED) => {}
            (None, None) => self.fault(ARN, format!("is not set, nor is {FIXED}; set one of the two")),
        }
        None
    }
}

/// A variable, and its fault. The text does not repeat the value, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The variable's name.
    pub variable: &'static str,
    /// The fault, to be read after the name.
    pub fault: String,
}

/// All faults of the configuration, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Fault { variable, fault }) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{variable} {fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, Faults> {
        Config::from_lookup(|name| {
            let (_, value) = variables.iter().find(|(key, _)| *key == name)?;
            Some(value.into())
        })
    }

    #[test]
    fn a_table_and_a_secret_are_enough() {
        let config = read(&[("EVENTS_TABLE", "t"), ("SONOTHEIA_WEBHOOK_SECRET", "s")]).expect("complete");
        assert_eq!(config.events_table, "t");
        assert_eq!(config.secret, SecretSource::Fixed("s".into()));
        assert_eq!(config.secret_cache, Duration::from_secs(300));
        assert_eq!(config.retention_days, 90);
        assert_eq!(config.max_body_bytes, 262_144);
        assert_eq!(config.alert_threshold, 0.8);
    }

    #[test]
    fn all_faults_are_reported_together() {
        let faults = read(&[
            ("SECRET_CACHE_SECONDS", "soon"),
            ("RETENTION_DAYS", "0"),
            ("MAX_BODY_BYTES", "358401"),
            ("DEEPFAKE_ALERT_THRESHOLD", "NaN"),
        ])
        .expect_err("all of them wrong");
        assert_eq!(
            faults.to_string(),
            "EVENTS_TABLE is not set; it names the DynamoDB table\n\
             SONOTHEIA_WEBHOOK_SECRET_ARN is not set, nor is SONOTHEIA_WEBHOOK_SECRET; set one of the two\n\
             SECRET_CACHE_SECONDS is not a number from 0 to 86400\n\
             RETENTION_DAYS is not a number from 1 to 3650\n\
             MAX_BODY_BYTES is not a number from 1 to 358400\n\
             DEEPFAKE_ALERT_THRESHOLD is not a number from 0 to 1"
        );
    }

    #[test]
    fn two_secrets_and_empty_secrets_are_faults() {
        for secrets in [
            vec![
                ("SONOTHEIA_WEBHOOK_SECRET", "s"),
                ("SONOTHEIA_WEBHOOK_SECRET_ARN", "arn"),
            ],
            vec![("SONOTHEIA_WEBHOOK_SECRET", "")],
            vec![("SONOTHEIA_WEBHOOK_SECRET_ARN", " ")],
            vec![
                ("SONOTHEIA_WEBHOOK_SECRET", ""),
                ("SONOTHEIA_WEBHOOK_SECRET_ARN", "arn"),
            ],
        ] {
            let mut variables = vec![("EVENTS_TABLE", "t")];
            variables.extend(secrets);
            let faults = read(&variables).expect_err("a fault");
            assert_eq!(faults.0.len(), 1, "{faults}");
            assert!(faults.0[0].variable.starts_with("SONOTHEIA_WEBHOOK_SECRET"));
        }
    }

    #[test]
    fn neither_debug_nor_a_fault_shows_the_secret() {
        let config =
            read(&[("EVENTS_TABLE", "t"), ("SONOTHEIA_WEBHOOK_SECRET", "hunter2")]).expect("complete");
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
