//! The embedded DynamoDB with the receiver's table, and its address for other programs on this machine.

use std::path::Path;

use emulators::{DynamoDb, sdk_config};
use sonotheia_webhook::aws;
use sonotheia_webhook::store::Store;
use tokio::net::TcpListener;

use super::front::{self, Front};
use crate::failure::Failure;

/// The embedded DynamoDB.
pub struct LocalDynamoDb {
    emulator: DynamoDb,
    front: Front,
    store: Store,
}

impl LocalDynamoDb {
    /// Starts the emulator, and creates the table if the table does not exist. The emulator keeps the records in the file `data`;
    /// without this file, it keeps them in memory. Other programs reach the emulator at the address of `listener`.
    ///
    /// # Errors
    /// [`Failure::Data`] if the emulator cannot use the file, and [`Failure::BackEnd`].
    pub async fn start(listener: TcpListener, data: Option<&Path>, table: &str) -> Result<Self, Failure> {
        let emulator = DynamoDb::start(front::hidden().await?, data).map_err(|source| match data {
            Some(file) => Failure::Data {
                file: file.to_owned(),
                source,
            },
            None => Failure::BackEnd(source),
        })?;
        let front = Front::start(listener, emulator.endpoint())?;
        let client = aws::dynamodb(&sdk_config(emulator.endpoint()));
        emulators::create_table(&client, table)
            .await
            .map_err(Failure::BackEnd)?;
        let store = Store::new(client, table);
        Ok(Self {
            emulator,
            front,
            store,
        })
    }

    /// The address for other programs on this machine.
    pub fn endpoint(&self) -> &str {
        self.front.endpoint()
    }

    /// The table.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Closes the ports and stops the emulator.
    pub async fn stop(self) {
        self.front.stop();
        self.emulator.stop().await;
    }
}
