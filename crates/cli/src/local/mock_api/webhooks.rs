//! The registered webhooks.

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::Uri;
use serde::Deserialize;
use serde_json::{Value, json};
use sonotheia_webhook::signature::Secret;
use sonotheia_webhook::timestamp::Timestamp;

use super::is_known;
use crate::args::random_hex;
use crate::failure::Failure;

/// A registered webhook.
#[derive(Clone)]
pub struct Webhook {
    pub url: Uri,
    pub events: Vec<String>,
    pub secret: Secret,
}

/// The body of a registration, as Sonotheia documents it.
#[derive(Deserialize)]
struct Registration {
    url: String,
    events: Vec<String>,
    secret: String,
}

impl Webhook {
    /// Reads a registration.
    ///
    /// # Errors
    /// The fault, as a sentence.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        let registration: Registration = serde_json::from_slice(body)
            .map_err(|error| format!("the registration cannot be read: {error}"))?;
        let url: Uri = registration.url.parse().map_err(|_| "`url` is not an address")?;
        if url.host().is_none() || !matches!(url.scheme_str(), Some("http" | "https")) {
            return Err("`url` does not begin with http:// or https://".into());
        }
        if registration.events.is_empty() {
            return Err("`events` names no type".into());
        }
        if let Some(unknown) = registration.events.iter().find(|event| !is_known(event)) {
            return Err(format!("`events` names the unknown type {unknown:?}"));
        }
        Ok(Self {
            url,
            events: registration.events,
            secret: Secret::new(registration.secret).map_err(|error| error.to_string())?,
        })
    }
}

struct Registered {
    id: String,
    created_at: Timestamp,
    webhook: Webhook,
}

impl Registered {
    /// The webhook for a reader. The API never shows the secret.
    fn shown(&self) -> Value {
        json!({
            "id": self.id,
            "url": self.webhook.url.to_string(),
            "events": self.webhook.events,
            "created_at": self.created_at.to_string(),
        })
    }
}

/// All registered webhooks.
#[derive(Default)]
pub struct Webhooks(Mutex<Vec<Registered>>);

impl Webhooks {
    fn all(&self) -> MutexGuard<'_, Vec<Registered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a webhook. A second registration of an address replaces the first.
    pub fn add(&self, webhook: Webhook) -> Result<Value, Failure> {
        let registered = Registered {
            id: format!("wh_{}", random_hex::<8>()?),
            created_at: Timestamp::now(),
            webhook,
        };
        let shown = registered.shown();
        let mut all = self.all();
        all.retain(|other| other.webhook.url != registered.webhook.url);
        all.push(registered);
        Ok(shown)
    }

    /// Returns false if there is no webhook with this id.
    pub fn remove(&self, id: &str) -> bool {
        let mut all = self.all();
        let before = all.len();
        all.retain(|registered| registered.id != id);
        all.len() < before
    }

    pub fn shown(&self) -> Vec<Value> {
        self.all().iter().map(Registered::shown).collect()
    }

    /// The webhooks that are registered for a type.
    pub fn of_type(&self, event_type: &str) -> Vec<Webhook> {
        let all = self.all();
        let wanted = all
            .iter()
            .filter(|registered| registered.webhook.events.iter().any(|event| event == event_type));
        wanted.map(|registered| registered.webhook.clone()).collect()
    }
}
