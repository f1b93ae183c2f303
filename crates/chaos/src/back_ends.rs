//! The embedded DynamoDB, with the proxy in front of it, and the embedded Secrets Manager.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use emulators::{BoxError, DynamoDb, SecretsManager, sdk_config};
use tokio::net::TcpListener;

use crate::environment::lambda_variables;
use crate::proxy::{self, Counts};

pub const TABLE: &str = "events";
const SECRET_ID: &str = "sonotheia/webhook";

pub struct BackEnds {
    pub counts: Arc<Counts>,
    pub secrets_manager: SecretsManager,
    dynamodb: DynamoDb,
    proxy: SocketAddr,
}

/// An item of the table.
pub type Item = HashMap<String, AttributeValue>;

impl BackEnds {
    /// With a seed, the proxy breaks what that seed says.
    pub async fn start(secret: &str, seed: Option<u64>) -> Result<Self, BoxError> {
        let dynamodb = DynamoDb::start(loopback().await?, None)?;
        let upstream = dynamodb.endpoint().trim_start_matches("http://").parse()?;
        let (proxy, counts) = proxy::start(upstream, seed).await?;
        let secrets_manager = SecretsManager::start(loopback().await?)?;
        let this = Self {
            counts,
            secrets_manager,
            dynamodb,
            proxy,
        };
        emulators::create_table(&this.direct(), TABLE).await?;
        let client = aws_sdk_secretsmanager::Client::new(&sdk_config(this.secrets_manager.endpoint()));
        let created = client.create_secret().name(SECRET_ID).secret_string(secret);
        created.send().await?;
        Ok(this)
    }

    /// Rotates the secret: the version before becomes the previous one.
    pub async fn rotate(&self, secret: &str) -> Result<(), BoxError> {
        let client = aws_sdk_secretsmanager::Client::new(&sdk_config(self.secrets_manager.endpoint()));
        emulators::rotate(&client, SECRET_ID, secret).await
    }

    /// What the function's environment says of them.
    pub fn variables(&self, cache_seconds: u32) -> Vec<(&'static str, String)> {
        let mut variables = lambda_variables();
        variables.extend([
            ("EVENTS_TABLE", TABLE.to_owned()),
            ("SONOTHEIA_WEBHOOK_SECRET_ARN", SECRET_ID.to_owned()),
            ("SECRET_CACHE_SECONDS", cache_seconds.to_string()),
            ("AWS_ENDPOINT_URL_DYNAMODB", format!("http://{}", self.proxy)),
            (
                "AWS_ENDPOINT_URL_SECRETS_MANAGER",
                self.secrets_manager.endpoint().to_owned(),
            ),
        ]);
        variables
    }

    /// Every item, straight from the database.
    pub async fn items(&self) -> Result<Vec<Item>, BoxError> {
        let scan = self
            .direct()
            .scan()
            .table_name(TABLE)
            .into_paginator()
            .items()
            .send();
        Ok(scan.collect::<Result<_, _>>().await?)
    }

    /// A client without the proxy.
    fn direct(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&sdk_config(self.dynamodb.endpoint()))
    }
}

async fn loopback() -> io::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0").await
}
