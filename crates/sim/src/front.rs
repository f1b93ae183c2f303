//! The side of the services: it runs a request, tells the checks, and holds the planted defects of the protocol.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::delivery::Delivery;
use crate::network::Service;
use crate::options::{Check, Defect};
use crate::table::Reply;
use crate::world::World;

/// A request on its way into a service.
pub struct Front {
    /// The world.
    pub world: Arc<World>,
    /// The service.
    pub service: Service,
    /// The delivery that the request belongs to.
    pub delivery: Option<Arc<Delivery>>,
}

impl Front {
    /// Runs a request. Returns `None` if the connection breaks.
    pub async fn run(&self, target: &str, body: &[u8]) -> Option<Reply> {
        let world = &self.world;
        if self.service == Service::Vault {
            return Some(
                if world.has(Defect::StaleSecret) && target.ends_with("GetSecretValue") {
                    world.vault.call_stale(target, body).await
                } else {
                    world.vault.call(target, body).await
                },
            );
        }
        if let Some(delivery) = self.delivery.as_deref().filter(|delivery| delivery.unsigned) {
            world.violation(
                Check::D,
                Some(delivery),
                "an unsigned request caused a call to DynamoDB",
            );
        }
        match target.rsplit('.').next().unwrap_or_default() {
            "PutItem" => self.put(body).await,
            "UpdateItem" => Some(self.update(body)),
            "Query" if world.has(Defect::SkippingCursor) => {
                Some(skipping(world.table.call("Query", body), body))
            }
            operation => Some(world.table.call(operation, body)),
        }
    }

    /// The conditional write, or the wrong protocol in its place.
    async fn put(&self, body: &[u8]) -> Option<Reply> {
        let mut request: Value = serde_json::from_slice(body).expect("the SDK writes JSON");
        match self.world.options.defect {
            Some(Defect::ReadThenWrite) => self.read_then_write(request).await,
            Some(Defect::ClaimThenStore) => self.claim_then_store(request, false).await,
            Some(Defect::ClaimForever) => self.claim_then_store(request, true).await,
            Some(Defect::OverwriteExpired) => {
                let now = self.world.clock.now_ms() / 1000;
                let is_expired = self.item(&request).is_some_and(|item| {
                    item["expires_at"]["N"]
                        .as_str()
                        .and_then(|n| n.parse().ok())
                        .is_some_and(|at: i64| at < now)
                });
                if is_expired {
                    remove_condition(&mut request);
                }
                Some(self.write(&request))
            }
            Some(Defect::ExpiryOffByADay) => {
                let expires_at = request["Item"]["expires_at"]["N"]
                    .as_str()
                    .and_then(|n| n.parse::<i64>().ok());
                let early = expires_at.expect("a time") - 86_400;
                request["Item"]["expires_at"]["N"] = early.to_string().into();
                Some(self.write(&request))
            }
            Some(Defect::LostToken) => Some(without_token(self.write(&request))),
            _ => Some(self.write(&request)),
        }
    }

    /// Runs a write, and tells the checks if it succeeded.
    fn write(&self, request: &Value) -> Reply {
        let reply = self.world.table.call("PutItem", request.to_string().as_bytes());
        let stored = reply.status == 200 && request["Item"].get("body").is_some();
        if let Some(delivery) = self.delivery.as_deref().filter(|_| stored) {
            let found = self.world.ledger().stored(&request["Item"], delivery);
            for (check, text) in found {
                self.world.violation(check, Some(delivery), &text);
            }
        }
        reply
    }

    /// Runs an erasure, and tells the checks if it succeeded.
    fn update(&self, body: &[u8]) -> Reply {
        let request: Value = serde_json::from_slice(body).expect("the SDK writes JSON");
        if self.world.has(Defect::ErasingDeletes) {
            let delete = json!({"TableName": request["TableName"], "Key": request["Key"]});
            return self.world.table.call("DeleteItem", delete.to_string().as_bytes());
        }
        let reply = self.world.table.call("UpdateItem", body);
        if reply.status == 200 {
            let item = self
                .read(&request["TableName"], &request["Key"])
                .expect("an item");
            let found = self.world.ledger().erased(&item);
            for (check, text) in found {
                self.world.violation(check, None, &text);
            }
        }
        reply
    }

    fn item(&self, request: &Value) -> Option<Value> {
        let key = json!({"event_id": request["Item"]["event_id"]});
        self.read(&request["TableName"], &key)
    }

    fn read(&self, table: &Value, key: &Value) -> Option<Value> {
        let get = json!({"TableName": table, "Key": key, "ConsistentRead": true});
        self.world
            .table
            .value("GetItem", &get)
            .get_mut("Item")
            .map(Value::take)
    }

    async fn read_then_write(&self, mut request: Value) -> Option<Reply> {
        if let Some(item) = self.item(&request) {
            return Some(refused(item));
        }
        self.pause().await;
        remove_condition(&mut request);
        Some(self.write(&request))
    }

    async fn claim_then_store(&self, request: Value, is_busy: bool) -> Option<Reply> {
        let mut claim = request.clone();
        claim["Item"].as_object_mut()?.retain(|name, _| {
            [
                "event_id",
                "hash",
                "delivery_token",
                "outcome",
                "received_at",
                "expires_at",
            ]
            .contains(&name.as_str())
        });
        let claimed = self.write(&claim);
        if claimed.status != 200 {
            let found = self.item(&request);
            let is_claim = found.is_some_and(|item| item.get("body").is_none());
            return Some(if is_claim && is_busy {
                Reply::error(500, "InternalServerError")
            } else {
                claimed
            });
        }
        self.pause().await;
        if self.world.chance(100) {
            // The environment dies between the two writes.
            if let Some(delivery) = &self.delivery {
                delivery.disturb();
            }
            return None;
        }
        let mut store = request;
        remove_condition(&mut store);
        Some(self.write(&store))
    }

    async fn pause(&self) {
        let ms = self.world.rng().u64(5..200);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

fn remove_condition(request: &mut Value) {
    if let Some(members) = request.as_object_mut() {
        members.remove("ConditionExpression");
        members.remove("ReturnValuesOnConditionCheckFailure");
    }
}

fn refused(item: Value) -> Reply {
    let body = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "message": "The conditional request failed",
        "Item": item,
    });
    Reply {
        status: 400,
        body: body.to_string(),
    }
}

/// The answer of a failed condition, with another token in the item.
fn without_token(mut reply: Reply) -> Reply {
    if reply.status == 400
        && let Ok(mut body) = serde_json::from_str::<Value>(&reply.body)
        && body["Item"]["delivery_token"].is_object()
    {
        body["Item"]["delivery_token"]["B"] = "AAAAAAAAAAAAAAAAAAAAAA==".into();
        reply.body = body.to_string();
    }
    reply
}

/// The answer to a query with a start key, without its first item.
fn skipping(mut reply: Reply, request: &[u8]) -> Reply {
    let request: Value = serde_json::from_slice(request).unwrap_or_default();
    if request.get("ExclusiveStartKey").is_some()
        && let Ok(mut body) = serde_json::from_str::<Value>(&reply.body)
        && let Some(items) = body["Items"].as_array_mut()
        && !items.is_empty()
    {
        items.remove(0);
        body["Count"] = body["Items"].as_array().map_or(0, Vec::len).into();
        reply.body = body.to_string();
    }
    reply
}
