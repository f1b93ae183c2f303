//! The embedded DynamoDB behind a proxy, and the embedded Secrets Manager.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use emulators::{BoxError, DynamoDb, SecretsManager, sdk_config};
use testkit::{Faults, Proxy, TABLE, loopback};

const SECRET_ID: &str = "sonotheia/webhook";

/// The services that the function calls.
pub struct BackEnds {
    /// Secrets Manager, which can be made to fail.
    pub secrets_manager: SecretsManager,
    /// The proxy between the function and DynamoDB.
    pub proxy: Proxy,
    dynamodb: DynamoDb,
}

/// An item of the table.
pub type Item = HashMap<String, AttributeValue>;

impl BackEnds {
    /// Starts both services, with an empty table and with `secret` as the signing secret.
    pub async fn start(secret: &str, faults: Faults) -> Result<Self, BoxError> {
        let dynamodb = DynamoDb::start(loopback().await, None)?;
        let proxy = Proxy::start(dynamodb.endpoint(), faults).await;
        let secrets_manager = SecretsManager::start(loopback().await)?;
        let this = Self {
            secrets_manager,
            proxy,
            dynamodb,
        };
        emulators::create_table(&this.direct(), TABLE).await?;
        let client = aws_sdk_secretsmanager::Client::new(&sdk_config(this.secrets_manager.endpoint()));
        let create = client.create_secret().name(SECRET_ID).secret_string(secret);
        create.send().await?;
        Ok(this)
    }

    /// Makes `secret` the current version, and the version before it the previous one.
    pub async fn rotate(&self, secret: &str) -> Result<(), BoxError> {
        let client = aws_sdk_secretsmanager::Client::new(&sdk_config(self.secrets_manager.endpoint()));
        emulators::rotate(&client, SECRET_ID, secret).await
    }

    /// The receiver's variables for these services.
    pub fn variables(&self, cache_seconds: u32) -> Vec<(&'static str, String)> {
        vec![
            ("EVENTS_TABLE", TABLE.to_owned()),
            ("SONOTHEIA_WEBHOOK_SECRET_ARN", SECRET_ID.to_owned()),
            ("SECRET_CACHE_SECONDS", cache_seconds.to_string()),
            ("AWS_ENDPOINT_URL_DYNAMODB", self.proxy.endpoint().to_owned()),
            (
                "AWS_ENDPOINT_URL_SECRETS_MANAGER",
                self.secrets_manager.endpoint().to_owned(),
            ),
        ]
    }

    /// All items of the table, read without the proxy.
    pub async fn items(&self) -> Result<Vec<Item>, BoxError> {
        let direct = self.direct();
        let scan = direct.scan().table_name(TABLE).into_paginator().items().send();
        Ok(scan.collect::<Result<_, _>>().await?)
    }

    /// A client without the proxy.
    fn direct(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&sdk_config(self.dynamodb.endpoint()))
    }
}
