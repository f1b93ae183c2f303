//! The configuration (contract, section 5). This module reads every variable of the receiver and of the SDK, and reports all
//! faults together. [`lambda`](crate::lambda) reads two variables that Lambda sets.

mod sdk;
mod variables;

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use crate::deadline;
use crate::ingest::Rules;
pub use sdk::{Endpoints, SdkSettings};
use variables::Variables;
pub use variables::{Fault, Faults};

/// The largest `MAX_BODY_BYTES`. An item holds 400 KB, and the rest is room for the other attributes.
pub const LARGEST_BODY: usize = 358_400;

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

    /// Reads the environment of the Lambda function: the receiver's own variables, the SDK's, and Lambda's.
    ///
    /// # Errors
    /// [`Faults`]: each variable that is missing or wrong, by its name.
    pub fn from_env() -> Result<(Self, SdkSettings), Faults> {
        Self::of_function(|name| std::env::var_os(name))
    }

    /// As [`from_env`](Self::from_env), through `lookup`.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn of_function(lookup: impl Fn(&str) -> Option<OsString>) -> Result<(Self, SdkSettings), Faults> {
        let mut variables = Variables::new(&lookup);
        // The runtime panics without these.
        const HINT: &str = "Lambda sets it, and `cargo lambda watch` does so on a laptop";
        for name in [
            "AWS_LAMBDA_RUNTIME_API",
            "AWS_LAMBDA_FUNCTION_NAME",
            "AWS_LAMBDA_FUNCTION_VERSION",
        ] {
            variables.required(name, HINT);
        }
        if variables
            .required("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", HINT)
            .is_some()
        {
            variables.number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 1..=i32::MAX);
        }
        let (config, sdk) = (Self::from_lookup(&lookup), SdkSettings::from_lookup(&lookup));
        match (config, sdk) {
            (Ok(config), Ok(sdk)) => variables.finish((config, sdk)),
            (config, sdk) => {
                for faults in [config.err(), sdk.err()].into_iter().flatten() {
                    variables.extend(faults);
                }
                Err(variables.into_faults())
            }
        }
    }

    /// Reads the variables through `lookup`, which returns `None` for a variable that is not set.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, Faults> {
        let mut variables = Variables::new(lookup);
        let table = variables.required("EVENTS_TABLE", "it names the DynamoDB table");
        let secret = secret(&mut variables);

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
        if let Some(bytes) = variables.number("MAX_BODY_BYTES", 1..=LARGEST_BODY) {
            config.max_body_bytes = bytes;
        }
        if let Some(score) = variables.number("DEEPFAKE_ALERT_THRESHOLD", 0.0..=1.0_f64) {
            config.alert_threshold = score;
        }
        if let Some(name) = variables.name("SERVICE_NAME") {
            config.service_name = name;
        }

        variables.finish(config)
    }
}

fn secret<L: Fn(&str) -> Option<OsString>>(variables: &mut Variables<L>) -> Option<SecretSource> {
    const ARN: &str = "SONOTHEIA_WEBHOOK_SECRET_ARN";
    const FIXED: &str = "SONOTHEIA_WEBHOOK_SECRET";
    match (variables.name(ARN), variables.text(FIXED)) {
        (Some(arn), None) => return Some(SecretSource::SecretsManager(arn)),
        (None, Some(secret)) => return Some(SecretSource::Fixed(secret)),
        (Some(_), Some(_)) => variables.fault(FIXED, format!("is set, and so is {ARN}; set one of the two")),
        (None, None) if variables.has_fault(ARN) || variables.has_fault(FIXED) => {}
        (None, None) => variables.fault(ARN, format!("is not set, nor is {FIXED}; set one of the two")),
    }
    None
}

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
            vec![("SONOTHEIA_WEBHOOK_SECRET", " ")],
            vec![("SONOTHEIA_WEBHOOK_SECRET_ARN", " ")],
            vec![("SONOTHEIA_WEBHOOK_SECRET_ARN", "a b")],
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

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let config = read(&[
            ("EVENTS_TABLE", "t"),
            ("SONOTHEIA_WEBHOOK_SECRET", ""),
            ("SONOTHEIA_WEBHOOK_SECRET_ARN", "arn"),
            ("RETENTION_DAYS", ""),
            ("SERVICE_NAME", ""),
        ])
        .expect("complete");
        assert_eq!(config.secret, SecretSource::SecretsManager("arn".into()));
        assert_eq!(
            (config.retention_days, config.service_name.as_str()),
            (90, "sonotheia-webhook")
        );
    }

    #[test]
    fn a_name_with_a_blank_or_a_line_break_is_a_fault() {
        for variable in ["EVENTS_TABLE", "SONOTHEIA_WEBHOOK_SECRET_ARN", "SERVICE_NAME"] {
            for value in ["a b", "a\n", " a", "a\u{7}", "a\u{a0}b"] {
                let mut variables = vec![("EVENTS_TABLE", "t"), ("SONOTHEIA_WEBHOOK_SECRET_ARN", "arn")];
                variables.retain(|(name, _)| *name != variable);
                variables.push((variable, value));
                let faults = read(&variables).expect_err(value);
                assert_eq!(faults.0.len(), 1, "{faults}");
                assert_eq!(faults.0[0].variable, variable);
            }
        }
    }

    fn of_function(variables: &[(&str, &str)]) -> Result<(Config, SdkSettings), Faults> {
        let lambda = [
            ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9"),
            ("AWS_LAMBDA_FUNCTION_NAME", "f"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("EVENTS_TABLE", "t"),
            ("SONOTHEIA_WEBHOOK_SECRET", "s"),
        ];
        Config::of_function(|name| {
            let (_, value) = variables.iter().chain(&lambda).find(|(key, _)| *key == name)?;
            Some(value.into())
        })
    }

    #[test]
    fn a_bad_variable_of_the_sdk_or_of_lambda_is_a_fault_with_its_name() {
        for (variable, value) in [
            ("AWS_ENDPOINT_URL", "127.0.0.1:8000"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "localhost:8000"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "ftp://localhost"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "http://localhost:8O00"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "http://localhost:80000"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "http://"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "http://user@localhost"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "http://localhost/?a"),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://local host"),
            ("AWS_REGION", "eu west"),
            ("AWS_REGION", "eu-west-1\n"),
            ("AWS_DEFAULT_REGION", "https://aws"),
            ("AWS_MAX_ATTEMPTS", "0"),
            ("AWS_MAX_ATTEMPTS", "many"),
            ("AWS_RETRY_MODE", "x"),
            ("AWS_USE_FIPS_ENDPOINT", "yes"),
            ("AWS_USE_FIPS_ENDPOINT", "true "),
            ("AWS_USE_DUALSTACK_ENDPOINT", "1"),
            ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "no"),
            ("AWS_ACCOUNT_ID_ENDPOINT_MODE", "sometimes"),
            ("AWS_ACCESS_KEY_ID", "AKID\n"),
            ("AWS_SECRET_ACCESS_KEY", "a b"),
            ("AWS_SESSION_TOKEN", "t\r\n"),
            ("AWS_EXECUTION_ENV", "AWS\nLambda"),
            ("SSL_CERT_FILE", "/no/such/file"),
            ("SSL_CERT_FILE", "Cargo.toml"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "lots"),
            ("AWS_LAMBDA_RUNTIME_API", ""),
        ] {
            let faults = of_function(&[(variable, value)])
                .err()
                .unwrap_or_else(|| panic!("{variable}={value}"));
            assert_eq!(faults.0.len(), 1, "{faults}");
            assert_eq!(faults.0[0].variable, variable, "{faults}");
        }
        let several = of_function(&[
            ("AWS_RETRY_MODE", "x"),
            ("EVENTS_TABLE", ""),
            ("SSL_CERT_FILE", "/no/such/file"),
        ]);
        assert_eq!(several.expect_err("three faults").0.len(), 3);
    }

    #[test]
    fn an_empty_endpoint_changes_nothing_if_the_sdk_ignores_all_endpoints() {
        let endpoints = |ignores: &str| {
            let variables = [
                ("AWS_ENDPOINT_URL", "http://127.0.0.1:8000"),
                ("AWS_ENDPOINT_URL_DYNAMODB", ""),
                ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", ignores),
            ];
            of_function(&variables).expect("no fault").1.endpoints
        };
        assert!(endpoints("True").is_none());
        for ignores in ["false", ""] {
            let all = endpoints(ignores).expect("the receiver sets the endpoints").all;
            assert_eq!(all.as_deref(), Some("http://127.0.0.1:8000"));
        }
    }

    #[test]
    fn every_variable_of_the_sdk_may_be_empty() {
        for variable in [
            "AWS_ENDPOINT_URL",
            "AWS_ENDPOINT_URL_DYNAMODB",
            "AWS_REGION",
            "AWS_MAX_ATTEMPTS",
            "AWS_RETRY_MODE",
            "AWS_USE_FIPS_ENDPOINT",
            "AWS_SESSION_TOKEN",
            "SSL_CERT_FILE",
        ] {
            assert!(of_function(&[(variable, "")]).is_ok(), "{variable}");
        }
    }
}
