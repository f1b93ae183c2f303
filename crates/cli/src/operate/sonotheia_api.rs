//! The sender's own API, as its schema reference has it: a bearer key, `POST /v1/webhooks` and
//! `GET /v1/webhooks/events?status=failed&since=…`.

use axum::http::{HeaderValue, Uri};
use clap::Args;
use ureq::Agent;

use crate::client::{self, Answer};
use crate::failure::Failure;

/// The variable with the key. No option takes it: those of a process can be seen by others.
pub const KEY: &str = "SONOTHEIA_API_KEY";

/// The most of an answer that is read.
const MAX_ANSWER_BYTES: u64 = 1 << 26;

/// Where the sender's API is.
#[derive(Args)]
pub struct Api {
    /// Where Sonotheia's API is; its key is in SONOTHEIA_API_KEY
    #[arg(long, value_name = "URL", default_value = "https://api.sonotheia.com", value_parser = address)]
    pub base_url: Uri,
}

fn address(text: &str) -> Result<Uri, &'static str> {
    let uri = client::base(text)?;
    if uri.scheme_str() == Some("http") && !client::is_loopback(&uri) {
        return Err("the key goes over https only, but to this machine");
    }
    Ok(uri)
}

/// The sender's API, with a key.
pub struct Session {
    agent: Agent,
    base: Uri,
    authorization: HeaderValue,
}

impl Api {
    /// Reads the key from the environment; asks nobody.
    pub fn session(&self) -> Result<Session, Failure> {
        let key = std::env::var(KEY).unwrap_or_default();
        let key = key.trim();
        if key.is_empty() {
            return Err(Failure::NoApiKey);
        }
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| Failure::BadApiKey)?;
        authorization.set_sensitive(true);
        Ok(Session {
            agent: client::config(&self.base_url).build().into(),
            base: self.base_url.clone(),
            authorization,
        })
    }
}

impl Session {
    /// GET, and its 2xx answer.
    pub fn get(&self, path_and_query: &str) -> Result<Answer, Failure> {
        let url = client::join(&self.base, path_and_query);
        let request = self.agent.get(&url).header("Authorization", &self.authorization);
        self.answer(&url, request.header("Accept", "application/json").call())
    }

    /// POST of JSON, and its 2xx answer.
    pub fn post(&self, path: &str, body: &str) -> Result<Answer, Failure> {
        let url = client::join(&self.base, path);
        let request = self.agent.post(&url).header("Authorization", &self.authorization);
        let request = request.header("Content-Type", "application/json");
        self.answer(&url, request.send(body))
    }

    fn answer(
        &self,
        url: &Uri,
        sent: Result<axum::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Answer, Failure> {
        let path = url.path().to_owned();
        let url = self.base.to_string();
        let answer = Answer::read(&self.base, sent, MAX_ANSWER_BYTES).map_err(|failure| match failure {
            Failure::Http { source, .. } => Failure::NoSender {
                url: url.clone(),
                source,
            },
            other => other,
        })?;
        match answer.status {
            200..=299 => Ok(answer),
            // Its text might repeat what it was sent.
            status => Err(Failure::SenderRefused { url, path, status }),
        }
    }
}
