//! The application that gets the events, as it would get them from Sonotheia (contract, section 1).

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderValue, Uri};
use serde::Deserialize;
use sonotheia_webhook::signature::Secret;
use sonotheia_webhook::timestamp::Timestamp;
use ureq::Agent;

use super::source::Listed;
use crate::args::random_hex;
use crate::client::{self, Answer};
use crate::failure::Failure;
use crate::interrupt::blocking;

/// How long the application may take for an answer. A developer may stop it in a debugger.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The most of an answer that is read.
const MAX_ANSWER_BYTES: u64 = 1 << 16;

/// The application.
pub struct Application {
    agent: Agent,
    target: Uri,
    secret: Secret,
    /// Makes the delivery ids of this run unlike those of any other run.
    run: String,
    deliveries: u64,
}

/// The answer to a delivery.
#[derive(Debug)]
pub enum Answered {
    /// A status.
    Status(u16),
    /// No status; the text says why.
    Nothing(String),
}

impl Answered {
    /// Returns true if the application has the event.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Status(200..=299))
    }
}

/// A receiver's answer to a delivery.
#[derive(Default, Deserialize)]
struct Receipt {
    received: Option<bool>,
    duplicate: Option<bool>,
}

impl Application {
    /// # Errors
    /// The operating system has no random bytes.
    pub fn new(target: Uri, secret: Secret) -> Result<Self, Failure> {
        let config = client::config(&target)
            .timeout_global(Some(TIMEOUT))
            .user_agent("Sonotheia-Webhook/1.0");
        Ok(Self {
            agent: config.build().into(),
            target,
            secret,
            run: random_hex::<8>()?,
            deliveries: 0,
        })
    }

    /// The application's address.
    pub fn target(&self) -> &Uri {
        &self.target
    }

    /// Posts an event once. The second value is true if the answer is the answer of a receiver that has the event already.
    pub async fn post(&mut self, event: &Listed, body: &Bytes) -> (Answered, bool) {
        self.deliveries += 1;
        let mut request = self
            .agent
            .post(&self.target)
            .header("Content-Type", "application/json")
            .header("X-Sonotheia-Signature", self.secret.sign(body).to_string())
            .header("X-Sonotheia-Timestamp", Timestamp::now().to_string())
            .header(
                "X-Sonotheia-Delivery-Id",
                format!("dlv_{}_{}", self.run, self.deliveries),
            );
        for (name, value) in [
            ("X-Sonotheia-Event", &event.event_type),
            ("X-Sonotheia-Event-Id", &event.event_id),
        ] {
            // Not every name in a body can be a header's value, and servers read other characters than ASCII differently. The
            // body has the name in any case.
            if let Some(value) = HeaderValue::from_str(value)
                .ok()
                .filter(|value| value.to_str().is_ok())
            {
                request = request.header(name, value);
            }
        }
        let (target, body) = (self.target.clone(), body.clone());
        let sent = move || Answer::read(&target, request.send(&body[..]), MAX_ANSWER_BYTES);
        match blocking(sent).await {
            Ok(answer) => {
                let receipt: Receipt = serde_json::from_slice(&answer.body).unwrap_or_default();
                let is_duplicate = receipt.received.is_some() && receipt.duplicate == Some(true);
                (Answered::Status(answer.status), is_duplicate)
            }
            Err(Failure::Http { source, .. }) => (Answered::Nothing(source.to_string()), false),
            Err(failure) => (Answered::Nothing(failure.to_string()), false),
        }
    }
}
