//! The sender's side of a delivery (contract, section 1), and the check of its answer.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderValue, StatusCode, Uri};
use emulators::sample_events::{self, Envelope};
use serde::Deserialize;
use sonotheia_webhook::event::Event;
use sonotheia_webhook::signature::Secret;
use sonotheia_webhook::timestamp::Timestamp;
use ureq::Agent;

use super::plan::Step;
use crate::client::{self, Unanswered};
use crate::show::clip;

/// The most characters of a text from outside in a line.
const MAX_TEXT: usize = 300;

/// The most bytes of an answer that the command reads. The receiver's answers have less than a kilobyte.
const MAX_ANSWER_BYTES: u64 = 1 << 16;

/// The place that bodies come from.
pub enum Source {
    /// Sample events of these types in turn, all with one time, and with one session for each round of types.
    Samples {
        types: Vec<String>,
        envelope: Envelope,
        time: Timestamp,
    },
    /// These bytes.
    File(Vec<u8>),
}

/// The answer that the contract promises for a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// 200, and not a duplicate.
    New,
    /// 200, and a duplicate.
    Duplicate,
    /// 401.
    Forged,
    /// Any 2xx.
    Success,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "200 accepted",
            Self::Duplicate => "200 duplicate",
            Self::Forged => "401 invalid_signature",
            Self::Success => "any 2xx",
        })
    }
}

/// An answer: its status, and the members of its body that the command uses.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub receipt: Receipt,
}

/// The members of a receipt and of an error. Another body has none of them.
#[derive(Debug, Default, Deserialize)]
pub struct Receipt {
    pub duplicate: Option<bool>,
    pub event_id: Option<String>,
    pub code: Option<String>,
    pub message: Option<String>,
}

impl Answer {
    fn is(&self, expected: Expected) -> bool {
        match expected {
            Expected::New => self.status == StatusCode::OK && self.receipt.duplicate == Some(false),
            Expected::Duplicate => self.status == StatusCode::OK && self.receipt.duplicate == Some(true),
            Expected::Forged => self.status == StatusCode::UNAUTHORIZED,
            Expected::Success => self.status.is_success(),
        }
    }

    /// The outcome in a word or two.
    fn outcome(&self) -> &str {
        match (self.receipt.duplicate, &self.receipt.code) {
            (Some(false), _) => "accepted",
            (Some(true), _) => "duplicate",
            (None, Some(code)) => code,
            (None, None) => self.status.canonical_reason().unwrap_or("unknown"),
        }
    }
}

/// A delivery and its answer.
pub struct Delivery {
    pub event_type: Option<String>,
    pub event_id: Option<String>,
    pub expected: Expected,
    pub answer: Result<Answer, Box<Unanswered>>,
    pub latency: Duration,
}

impl Delivery {
    pub fn is_as_expected(&self) -> bool {
        self.answer.as_ref().is_ok_and(|answer| answer.is(self.expected))
    }
}

impl fmt::Display for Delivery {
    /// Status, outcome, type, id; and the difference if the answer is not the expected answer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut event_id = self.event_id.as_deref();
        let mut reason = None;
        match &self.answer {
            Ok(answer) => {
                event_id = answer.receipt.event_id.as_deref().or(event_id);
                reason.clone_from(&answer.receipt.message);
                let outcome = clip(answer.outcome(), MAX_TEXT);
                write!(f, "{} {outcome:<17}", answer.status.as_u16())?;
            }
            Err(error) => {
                reason = Some(error.to_string());
                write!(f, "--- {:<17}", "no answer")?;
            }
        }
        let text = |text: Option<&str>| clip(text.unwrap_or("-"), MAX_TEXT);
        let event_type = text(self.event_type.as_deref());
        write!(f, "  {event_type:<24}  {}", text(event_id))?;
        if !self.is_as_expected() {
            write!(f, "  (expected {}", self.expected)?;
            reason.map_or(Ok(()), |reason| write!(f, "; {}", clip(&reason, MAX_TEXT)))?;
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
    /// A part of all ids of this run, so that no other run has the same ids.
    run: String,
    next: AtomicUsize,
    /// True for each answered step whose event the receiver accepted.
    accepted: Mutex<Vec<Option<bool>>>,
    answered: Condvar,
}

/// A body, and the values of its headers.
struct Letter {
    body: Vec<u8>,
    event_type: Option<String>,
    event_id: Option<String>,
}

impl Sender {
    /// Prepares deliveries over at most `connections` connections. This sends nothing.
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
            agent: client::agent(config),
            target,
            secret,
            source,
            accepted: Mutex::new(vec![None; steps.len()]),
            steps,
            run,
            next: AtomicUsize::new(0),
            answered: Condvar::new(),
        }
    }

    /// Makes the deliveries until the steps or the listener end. `hand_over` returns false if nobody listens any more.
    pub fn work(&self, hand_over: impl Fn(Delivery) -> bool) {
        loop {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(step) = self.steps.get(n) else { return };
            if !hand_over(self.take(n, *step)) {
                return;
            }
        }
    }

    fn take(&self, n: usize, step: Step) -> Delivery {
        let expected = match (&self.source, step) {
            (Source::File(_), _) => Expected::Success,
            (_, Step::New) => Expected::New,
            (_, Step::Corrupt) => Expected::Forged,
            // An event without a good answer may be stored or not.
            (_, Step::Repeat(of)) if self.was_accepted(of) => Expected::Duplicate,
            (_, Step::Repeat(_)) => Expected::Success,
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

        let accepted = answer.as_ref().is_ok_and(|answer| answer.status.is_success());
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)[n] = Some(accepted);
        self.answered.notify_all();
        Delivery {
            event_type: letter.event_type,
            event_id: letter.event_id,
            expected,
            answer,
            latency,
        }
    }

    /// Waits for the answer of an earlier step. The answer comes: steps begin in order, and a new event waits for no other.
    fn was_accepted(&self, n: usize) -> bool {
        let mut answers = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(accepted) = answers[n] {
                return accepted;
            }
            answers = self
                .answered
                .wait(answers)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The event of step `n`. It is the same event at each call.
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

    fn post(&self, n: usize, letter: &Letter, signature: &str) -> Result<Answer, Box<Unanswered>> {
        self.exchange(n, letter, signature)
            .map_err(|error| Unanswered::new(&self.target, &error).into())
    }

    fn exchange(&self, n: usize, letter: &Letter, signature: &str) -> Result<Answer, ureq::Error> {
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
            receipt: serde_json::from_slice(&body).unwrap_or_default(),
        })
    }
}
