//! The sender's side of a delivery (contract, section 1), and whether its answer is the expected one.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use axum::http::{HeaderValue, StatusCode, Uri};
use emulators::sample_events::{self, Envelope};
use serde::Deserialize;
use sonotheia_webhook::event::Event;
use sonotheia_webhook::signature::Secret;
use sonotheia_webhook::timestamp::Timestamp;
use ureq::Agent;

use super::plan::Step;
use crate::client;

/// The most of an answer that is read. The receiver's own are under a kilobyte.
const MAX_ANSWER_BYTES: u64 = 1 << 16;

/// Where bodies come from.
pub enum Source {
    /// Sample events of these types in turn, all of them at one time, a session a round.
    Samples {
        types: Vec<String>,
        envelope: Envelope,
        time: Timestamp,
    },
    /// These bytes.
    File(Vec<u8>),
}

/// What the contract promises for a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// 200, and not a duplicate.
    New,
    /// 200, and a duplicate.
    Duplicate,
    /// 401.
    Refused,
    /// Any 2xx.
    Taken,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "200 accepted",
            Self::Duplicate => "200 duplicate",
            Self::Refused => "401 invalid_signature",
            Self::Taken => "any 2xx",
        })
    }
}

/// An answer's status, and of its body what matters here.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub told: Told,
}

/// The members of a receipt and of a failure. A body that is neither has none of them.
#[derive(Debug, Default, Deserialize)]
pub struct Told {
    pub duplicate: Option<bool>,
    pub event_id: Option<String>,
    pub code: Option<String>,
    pub message: Option<String>,
}

impl Answer {
    fn is(&self, expected: Expected) -> bool {
        match expected {
            Expected::New => self.status == StatusCode::OK && self.told.duplicate == Some(false),
            Expected::Duplicate => self.status == StatusCode::OK && self.told.duplicate == Some(true),
            Expected::Refused => self.status == StatusCode::UNAUTHORIZED,
            Expected::Taken => self.status.is_success(),
        }
    }

    /// The outcome in a word or two.
    fn outcome(&self) -> &str {
        match (self.told.duplicate, &self.told.code) {
            (Some(false), _) => "accepted",
            (Some(true), _) => "duplicate",
            (None, Some(code)) => code,
            (None, None) => self.status.canonical_reason().unwrap_or("unknown"),
        }
    }
}

/// A delivery and what came of it.
pub struct Delivery {
    pub event_type: Option<String>,
    pub event_id: Option<String>,
    pub expected: Expected,
    pub answer: Result<Answer, ureq::Error>,
    pub latency: Duration,
}

impl Delivery {
    pub fn is_as_expected(&self) -> bool {
        self.answer.as_ref().is_ok_and(|answer| answer.is(self.expected))
    }
}

impl fmt::Display for Delivery {
    /// Status, outcome, type, id; and where it was not as expected, how.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut event_id = self.event_id.as_deref();
        let mut reason = None;
        match &self.answer {
            Ok(answer) => {
                event_id = answer.told.event_id.as_deref().or(event_id);
                reason.clone_from(&answer.told.message);
                write!(f, "{} {:<17}", answer.status.as_u16(), answer.outcome())?;
            }
            Err(error) => {
                reason = Some(error.to_string());
                write!(f, "--- {:<17}", "no answer")?;
            }
        }
        let event_type = self.event_type.as_deref().unwrap_or("-");
        write!(f, "  {event_type:<24}  {}", event_id.unwrap_or("-"))?;
        if !self.is_as_expected() {
            write!(f, "  (expected {}", self.expected)?;
            reason.map_or(Ok(()), |reason| write!(f, "; {reason}"))?;
            write!(f, ")")?;
        }
        Ok(())
    }
}

/// Delivers step after step, from as many threads as call [`work`](Sender::work).
pub struct Sender {
    agent: Agent,
    target: Uri,
    secret: Secret,
    source: Source,
    steps: Vec<Step>,
    /// Makes the ids of this run unlike those of any other.
    run: String,
    next: AtomicUsize,
    /// A step's answer, once it is there: whether the event was taken.
    taken: Mutex<Vec<Option<bool>>>,
    answered: Condvar,
}

/// A body with what the headers say about it.
struct Letter {
    body: Vec<u8>,
    event_type: Option<String>,
    event_id: Option<String>,
}

impl Sender {
    /// Sends nothing yet. Keeps up to `connections` open.
    pub fn new(
        target: Uri,
        secret: Secret,
        source: Source,
        steps: Vec<Step>,
        run: String,
        connections: usize,
    ) -> Self {
        let config = client::config(&target)
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections)
            .user_agent("Sonotheia-Webhook/1.0")
            .build();
        Self {
            agent: config.into(),
            target,
            secret,
            source,
            taken: Mutex::new(vec![None; steps.len()]),
            steps,
            run,
            next: AtomicUsize::new(0),
            answered: Condvar::new(),
        }
    }

    /// Takes steps until there are none left, or nobody wants to hear of them.
    pub fn work(&self, deliveries: &mpsc::Sender<Delivery>) {
        loop {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(step) = self.steps.get(n) else { return };
            let delivery = self.take(n, *step);
            if deliveries.send(delivery).is_err() {
                return;
            }
        }
    }

    fn take(&self, n: usize, step: Step) -> Delivery {
        let expected = match (&self.source, step) {
            (Source::File(_), _) => Expected::Taken,
            (_, Step::New) => Expected::New,
            (_, Step::Corrupt) => Expected::Refused,
            // Who knows whether an event that was not answered well is stored.
            (_, Step::Repeat(of)) if self.was_taken(of) => Expected::Duplicate,
            (_, Step::Repeat(_)) => Expected::Taken,
        };
        let letter = self.letter(if let Step::Repeat(of) = step { of } else { n });
        let signed = if step == Step::Corrupt {
            b""
        } else {
            letter.body.as_slice()
        };
        let mut signature = self.secret.sign(signed).to_string();
        if let Source::Samples {
            envelope: Envelope::Schema,
            ..
        } = self.source
        {
            signature.insert_str(0, "sha256=");
        }

        let begun = Instant::now();
        let answer = self.post(n, &letter, &signature);
        let latency = begun.elapsed();

        let taken = answer.as_ref().is_ok_and(|answer| answer.status.is_success());
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)[n] = Some(taken);
        self.answered.notify_all();
        Delivery {
            event_type: letter.event_type,
            event_id: letter.event_id,
            expected,
            answer,
            latency,
        }
    }

    /// Waits for an earlier step's answer. It comes: steps are begun in order, and a new event waits for none.
    fn was_taken(&self, n: usize) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(taken) = taken[n] {
                return taken;
            }
            taken = self.answered.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The event of step `n`: the same one whenever it is asked for.
    fn letter(&self, n: usize) -> Letter {
        match &self.source {
            Source::Samples {
                types,
                envelope,
                time,
            } => {
                let event_type = &types[n % types.len()];
                let event_id = format!("evt_{}_{n}", self.run);
                let session_id = format!("sess_{}_{}", self.run, n / types.len());
                let event = sample_events::event(event_type, *envelope, &event_id, &session_id, *time);
                Letter {
                    body: event
                        .map(|event| event.to_string())
                        .unwrap_or_default()
                        .into_bytes(),
                    event_type: Some(event_type.clone()),
                    event_id: Some(event_id),
                }
            }
            Source::File(body) => {
                let event = Event::parse(body, 1.0).ok();
                Letter {
                    event_type: event.as_ref().map(|event| event.event_type.to_string()),
                    event_id: event.and_then(|event| event.id).map(String::from),
                    body: body.clone(),
                }
            }
        }
    }

    fn post(&self, n: usize, letter: &Letter, signature: &str) -> Result<Answer, ureq::Error> {
        let mut request = self
            .agent
            .post(&self.target)
            .header("Content-Type", "application/json")
            .header("X-Sonotheia-Signature", signature)
            .header("X-Sonotheia-Timestamp", Timestamp::now().to_string())
            .header("X-Sonotheia-Delivery-Id", format!("dlv_{}_{n}", self.run));
        for (name, value) in [
            ("X-Sonotheia-Event", &letter.event_type),
            ("X-Sonotheia-Event-Id", &letter.event_id),
        ] {
            // Not every name in a body can be a header's value.
            if let Some(value) = value.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
                request = request.header(name, value);
            }
        }
        let mut response = request.send(&letter.body)?;
        let body = response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER_BYTES)
            .read_to_vec()?;
        Ok(Answer {
            status: response.status(),
            told: serde_json::from_slice(&body).unwrap_or_default(),
        })
    }
}
