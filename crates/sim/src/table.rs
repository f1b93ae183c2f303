//! The embedded DynamoDB, called in this process without a socket.

use std::sync::Arc;

use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::clock::TrueClock;

/// An answer of a service.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body as JSON.
    pub body: String,
}

impl Reply {
    /// An error with a code, as AWS's JSON services write it.
    pub fn error(status: u16, code: &str) -> Self {
        let body = json!({"__type": code, "message": "simulated"}).to_string();
        Self { status, body }
    }
}

/// The database.
pub struct Table(Database);

impl Table {
    /// An empty database whose time is the true time.
    pub fn new(clock: TrueClock) -> Self {
        Self(Database::memory_with_clock(Arc::new(clock)).expect("memory for a database"))
    }

    /// Runs one operation of DynamoDB.
    pub fn call(&self, operation: &str, body: &[u8]) -> Reply {
        let db = &self.0;
        match operation {
            "PutItem" => run(body, |request| db.put_item(request)),
            "GetItem" => run(body, |request| db.get_item(request)),
            "UpdateItem" => run(body, |request| db.update_item(request)),
            "DeleteItem" => run(body, |request| db.delete_item(request)),
            "Query" => run(body, |request| db.query(request)),
            "BatchGetItem" => run(body, |request| db.batch_get_item(request)),
            "Scan" => run(body, |request| db.scan(request)),
            "CreateTable" => run(body, |request| db.create_table(request)),
            "UpdateTimeToLive" => run(body, |request| db.update_time_to_live(request)),
            _ => Reply::error(400, "UnknownOperationException"),
        }
    }

    /// Runs one operation whose answer must be a success.
    pub fn value(&self, operation: &str, request: &Value) -> Value {
        let reply = self.call(operation, request.to_string().as_bytes());
        assert_eq!(reply.status, 200, "{operation}: {}", reply.body);
        serde_json::from_str(&reply.body).expect("JSON")
    }

    /// All items.
    pub fn items(&self, table: &str) -> Vec<Value> {
        let (mut items, mut start) = (Vec::new(), Value::Null);
        loop {
            let mut request = json!({"TableName": table});
            if !start.is_null() {
                request["ExclusiveStartKey"] = start;
            }
            let mut page = self.value("Scan", &request);
            if let Some(Value::Array(page)) = page.get_mut("Items").map(Value::take) {
                items.extend(page);
            }
            start = page["LastEvaluatedKey"].take();
            if start.is_null() {
                return items;
            }
        }
    }

    /// Deletes the expired items, as DynamoDB does at some time after their expiry.
    pub fn delete_expired(&self) -> usize {
        self.0.sweep_ttl().expect("a sweep")
    }
}

fn run<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    operation: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> Reply {
    let Ok(request) = serde_json::from_slice(body) else {
        return Reply::error(400, "SerializationException");
    };
    match operation(request) {
        Ok(answer) => Reply {
            status: 200,
            body: serde_json::to_string(&answer).expect("JSON"),
        },
        Err(error) => Reply {
            status: error.status_code(),
            body: error.to_json(),
        },
    }
}
