//! What the page's buttons send.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Request;
use emulators::sample_events::{self, Envelope};
use serde::Deserialize;
use sonotheia_webhook::event::types::known_types;
use sonotheia_webhook::signature::Secret;
use sonotheia_webhook::timestamp::Timestamp;
use tower::ServiceExt;

use super::diagnosis::Keys;
use crate::args::random_hex;
use crate::failure::Failure;

/// A button.
#[derive(Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Wanted {
    /// A new event of this type.
    Sample {
        #[serde(rename = "type")]
        event_type: String,
        envelope: Wrapped,
    },
    /// A new event of every type.
    All { envelope: Wrapped },
    /// The event that was accepted last, again.
    Duplicate,
    /// A new event, signed with a secret that nobody has.
    Forged,
    /// A new event, with the signature of the one that was accepted last.
    Tampered,
}

impl Wanted {
    /// Whether there is such a sample.
    pub fn is_known(&self) -> bool {
        match self {
            Self::Sample { event_type, .. } => known_types().any(|known| known == event_type),
            _ => true,
        }
    }
}

/// An envelope by its name.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrapped {
    Guide,
    Schema,
}

impl From<Wrapped> for Envelope {
    fn from(wrapped: Wrapped) -> Self {
        match wrapped {
            Wrapped::Guide => Self::Guide,
            Wrapped::Schema => Self::Schema,
        }
    }
}

/// Delivers what is wanted. `last` is the body that was accepted last; without one, one is sent first.
pub async fn send(
    receiver: &Router,
    keys: &Keys,
    wanted: Wanted,
    last: Option<Bytes>,
) -> Result<(), Failure> {
    const USUAL: &str = "deepfake.completed";
    let secret = keys.secret();
    let new = || body(USUAL, Envelope::Guide);
    match wanted {
        Wanted::Sample { event_type, envelope } => {
            let body = body(&event_type, envelope.into())?;
            deliver(receiver, &body, secret, &body).await;
        }
        Wanted::All { envelope } => {
            for event_type in known_types() {
                let body = body(event_type, envelope.into())?;
                deliver(receiver, &body, secret, &body).await;
            }
        }
        Wanted::Forged => {
            let body = new()?;
            deliver(receiver, &body, &Secret::new(random_hex::<32>()?)?, &body).await;
        }
        Wanted::Duplicate | Wanted::Tampered => {
            let last = match last {
                Some(last) => last,
                None => {
                    let body = new()?;
                    deliver(receiver, &body, secret, &body).await;
                    body
                }
            };
            let body = match wanted {
                Wanted::Duplicate => last.clone(),
                _ => new()?,
            };
            deliver(receiver, &body, secret, &last).await;
        }
    }
    Ok(())
}

/// A new event of that type, which is a known one.
fn body(event_type: &str, envelope: Envelope) -> Result<Bytes, Failure> {
    let run = random_hex::<6>()?;
    let (id, session) = (format!("evt_{run}"), format!("sess_{run}"));
    let event = sample_events::event(event_type, envelope, &id, &session, Timestamp::now());
    Ok(event.unwrap_or_default().to_string().into())
}

/// Delivers `body` with the signature of `signed`.
async fn deliver(receiver: &Router, body: &Bytes, secret: &Secret, signed: &[u8]) {
    let request = Request::post("/webhook")
        .header("content-type", "application/json")
        .header("user-agent", "sonotheia-inspector")
        .header("x-sonotheia-signature", secret.sign(signed).to_string())
        .body(Body::from(body.clone()));
    if let Ok(request) = request {
        // What came of it is seen by the one who observes.
        let Ok(_) = receiver.clone().oneshot(request).await;
    }
}
