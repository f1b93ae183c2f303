//! Applications that read: each stored record must be there once, on whatever page.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;
use sonotheia_webhook::timestamp::Timestamp;

use crate::delivery::Delivery;
use crate::fleet::Fleet;
use crate::options::Check;
use crate::world::World;

/// A reader.
pub struct Reader {
    /// The world.
    pub world: Arc<World>,
    /// The environments.
    pub fleet: Arc<Fleet>,
}

impl Reader {
    /// Reads now and then, for ever.
    pub async fn read(self) {
        loop {
            let minutes = self.world.rng().u64(20..240);
            tokio::time::sleep(Duration::from_secs(60 * minutes)).await;
            let what = self.world.rng().u32(0..3);
            match what {
                0 => self.all().await,
                1 => self.session().await,
                _ => self.event().await,
            };
        }
    }

    /// Reads all records of the last hours, page by page.
    async fn all(&self) -> Option<()> {
        let hours = self.world.rng().i64(1..6);
        let from = Timestamp::from_millis(self.world.clock.now_ms() - hours * 3_600_000).to_string();
        let expected = self.expected(|_, life| life.received_at >= from);
        let limit = self.world.rng().u32(1..26);
        let shown = self
            .pages(&format!("/results?from={from}&limit={limit}"), true)
            .await?;
        self.compare("GET /results", &expected, &shown);
        Some(())
    }

    /// Reads all records of a session, page by page.
    async fn session(&self) -> Option<()> {
        let sessions: BTreeSet<String> = self
            .world
            .ledger()
            .live
            .values()
            .filter(|life| self.is_fresh(life.expires_at))
            .filter_map(|life| life.session.clone())
            .collect();
        let session = sessions.into_iter().nth_back(self.world.rng().usize(0..20))?;
        let expected = self.expected(|_, life| life.session.as_deref() == Some(&session));
        let limit = self.world.rng().u32(1..4);
        let shown = self
            .pages(&format!("/results/{session}?limit={limit}"), false)
            .await?;
        self.compare("GET /results/{session_id}", &expected, &shown);
        Some(())
    }

    /// Reads one record with its body.
    async fn event(&self) -> Option<()> {
        let records: Vec<(String, String)> = {
            let ledger = self.world.ledger();
            let fresh = ledger
                .live
                .iter()
                .filter(|(_, life)| self.is_fresh(life.expires_at));
            fresh
                .map(|(key, life)| (key.clone(), life.body.clone()))
                .collect()
        };
        if records.is_empty() {
            return None;
        }
        let (key, body) = &records[self.world.rng().usize(0..records.len())];
        let answer = self.get(&format!("/events/{key}?include=body")).await?;
        if answer["event_id"] != key.as_str() || answer["body"] != body.as_str() {
            self.world.violation(
                Check::Read,
                None,
                &format!("GET /events/{key} does not show the signed text"),
            );
        }
        Some(())
    }

    fn expected(&self, is_wanted: impl Fn(&str, &crate::ledger::Life) -> bool) -> BTreeSet<String> {
        let ledger = self.world.ledger();
        let wanted = ledger
            .live
            .iter()
            .filter(|(key, life)| self.is_fresh(life.expires_at) && is_wanted(key, life));
        wanted.map(|(key, _)| key.clone()).collect()
    }

    /// True if no environment's clock hides the record during the next hours.
    fn is_fresh(&self, expires_at: i64) -> bool {
        expires_at * 1000 > self.world.clock.now_ms() + 4 * 3_600_000
    }

    /// Reads all pages: the keys in their order, with the page of each.
    async fn pages(&self, path: &str, ordered: bool) -> Option<Vec<String>> {
        let (mut keys, mut next, mut newest) = (Vec::new(), None::<String>, None::<String>);
        loop {
            let cursor = next
                .as_ref()
                .map_or(String::new(), |next| format!("&cursor={next}"));
            let answer = self.get(&format!("{path}{cursor}")).await?;
            self.world.ledger().count("pages read");
            for result in answer["results"].as_array()? {
                let received_at = result["received_at"].as_str()?.to_owned();
                if next.is_some() && ordered && newest.as_ref().is_some_and(|newest| received_at > *newest) {
                    self.world.violation(
                        Check::Read,
                        None,
                        "a later page shows a record newer than the first page",
                    );
                }
                newest = newest.max(Some(received_at));
                keys.push(result["event_id"].as_str()?.to_owned());
            }
            next = answer["next"].as_str().map(str::to_owned);
            if next.is_none() {
                return Some(keys);
            }
        }
    }

    fn compare(&self, what: &str, expected: &BTreeSet<String>, shown: &[String]) {
        let mut times = BTreeMap::<&String, u32>::new();
        for key in shown {
            *times.entry(key).or_default() += 1;
        }
        for key in expected.iter().filter(|key| !times.contains_key(key)) {
            self.world
                .violation(Check::Read, None, &format!("{what} skips {key}"));
        }
        for (key, _) in times.iter().filter(|(_, times)| **times > 1) {
            self.world
                .violation(Check::Read, None, &format!("{what} shows {key} twice"));
        }
        self.world.trace(&format!(
            "{what} shows {} records, {} expected",
            shown.len(),
            expected.len()
        ));
    }

    /// Sends a GET until an environment answers it.
    async fn get(&self, path: &str) -> Option<Value> {
        for _ in 0..30 {
            let environment = self.fleet.any();
            let delivery = Delivery::of_start(self.world.clock.now_ms());
            let request = Request::get(path).body(Body::empty()).expect("a request");
            let answer = environment.request(request, delivery).await;
            match answer.map(|answer| (answer.status.as_u16(), answer.body)) {
                Some((200, body)) => return Some(body),
                Some((503, _)) | None => tokio::time::sleep(Duration::from_secs(1)).await,
                Some((status, body)) => {
                    self.world
                        .violation(Check::Read, None, &format!("GET {path} got {status}: {body}"));
                    return None;
                }
            }
        }
        None
    }
}
