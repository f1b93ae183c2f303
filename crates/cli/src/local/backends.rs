//! `backends`: the embedded DynamoDB and Secrets Manager alone, for a receiver in another process.

use std::fmt::Write;
use std::io;

use clap::Args;
use emulators::{CREDENTIALS, ERRORS_ONLY, REGION, SecretsManager, sdk_config};
use serde_json::json;
use sonotheia_webhook::aws;
use sonotheia_webhook::telemetry::Telemetry;

use super::back_ends::{self, BackEnds};
use crate::args::print;
use crate::failure::Failure;

/// The secret's name in the embedded Secrets Manager.
const SECRET_ID: &str = "sonotheia/webhook";

/// Run only the embedded DynamoDB and Secrets Manager, and print the environment that uses them
#[derive(Args)]
pub struct Backends {
    /// Port of DynamoDB; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    dynamodb_port: u16,
    /// Port of Secrets Manager; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8001)]
    secrets_port: u16,
}

impl Backends {
    /// Serves until Ctrl-C or SIGTERM.
    #[tokio::main]
    pub async fn run(self) -> Result<(), Failure> {
        let local = BackEnds::from_env()?;
        let stop = back_ends::stop_signal()?;
        Telemetry::new(io::stderr()).install(ERRORS_ONLY);

        let listener = back_ends::listen("127.0.0.1", self.dynamodb_port, "--dynamodb-port").await?;
        let dynamodb = back_ends::dynamodb(listener, None)?;
        let client = aws::dynamodb(&sdk_config(dynamodb.endpoint()));
        emulators::create_table(&client, &local.config.events_table)
            .await
            .map_err(Failure::BackEnd)?;

        let listener = back_ends::listen("127.0.0.1", self.secrets_port, "--secrets-port").await?;
        let secrets = SecretsManager::start(listener).map_err(Failure::BackEnd)?;
        aws::secrets_manager(&sdk_config(secrets.endpoint()))
            .create_secret()
            .name(SECRET_ID)
            .secret_string(json!({"webhook_secret": local.secret}).to_string())
            .send()
            .await
            .map_err(|error| Failure::BackEnd(error.into()))?;

        print(&environment(&local, dynamodb.endpoint(), secrets.endpoint()))?;
        stop.await;
        tokio::join!(dynamodb.stop(), secrets.stop());
        Ok(())
    }
}

/// Lines for a shell to read, with comments for a person.
fn environment(local: &BackEnds, dynamodb: &str, secrets: &str) -> String {
    // One from outside might have a line break in it, and end the comment.
    let secret = if local.made {
        local.secret.as_str()
    } else {
        "\"$SONOTHEIA_WEBHOOK_SECRET\""
    };
    let mut text = format!(
        "# DynamoDB and Secrets Manager, embedded and in memory, until Ctrl-C.\n\
         # For a receiver in another terminal, paste the lines below there, or let its shell read them:\n\
         #   cargo sonotheia backends > backends.env    here\n\
         #   . ./backends.env    there\n\
         # Then start it, and send it signed sample events from a third:\n\
         #   cargo lambda watch -A 127.0.0.1 -P 9000 --bin sonotheia-webhook\n\
         #   cargo sonotheia send --url http://127.0.0.1:9000/lambda-url/sonotheia-webhook/webhook --secret {secret}\n\
         # The receiver takes the secret from Secrets Manager, and would not start with both.\n\
         unset SONOTHEIA_WEBHOOK_SECRET\n"
    );
    let (key_id, key) = CREDENTIALS;
    for (name, value) in [
        ("EVENTS_TABLE", local.config.events_table.as_str()),
        ("SONOTHEIA_WEBHOOK_SECRET_ARN", SECRET_ID),
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets),
        ("AWS_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", key_id),
        ("AWS_SECRET_ACCESS_KEY", key),
        ("AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH", "true"),
    ] {
        // Writing to a String does not fail.
        let _ = writeln!(text, "export {name}='{}'", value.replace('\'', r"'\''"));
    }
    text
}
