//! The embedded DynamoDB and the embedded Secrets Manager, and the proxies between them and the function.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use emulators::{BoxError, DynamoDb, SecretsManager, sdk_config};
use testkit::{Ending, Faults, Proxy, TABLE, loopback};

const SECRET_ID: &str = "sonotheia/webhook";

/// The services that the function calls.
pub struct BackEnds {
    /// Secrets Manager, which can be made to fail.
    pub secrets_manager: SecretsManager,
    dynamodb: DynamoDb,
}

/// The proxies between an environment and the services.
#[derive(Clone)]
pub struct Proxies {
    /// The proxy of DynamoDB.
    pub dynamodb: Proxy,
    secrets_manager: Proxy,
}

/// An item of the table.
pub type Item = HashMap<String, AttributeValue>;

impl BackEnds {
    /// Starts both services, with an empty table and with `secret` as the signing secret.
    pub async fn start(secret: &str) -> Result<Self, BoxError> {
        let this = Self {
            secrets_manager: SecretsManager::start(loopback().await)?,
            dynamodb: DynamoDb::start(loopback().await, None)?,
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

    /// Starts proxies for these services, with faults in front of DynamoDB.
    pub async fn proxies(&self, faults: Faults) -> Proxies {
        Proxies {
            dynamodb: Proxy::start(self.dynamodb.endpoint(), faults).await,
            secrets_manager: Proxy::start(self.secrets_manager.endpoint(), Faults::none()).await,
        }
    }

    /// All items of the table, read without a proxy.
    pub async fn items(&self) -> Result<Vec<Item>, BoxError> {
        let direct = self.direct();
        let scan = direct.scan().table_name(TABLE).into_paginator().items().send();
        Ok(scan.collect::<Result<_, _>>().await?)
    }

    /// A client without a proxy.
    fn direct(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&sdk_config(self.dynamodb.endpoint()))
    }
}

impl Proxies {
    /// Ends every connection that is between two requests.
    pub fn end_idle(&self, ending: Ending) {
        self.dynamodb.end_idle(ending);
        // After an abandoned connection has cost an attempt, a fetch of the secret has half a second left. That is too
        // little on a busy machine, and the failure would explain each 503 of the next 10 s.
        self.secrets_manager.end_idle(match ending {
            Ending::Abandon => Ending::Reset,
            Ending::Close | Ending::Reset => ending,
        });
    }

    /// The number of answers that came late because the machine is too busy.
    pub fn slow(&self) -> u64 {
        self.dynamodb.slow() + self.secrets_manager.slow()
    }

    /// The number of late answers of Secrets Manager.
    pub fn late_secrets(&self) -> u64 {
        self.secrets_manager.slow()
    }

    /// The receiver's variables that name the services.
    pub fn variables(&self) -> [(&'static str, &str); 2] {
        [
            ("AWS_ENDPOINT_URL_DYNAMODB", self.dynamodb.endpoint()),
            (
                "AWS_ENDPOINT_URL_SECRETS_MANAGER",
                self.secrets_manager.endpoint(),
            ),
        ]
    }
}

/// The receiver's variables that all environments have.
pub fn variables(cache_seconds: u32) -> Vec<(&'static str, String)> {
    vec![
        ("EVENTS_TABLE", TABLE.to_owned()),
        ("SONOTHEIA_WEBHOOK_SECRET_ARN", SECRET_ID.to_owned()),
        ("SECRET_CACHE_SECONDS", cache_seconds.to_string()),
    ]
}
