//! The delivery tokens of all writes. Two writes may have the same token only if the SDK retried one of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use testkit::http::Message;

use crate::lock;

/// The tokens that a proxy has seen.
#[derive(Clone, Default)]
pub struct Tokens(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    /// A hash of the delivery for each token.
    deliveries: HashMap<String, u64>,
    twice: u64,
}

impl Tokens {
    /// Notes the token of a write.
    pub fn see(&self, request: &Message) {
        let target = request.header("x-amz-target").unwrap_or_default();
        if !target.ends_with("PutItem") {
            return;
        }
        let request: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let item = &request["Item"];
        let token = item["delivery_token"]["B"].as_str().unwrap_or_default();
        // A delivery has one time of receipt and one body, also if it makes two writes, as a conflict does.
        let mut delivery = DefaultHasher::new();
        item["received_at"].to_string().hash(&mut delivery);
        item["body"].to_string().hash(&mut delivery);
        let delivery = delivery.finish();
        let seen = &mut *lock(&self.0);
        match seen.deliveries.entry(token.to_owned()) {
            Entry::Vacant(new) => drop(new.insert(delivery)),
            Entry::Occupied(known) => seen.twice += u64::from(*known.get() != delivery),
        }
    }

    /// The number of tokens, and the number of writes with a token of another delivery.
    pub fn count(&self) -> (usize, u64) {
        let seen = lock(&self.0);
        (seen.deliveries.len(), seen.twice)
    }
}
