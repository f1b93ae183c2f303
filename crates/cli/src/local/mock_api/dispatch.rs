//! The deliveries of the stand-in, on the schedule that Sonotheia documents (contract, section 1).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use emulators::sample_events::{self, Envelope};
use serde::Serialize;
use serde_json::Value;
use sonotheia_webhook::timestamp::Timestamp;

use super::webhooks::Webhook;
use crate::args::random_hex;
use crate::client;
use crate::interrupt::blocking;

/// The delays before the six attempts, in seconds.
const DELAYS: [f64; 6] = [0.0, 5.0, 25.0, 125.0, 625.0, 3125.0];

/// The sender's deadline for an answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// The schedule of the retries at a time scale, for a person: `5, 25, 125, 625, 3125 s`.
pub fn schedule(scale: f64) -> String {
    let delays: Vec<_> = DELAYS[1..]
        .iter()
        .map(|delay| format!("{}", delay / scale))
        .collect();
    format!("{} s", delays.join(", "))
}

/// The state of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// An attempt is still to come.
    Pending,
    /// The receiver answered 2xx.
    Delivered,
    /// The sender has given up.
    Failed,
}

impl Status {
    const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

/// An attempt to deliver.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    pub attempted_at: String,
    /// The answer's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The answer's body, if it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// The fault, if there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Attempt {
    fn is_delivered(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// Sonotheia retries after a 5xx, and if there was no answer.
    fn may_be_repeated(&self) -> bool {
        self.status.is_none_or(|status| status >= 500)
    }
}

/// An event and its attempts.
#[derive(Clone)]
pub struct Dispatched {
    pub event_id: String,
    pub event_type: String,
    /// The signed bytes.
    pub body: Arc<str>,
    pub created_at: Timestamp,
    pub status: Status,
    pub attempts: Vec<Attempt>,
    webhook: Webhook,
}

/// Delivers events, and remembers them.
#[derive(Clone)]
pub struct Dispatcher {
    scale: f64,
    events: Arc<Mutex<Vec<Dispatched>>>,
}

impl Dispatcher {
    /// A sender whose delays are divided by `scale`.
    pub fn new(scale: f64) -> Self {
        Self {
            scale,
            events: Arc::default(),
        }
    }

    fn all(&self) -> MutexGuard<'_, Vec<Dispatched>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes an event and delivers it in the background.
    pub fn deliver(&self, webhook: Webhook, event_type: &str, event_id: &str, session_id: &str) {
        let now = Timestamp::now();
        let Some(body) = sample_events::event(event_type, Envelope::Guide, event_id, session_id, now) else {
            return;
        };
        let event = Dispatched {
            event_id: event_id.to_owned(),
            event_type: event_type.to_owned(),
            body: body.to_string().into(),
            created_at: now,
            status: Status::Pending,
            attempts: Vec::new(),
            webhook,
        };
        let place = {
            let mut all = self.all();
            all.push(event.clone());
            all.len() - 1
        };
        let dispatcher = self.clone();
        tokio::spawn(async move {
            for delay in DELAYS {
                tokio::time::sleep(Duration::from_secs_f64(delay / dispatcher.scale)).await;
                // A retry that somebody asked for has succeeded meanwhile.
                if dispatcher.all()[place].status == Status::Delivered {
                    return;
                }
                let attempt = event.attempt().await;
                let (delivered, may_be_repeated) = (attempt.is_delivered(), attempt.may_be_repeated());
                let is_last = delivered || !may_be_repeated;
                dispatcher.note(place, attempt, is_last);
                if is_last {
                    return;
                }
            }
            let event = &mut dispatcher.all()[place];
            if event.status != Status::Delivered {
                event.status = Status::Failed;
            }
        });
    }

    fn note(&self, place: usize, attempt: Attempt, is_last: bool) {
        let event = &mut self.all()[place];
        if is_last {
            event.status = if attempt.is_delivered() {
                Status::Delivered
            } else {
                Status::Failed
            };
        }
        event.attempts.push(attempt);
    }

    /// Delivers an event once more. If the event is for two webhooks, this repeats the first delivery that has not succeeded.
    /// Returns `None` if no event has this id.
    pub async fn again(&self, event_id: &str) -> Option<Attempt> {
        let (place, event) = {
            let all = self.all();
            let is_open =
                |event: &Dispatched| event.event_id == event_id && event.status != Status::Delivered;
            let open = all.iter().position(is_open);
            let place = open.or_else(|| all.iter().position(|event| event.event_id == event_id))?;
            (place, all[place].clone())
        };
        let attempt = event.attempt().await;
        let mut all = self.all();
        if attempt.is_delivered() {
            all[place].status = Status::Delivered;
        }
        all[place].attempts.push(attempt.clone());
        Some(attempt)
    }

    /// The events of a status that were made since a time, oldest first.
    pub fn events(&self, status: Option<&str>, since: Option<Timestamp>) -> Vec<Dispatched> {
        let all = self.all();
        let wanted = all.iter().filter(|event| {
            status.is_none_or(|status| status == event.status.name())
                && since.is_none_or(|since| event.created_at.as_millis() >= since.as_millis())
        });
        wanted.cloned().collect()
    }
}

impl Dispatched {
    /// Posts the event once, signed and with the documented headers.
    async fn attempt(&self) -> Attempt {
        let attempted_at = Timestamp::now().to_string();
        let delivery_id = random_hex::<8>().unwrap_or_default();
        let event = self.clone();
        let sent = blocking(move || {
            let webhook = &event.webhook;
            let agent: ureq::Agent = client::config(&webhook.url)
                .timeout_global(Some(DEADLINE))
                .build()
                .into();
            let request = agent
                .post(&webhook.url)
                .header("Content-Type", "application/json")
                .header("User-Agent", "Sonotheia-Webhook/1.0")
                .header(
                    "X-Sonotheia-Signature",
                    webhook.secret.sign(event.body.as_bytes()).to_string(),
                )
                .header("X-Sonotheia-Event", &event.event_type)
                .header("X-Sonotheia-Event-Id", &event.event_id)
                .header("X-Sonotheia-Timestamp", event.created_at.to_string())
                .header("X-Sonotheia-Delivery-Id", format!("dlv_{delivery_id}"));
            let mut response = request.send(event.body.as_bytes())?;
            let text = response
                .body_mut()
                .with_config()
                .limit(1 << 16)
                .read_to_string()?;
            Ok::<_, ureq::Error>((response.status().as_u16(), text))
        })
        .await;
        match sent {
            Ok((status, text)) => Attempt {
                attempted_at,
                status: Some(status),
                answer: serde_json::from_str(&text).ok(),
                error: None,
            },
            Err(error) => Attempt {
                attempted_at,
                status: None,
                answer: None,
                error: Some(error.to_string()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_the_documented_one() {
        assert_eq!(schedule(1.0), "5, 25, 125, 625, 3125 s");
        assert_eq!(schedule(100.0), "0.05, 0.25, 1.25, 6.25, 31.25 s");
        // About 65 minutes in all.
        assert_eq!(DELAYS.iter().sum::<f64>() / 60.0, 3905.0 / 60.0);
    }
}
