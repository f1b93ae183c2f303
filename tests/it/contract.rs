//! The table of the contract's section 2, row by row, and section 4's record.

mod dedupe;
mod envelopes;
mod problems;
mod refusals;
mod rejections;
mod retention;

use serde_json::Value;
use sonotheia_webhook::config::{Config, SecretSource};

use testkit::*;

fn config() -> Config {
    Config::new(TABLE, SecretSource::Fixed(SECRET.into()))
}

/// A record without its data, whose numbers the tests' own JSON can't hold.
async fn listed(receiver: &Receiver, id: &str) -> Value {
    let list = receiver.get("/results").await.body;
    let mut results = list["results"].as_array().unwrap().iter();
    results.find(|result| result["event_id"] == id).unwrap().clone()
}
