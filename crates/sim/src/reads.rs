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
use crate::ledger::Life;
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
            .filter(|life| self.is_fresh(life.expires_at) && !life.is_erased)
            .filter_map(|life| life.session.clone())
            .collect();
        let session = sessions.into_iter().nth_back(self.world.rng().usize(0..20))?;
        let is_of_session = |life: &Life| life.session.as_deref() == Some(&session);
        let erased = self.expected(|_, life| is_of_session(life) && life.is_erased);
        let mut expected = self.expected(|_, life| is_of_session(life) && !life.is_erased);
        let limit = self.world.rng().u32(1..4);
        let shown = self
            .pages(&format!("/results/{session}?limit={limit}"), false)
            .await?;
        for key in shown.iter().filter(|key| erased.contains(*key)) {
            let text = format!("GET /results/{{session_id}} shows {key}, which is erased");
            self.world.violation(Check::Read, None, &text);
        }
        // The operator may erase a record while the pages are read.
        expected.retain(|key| !self.is_erased(key));
        self.compare("GET /results/{session_id}", &expected, &shown);
        Some(())
    }

    /// Reads one record with its body.
    async fn event(&self) -> Option<()> {
        let keys: Vec<String> = self.expected(|_, _| true).into_iter().collect();
        if keys.is_empty() {
            return None;
        }
        let key = &keys[self.world.rng().usize(0..keys.len())];
        let life = self.world.ledger().live.get(key)?.clone();
        let answer = self.get(&format!("/events/{key}?include=body")).await?;
        let is_whole = answer["body"] == life.body.as_str() && answer["erased_at"].is_null();
        let is_empty = ["body", "data", "metadata", "session_id", "alert"]
            .iter()
            .all(|member| answer[member].is_null())
            && answer["erased_at"].is_string();
        // The operator may erase the record while it is read.
        let is_right = (is_whole && !life.is_erased) || (is_empty && self.is_erased(key));
        if answer["event_id"] != key.as_str() || !is_right {
            let text = format!("GET /events/{key} shows neither the signed text nor an erased record");
            self.world.violation(Check::Read, None, &text);
        }
        Some(())
    }

    fn is_erased(&self, key: &str) -> bool {
        self.world
            .ledger()
            .live
            .get(key)
            .is_some_and(|life| life.is_erased)
    }

    fn expected(&self, is_wanted: impl Fn(&str, &Life) -> bool) -> BTreeSet<String> {
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
