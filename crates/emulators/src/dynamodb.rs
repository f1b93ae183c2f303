//! The embedded DynamoDB, and the creation of the receiver's table in it.

use std::path::Path;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TimeToLiveSpecification,
};
use sonotheia_webhook::store::schema::{INDEXES, TABLE_KEY, TTL_ATTRIBUTE};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::BoxError;
use crate::server::Server;

/// DynamoDB, in memory or in a file.
#[derive(Debug)]
pub struct DynamoDb(Server);

impl DynamoDb {
    /// Serves on `listener`, which should be on loopback, since the emulator does not authenticate.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn start(listener: TcpListener, data: Option<&Path>) -> Result<Self, BoxError> {
        let database = match data {
            Some(path) => dynoxide::Database::new(&path.to_string_lossy())?,
            None => dynoxide::Database::memory()?,
        };
        let endpoint = format!("http://{}", listener.local_addr()?);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let shutdown = async { drop(stopped.await) };
            if let Err(error) = dynoxide::server::serve_with_shutdown(listener, database, shutdown).await {
                tracing::error!(error, "the embedded DynamoDB stopped");
            }
        });
        Ok(Self(Server {
            endpoint,
            stop: Some(stop),
            task,
        }))
    }

    /// The emulator's address: `http://127.0.0.1:8000`.
    pub fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    /// Stops the emulator, and waits until the file is complete.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}

/// Creates the receiver's table with the template's keys, indexes and TTL. A table that exists stays as it is.
///
/// The table has no stream: nothing on a laptop reads a stream, and with a stream each write of the emulator scans all
/// stream records.
///
/// # Errors
/// The SDK's error.
pub async fn create_table(client: &Client, table: &str) -> Result<(), BoxError> {
    let key = |name: &str, kind| {
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(kind)
            .build()
    };
    let mut names = vec![TABLE_KEY];
    let mut request = client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key(TABLE_KEY, KeyType::Hash)?);
    for index in &INDEXES {
        names.extend([index.partition_key, index.sort_key]);
        let projection = Projection::builder()
            .projection_type(ProjectionType::Include)
            .set_non_key_attributes(Some(
                index.includes.iter().map(|name| (*name).to_owned()).collect(),
            ))
            .build();
        request = request.global_secondary_indexes(
            GlobalSecondaryIndex::builder()
                .index_name(index.name)
                .key_schema(key(index.partition_key, KeyType::Hash)?)
                .key_schema(key(index.sort_key, KeyType::Range)?)
                .projection(projection)
                .build()?,
        );
    }
    names.sort_unstable();
    names.dedup();
    for name in names {
        let definition = AttributeDefinition::builder().attribute_name(name);
        request = request.attribute_definitions(definition.attribute_type(ScalarAttributeType::S).build()?);
    }
    match request.send().await {
        Ok(_) => {}
        Err(error)
            if error
                .as_service_error()
                .is_some_and(|e| e.is_resource_in_use_exception()) =>
        {
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    }
    let ttl = TimeToLiveSpecification::builder()
        .attribute_name(TTL_ATTRIBUTE)
        .enabled(true)
        .build()?;
    let request = client.update_time_to_live().table_name(table);
    request.time_to_live_specification(ttl).send().await?;
    Ok(())
}
