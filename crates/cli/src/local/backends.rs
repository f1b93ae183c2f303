//! `backends`: only the embedded DynamoDB and Secrets Manager, for a receiver in another process.

use std::fmt::Write;
use std::io;

use clap::Args;
use emulators::{CREDENTIALS, ERRORS_ONLY, REGION, SecretsManager, sdk_config};
use serde_json::json;
use sonotheia_webhook::aws;
use sonotheia_webhook::telemetry::Telemetry;

use super::config::LocalConfig;
use super::dynamodb::LocalDynamoDb;
use super::front::{self, Front};
use super::ports;
use crate::args::{print, random_hex};
use crate::failure::Failure;
use crate::interrupt;

/// The secret's name in the embedded Secrets Manager.
const SECRET_ID: &str = "sonotheia/webhook";

/// Run only the embedded DynamoDB and Secrets Manager, and print the environment that uses them
#[derive(Args)]
pub struct Backends {
    /// Port of DynamoDB; 0 takes a free port
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    dynamodb_port: u16,
    /// Port of Secrets Manager; 0 takes a free port
    #[arg(long, value_name = "PORT", default_value_t = 8001)]
    secrets_port: u16,
}

impl Backends {
    /// Serves until Ctrl-C or SIGTERM.
    #[tokio::main]
    pub async fn run(self) -> Result<(), Failure> {
        let LocalConfig { config, given } = LocalConfig::from_env()?;
        let secret = given.clone().map_or_else(random_hex::<32>, Ok)?;
        let stop = interrupt::stop_signal()?;
        Telemetry::new(io::stderr()).install(ERRORS_ONLY);

        let listener = ports::listen("127.0.0.1", self.dynamodb_port, "--dynamodb-port").await?;
        let dynamodb = LocalDynamoDb::start(listener, None, &config.events_table).await?;

        let listener = ports::listen("127.0.0.1", self.secrets_port, "--secrets-port").await?;
        let secrets = SecretsManager::start(front::hidden().await?).map_err(Failure::BackEnd)?;
        let secrets_front = Front::start(listener, secrets.endpoint())?;
        aws::secrets_manager(&sdk_config(secrets.endpoint()))
            .create_secret()
            .name(SECRET_ID)
            .secret_string(json!({"webhook_secret": secret}).to_string())
            .send()
            .await
            .map_err(|error| Failure::BackEnd(error.into()))?;

        // A secret from outside might have a line break in it, and end the comment that shows it.
        let shown = given.map_or(secret.as_str(), |_| "\"$SONOTHEIA_WEBHOOK_SECRET\"");
        print(&environment(
            shown,
            &[
                ("EVENTS_TABLE", &config.events_table),
                ("SONOTHEIA_WEBHOOK_SECRET_ARN", SECRET_ID),
                ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.endpoint()),
                ("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets_front.endpoint()),
                ("AWS_REGION", REGION),
                ("AWS_ACCESS_KEY_ID", CREDENTIALS.0),
                ("AWS_SECRET_ACCESS_KEY", CREDENTIALS.1),
                ("AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH", "true"),
            ],
        ))?;
        stop.await;
        secrets_front.stop();
        tokio::join!(dynamodb.stop(), secrets.stop());
        Ok(())
    }
}

/// Lines for a shell to read, with comments for a person.
fn environment(secret: &str, variables: &[(&str, &str)]) -> String {
    let mut text = format!(
        "# DynamoDB and Secrets Manager, embedded and in memory, until Ctrl-C.\n\
         # Paste the lines below into another terminal, or let its shell read them from a file:\n\
         #   {program} backends > backends.env    in this terminal\n\
         #   . ./backends.env    in the other terminal\n\
         # Then start a receiver there, and send signed sample events from a third terminal:\n\
         #   cargo lambda watch -A 127.0.0.1 -P 9000 --bin sonotheia-webhook\n\
         #   {program} send --url http://127.0.0.1:9000/lambda-url/sonotheia-webhook/webhook --secret {secret}\n\
         # The receiver gets the secret from Secrets Manager, and does not start with both variables.\n\
         unset SONOTHEIA_WEBHOOK_SECRET\n",
        program = crate::program::name()
    );
    for (name, value) in variables {
        // Writing to a String does not fail.
        let _ = writeln!(text, "export {name}='{}'", value.replace('\'', r"'\''"));
    }
    text
}
