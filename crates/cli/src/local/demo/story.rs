//! The steps of the demo, in the order of Sonotheia's guide. Each step checks the answer that it gets.

use std::time::Instant;

use serde_json::{Value, json};
use sonotheia_webhook::event::types::known_types;

use super::stage::{Fault, Stage};
use crate::args::print;
use crate::failure::Failure;

/// The analyses that make each event type.
const ANALYSES: [&str; 6] = [
    "/v1/voice/deepfake",
    "/v1/voice/deepfake?fail=true",
    "/v1/mfa/voice/verify",
    "/v1/mfa/voice/verify?fail=true",
    "/v1/mfa/voice/enroll",
    "/v1/reports/sar",
];

/// The story, and the events that it has seen.
pub struct Story {
    stage: Stage,
    begun: Instant,
    /// The id and the body of the first event.
    first: (String, String),
}

type Step = fn(&mut Story) -> Result<String, Fault>;

impl Story {
    pub fn new(stage: Stage) -> Self {
        Self {
            stage,
            begun: Instant::now(),
            first: Default::default(),
        }
    }

    /// Plays all steps.
    pub fn tell(mut self) -> Result<(), Failure> {
        let steps: [(&'static str, Step); 9] = [
            ("receiver", Self::receiver),
            ("register", Self::register),
            ("analysis", Self::analysis),
            ("every type", Self::every_type),
            ("duplicate", Self::duplicate),
            ("forgery", Self::forgery),
            ("outage", Self::outage),
            ("reconcile", Self::reconcile),
            ("results", Self::results),
        ];
        for (name, step) in steps {
            let told = step(&mut self).map_err(|fault| Failure::Demo { step: name, fault })?;
            print(&format!("{name:<11} {told}\n"))?;
        }
        print(&format!(
            "All answers were right, in {:.0} s.\n",
            self.begun.elapsed().as_secs_f64()
        ))
    }

    fn receiver(&mut self) -> Result<String, Fault> {
        let (status, health) = self.stage.get(&format!("{}/health", self.stage.receiver()))?;
        expect("GET /health", (status, &health["status"]), (200, &json!("ok")))?;
        Ok(format!(
            "the receiver listens on {}, a stand-in for Sonotheia's API on {}",
            self.stage.receiver(),
            self.stage.api
        ))
    }

    fn register(&mut self) -> Result<String, Fault> {
        let (url, api) = (
            format!("{}/webhook", self.stage.receiver()),
            format!("{}/v1", self.stage.api),
        );
        self.stage
            .run(&["register", &url, "--force", "--base-url", &api, "--apply"])?;
        let (status, list) = self.stage.get(&format!("{}/v1/webhooks", self.stage.api))?;
        expect(
            "the list of webhooks",
            (status, &list["webhooks"][0]["url"]),
            (200, &json!(url)),
        )?;
        Ok(format!("{url} gets every event type"))
    }

    fn analysis(&mut self) -> Result<String, Fault> {
        let event_id = self.analyse("/v1/voice/deepfake")?.remove(0);
        let record = self.stored(&event_id)?;
        expect(
            "the record's alert",
            (200, &record["alert"]),
            (200, &json!("high_deepfake_score")),
        )?;
        let sent = self.sent(&event_id)?;
        self.first = (event_id.clone(), sent["payload"].to_string());
        Ok(format!(
            "deepfake.completed {event_id}: 200, stored, alert high_deepfake_score"
        ))
    }

    fn every_type(&mut self) -> Result<String, Fault> {
        let mut ids = Vec::new();
        for path in ANALYSES {
            ids.extend(self.analyse(path)?);
        }
        for event_id in &ids {
            self.stored(event_id)?;
        }
        let health =
            json!({"id": "evt_health", "type": "system.health_check", "data": {"status": "healthy"}})
                .to_string();
        let (status, answer) = self.deliver(&health, None)?;
        expect(
            "a health check",
            (status, &answer["duplicate"]),
            (200, &json!(false)),
        )?;
        let (_, page) = self.stage.get(&format!(
            "{}/results?outcome=accepted&limit=100",
            self.stage.receiver()
        ))?;
        let has = |wanted: &str| {
            page["results"]
                .as_array()
                .is_some_and(|all| all.iter().any(|record| record["type"] == wanted))
        };
        if let Some(missing) = known_types().find(|wanted| !has(wanted)) {
            return Err(format!("GET /results shows no {missing}"));
        }
        Ok(format!("{} types delivered and stored", known_types().count()))
    }

    fn duplicate(&mut self) -> Result<String, Fault> {
        let event_id = self.first.0.clone();
        let url = format!("{}/v1/webhooks/events/{event_id}/retry", self.stage.api);
        let (status, attempt) = self.stage.post(&url, "", None)?;
        expect(
            "the second delivery",
            (status, &attempt["answer"]["duplicate"]),
            (200, &json!(true)),
        )?;
        Ok(format!(
            "{event_id} again: 200 with \"duplicate\":true, one record"
        ))
    }

    fn forgery(&mut self) -> Result<String, Fault> {
        let body =
            json!({"id": "evt_forged", "type": "sar.filed", "data": {"case_id": "case_1"}}).to_string();
        let (status, answer) = self.deliver(&body, Some("test_signature"))?;
        expect(
            "the guide's `test_signature`",
            (status, &answer["code"]),
            (401, &json!("invalid_signature")),
        )?;
        let (status, _) = self
            .stage
            .get(&format!("{}/events/evt_forged", self.stage.receiver()))?;
        expect(
            "the record of the forgery",
            (status, &Value::Null),
            (404, &Value::Null),
        )?;
        Ok("a wrong signature: 401, nothing stored".into())
    }

    fn outage(&mut self) -> Result<String, Fault> {
        self.stage.stop_receiver();
        let event_id = self.analyse("/v1/mfa/voice/verify")?.remove(0);
        self.stage.wait("the second retry", || {
            let sent = self.sent(&event_id)?;
            Ok(sent["attempts"]
                .as_array()
                .filter(|attempts| attempts.len() >= 3)
                .map(Vec::len))
        })?;
        self.stage.start_receiver()?;
        self.stored(&event_id)?;
        let attempts = self.stage.wait("the end of the delivery", || {
            let sent = self.sent(&event_id)?;
            let delivered = sent["status"] == "delivered";
            Ok(sent["attempts"].as_array().filter(|_| delivered).map(Vec::len))
        })?;
        Ok(format!(
            "{event_id}: the receiver was down for {} attempts, attempt {attempts} was stored",
            attempts - 1
        ))
    }

    fn reconcile(&mut self) -> Result<String, Fault> {
        self.stage.stop_receiver();
        let event_id = self.analyse("/v1/voice/deepfake")?.remove(0);
        self.stage.wait("the last attempt", || {
            Ok((self.sent(&event_id)?["status"] == "failed").then_some(()))
        })?;
        self.stage.start_receiver()?;
        let (table, api) = (self.stage.table(), format!("{}/v1", self.stage.api));
        let mut arguments = vec!["reconcile", "--base-url", &api, "--since", "1h", "--apply"];
        arguments.extend(table.iter().map(String::as_str));
        let report = self.stage.run(&arguments)?;
        if !report.contains("1 were missing and are stored") {
            return Err(format!("`reconcile` reports: {report}"));
        }
        self.stored(&event_id)?;
        Ok(format!(
            "{event_id}: six attempts failed, `reconcile --apply` stored the event"
        ))
    }

    fn results(&mut self) -> Result<String, Fault> {
        let (status, page) = self
            .stage
            .get(&format!("{}/results?limit=100", self.stage.receiver()))?;
        let records = page["results"].as_array().ok_or("GET /results has no list")?;
        let accepted = records
            .iter()
            .filter(|record| record["outcome"] == "accepted")
            .count();
        let alerts = records
            .iter()
            .filter(|record| record["alert"].is_string())
            .count();
        expect(
            "GET /results",
            (status, &json!(accepted)),
            (200, &json!(records.len())),
        )?;
        Ok(format!(
            "{accepted} events stored, {alerts} with an alert: see GET /results"
        ))
    }

    /// Starts an analysis, and returns the ids of its events.
    fn analyse(&self, path: &str) -> Result<Vec<String>, Fault> {
        let (status, answer) = self
            .stage
            .post(&format!("{}{path}", self.stage.api), "{}", None)?;
        let ids: Vec<String> = serde_json::from_value(answer["event_ids"].clone()).unwrap_or_default();
        match (status, ids.is_empty()) {
            (202, false) => Ok(ids),
            _ => Err(format!("POST {path} got {status} {answer}")),
        }
    }

    /// Waits until the receiver has an event, and returns the record.
    fn stored(&self, event_id: &str) -> Result<Value, Fault> {
        self.stage.wait(&format!("the record of {event_id}"), || {
            let (status, record) = self
                .stage
                .get(&format!("{}/events/{event_id}", self.stage.receiver()))?;
            match status {
                200 if record["outcome"] == "accepted" => Ok(Some(record)),
                404 => Ok(None),
                _ => Err(format!("GET /events/{event_id} got {status} {record}")),
            }
        })
    }

    /// The event and its attempts, as the stand-in knows them.
    fn sent(&self, event_id: &str) -> Result<Value, Fault> {
        let (_, list) = self
            .stage
            .get(&format!("{}/v1/webhooks/events", self.stage.api))?;
        let events = list["events"].as_array().cloned().unwrap_or_default();
        let found = events.into_iter().find(|event| event["event_id"] == event_id);
        found.ok_or_else(|| format!("the stand-in does not know {event_id}"))
    }

    /// Delivers a body with a signature, by default the right one.
    fn deliver(&self, body: &str, signature: Option<&str>) -> Result<(u16, Value), Fault> {
        let secret = sonotheia_webhook::signature::Secret::new(&self.stage.secret)
            .map_err(|error| error.to_string())?;
        let right = secret.sign(body.as_bytes()).to_string();
        let url = format!("{}/webhook", self.stage.receiver());
        self.stage.post(&url, body, Some(signature.unwrap_or(&right)))
    }
}

/// Compares a status and a value with the expected ones.
fn expect(what: &str, got: (u16, &Value), expected: (u16, &Value)) -> Result<(), Fault> {
    if got == expected {
        return Ok(());
    }
    Err(format!(
        "{what} is {} {}, and should be {} {}",
        got.0, got.1, expected.0, expected.1
    ))
}
