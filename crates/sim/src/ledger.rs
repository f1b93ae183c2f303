//! The history of the table as the simulated DynamoDB saw it, and the checks of each write and each answer.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};
use sonotheia_webhook::timestamp::{Parsed, Timestamp};

use crate::delivery::Delivery;
use crate::options::Check;
use crate::world::RETENTION_DAYS;

/// A record from its write to its deletion.
#[derive(Clone, Debug)]
pub struct Life {
    /// The delivery that stored it.
    pub delivery: u64,
    /// True for an event, false for a rejected body.
    pub accepted: bool,
    /// The body as it was signed.
    pub body: String,
    /// The session of the index.
    pub session: Option<String>,
    /// The attribute `received_at`.
    pub received_at: String,
    /// The attribute `expires_at`.
    pub expires_at: i64,
    /// True if an operator has erased it.
    pub is_erased: bool,
    /// The number of answers with `duplicate: false`.
    answered_new: u32,
    /// The item as it must be in the table.
    item: Value,
}

/// The history, and the violations.
#[derive(Default)]
pub struct Ledger {
    /// The records in the table.
    pub live: BTreeMap<String, Life>,
    /// The accepted records that DynamoDB has deleted, with the time of the deletion.
    deleted: HashMap<String, i64>,
    /// The violations so far.
    pub violations: Vec<(Check, String)>,
    /// The counts for the table at the end.
    pub counts: BTreeMap<&'static str, u64>,
}

type Found = Vec<(Check, String)>;

impl Ledger {
    /// Counts something for the table at the end.
    pub fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }

    /// Notes that DynamoDB wrote an item, and checks the write.
    pub fn stored(&mut self, item: &Value, delivery: &Delivery) -> Found {
        let mut found = Found::new();
        let key = text(item, "event_id").unwrap_or_default().to_owned();
        let accepted = text(item, "outcome") == Some("accepted");
        let expires_at = item["expires_at"]["N"].as_str().and_then(|n| n.parse().ok());
        let life = Life {
            delivery: delivery.number,
            accepted,
            body: text(item, "body").unwrap_or_default().to_owned(),
            session: text(item, "session_id").map(str::to_owned),
            received_at: text(item, "received_at").unwrap_or_default().to_owned(),
            expires_at: expires_at.unwrap_or_default(),
            is_erased: false,
            answered_new: 0,
            item: item.clone(),
        };
        let occurred = text(item, "occurred_at").filter(|time| !time.is_empty());
        if delivery.unsigned {
            found.push((Check::D, format!("an unsigned request stored {key}")));
        }
        if accepted && life.expires_at != expiry(&life.received_at, occurred, delivery.retention_days) {
            let text = format!(
                "{key} expires at {}, which is not section 4's time",
                life.expires_at
            );
            found.push((Check::Expiry, text));
        }
        let spared = delivery.clock_is_late || delivery.was_frozen();
        if accepted && occurred.is_some() && !spared && self.deleted.contains_key(&key) {
            found.push((
                Check::F,
                format!("{key} was stored as new again after its record was deleted"),
            ));
        }
        if self.live.insert(key.clone(), life).is_some() {
            found.push((Check::B, format!("a second write replaced the record {key}")));
        }
        found
    }

    /// Notes that an erasure changed an item, and checks the change (contract, section 4).
    pub fn erased(&mut self, item: &Value) -> Found {
        let key = text(item, "event_id").unwrap_or_default();
        let Some(life) = self.live.get_mut(key).filter(|life| !life.is_erased) else {
            return vec![(
                Check::Erasure,
                format!("an erasure made or changed {key}, which has no payload"),
            )];
        };
        let mut expected = life.item.clone();
        for name in ["problems", "session_id"] {
            expected.as_object_mut().expect("an item").remove(name);
        }
        for name in ["body", "session", "alert"] {
            expected[name] = json!({"S": ""});
        }
        expected["erased_at"] = item["erased_at"].clone();
        life.is_erased = true;
        life.item = item.clone();
        if text(item, "erased_at").is_some() && *item == expected {
            return Found::new();
        }
        vec![(
            Check::Erasure,
            format!("the erasure of {key} left another record than section 4's"),
        )]
    }

    /// Checks a 200 answer.
    pub fn received(
        &mut self,
        delivery: &Delivery,
        key: &str,
        body: &str,
        duplicate: bool,
        now_ms: i64,
    ) -> Found {
        let Some(life) = self.live.get_mut(key).filter(|life| life.accepted) else {
            // DynamoDB deleted the record between the write and the answer.
            let just_now = |at: &i64| now_ms - at < 10_000;
            if self.deleted.get(key).is_some_and(just_now) || delivery.was_frozen() {
                return Found::new();
            }
            return vec![(Check::A, format!("a 200 for {key}, which is not stored"))];
        };
        let mut found = Found::new();
        if life.body != body && !equal_events(&life.body, body) {
            found.push((
                Check::B,
                format!("a 200 for {key}, whose record is another event"),
            ));
        }
        let stored_it = life.delivery == delivery.number;
        if duplicate && stored_it {
            found.push((
                Check::C,
                format!("`duplicate: true` for the delivery that stored {key}"),
            ));
        }
        if !duplicate {
            life.answered_new += 1;
            if !stored_it || life.answered_new > 1 {
                found.push((
                    Check::C,
                    format!("`duplicate: false` for {key}, which another delivery stored"),
                ));
            }
        }
        found
    }

    /// Notes the deletion of the expired records, and compares the table with the history.
    pub fn audit(&mut self, items: &[Value], now_ms: i64) -> Found {
        let mut found = Found::new();
        let keys: HashMap<&str, &Value> = items
            .iter()
            .map(|item| (text(item, "event_id").unwrap_or_default(), item))
            .collect();
        let live = std::mem::take(&mut self.live);
        for (key, life) in live {
            match keys.get(key.as_str()) {
                Some(item) if **item != life.item => {
                    found.push((Check::B, format!("the record {key} has changed")));
                    self.live.insert(key, life);
                }
                Some(_) => {
                    self.live.insert(key, life);
                }
                None if life.expires_at * 1000 > now_ms => {
                    found.push((Check::A, format!("the record {key} is gone before its expiry")));
                }
                None if life.accepted => {
                    self.deleted.insert(key, now_ms);
                }
                None => {}
            }
        }
        for key in keys.keys().filter(|key| !self.live.contains_key(**key)) {
            found.push((
                Check::A,
                format!("the item {key} is in the table, and no delivery stored it as a record"),
            ));
        }
        found
    }
}

/// The time of expiry by the contract's section 4, in seconds.
fn expiry(received_at: &str, occurred_at: Option<&str>, days: u32) -> i64 {
    let time = |text: &str| match Timestamp::parse(text) {
        Some(Parsed::Moment(time)) => time.as_millis(),
        _ => 0,
    };
    let from = time(received_at).max(occurred_at.map_or(0, time));
    let ms = from + i64::from(days.max(RETENTION_DAYS)) * 86_400_000;
    ms.div_euclid(1000) + i64::from(ms.rem_euclid(1000) != 0)
}

/// True if two bodies are the same event: type and data are equal as JSON.
fn equal_events(a: &str, b: &str) -> bool {
    let parts = |body: &str| {
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let event_type = ["type", "event_type"]
            .into_iter()
            .find_map(|name| body.get(name).cloned());
        (event_type, body["data"].clone())
    };
    parts(a) == parts(b)
}

fn text<'a>(item: &'a Value, name: &str) -> Option<&'a str> {
    item[name]["S"].as_str()
}
