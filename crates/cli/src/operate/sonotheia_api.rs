//! Sonotheia's own API (contract, section 1). Its documents name two ways to send the key, so the calls send both:
//! `Authorization: Bearer …` and `X-API-Key: …`.

use axum::http::{HeaderValue, Uri};
use clap::Args;
use ureq::Agent;

use crate::address;
use crate::client::{self, Answer};
use crate::failure::Failure;
use crate::interrupt::blocking;
use crate::remote::RemoteError;

/// The variable with the key. There is no option for it, since other users of the machine can see a process's options.
pub const KEY: &str = "SONOTHEIA_API_KEY";

/// The largest answer that a command reads.
const MAX_ANSWER_BYTES: u64 = 1 << 26;

/// The address of Sonotheia's API.
#[derive(Args)]
pub struct Api {
    /// The address of Sonotheia's API; the variable SONOTHEIA_API_KEY holds its key
    #[arg(long, value_name = "URL", default_value = "https://api.sonotheia.com", value_parser = address)]
    pub base_url: Uri,
}

fn address(text: &str) -> Result<Uri, String> {
    // Sonotheia's documents write the address with the version, which is in the calls' paths here.
    let text = text.trim_end_matches('/');
    let uri = address::base(text.strip_suffix("/v1").unwrap_or(text)).map_err(|error| error.to_string())?;
    if uri.scheme_str() == Some("http") && !client::is_loopback(&uri) {
        return Err("the key goes over https only, except to this machine".to_owned());
    }
    Ok(uri)
}

/// Sonotheia's API, with a key.
#[derive(Clone)]
pub struct Session {
    agent: Agent,
    base: Uri,
    bearer: HeaderValue,
    key: HeaderValue,
}

impl Api {
    /// Reads the key from the environment. This makes no call.
    pub fn session(&self) -> Result<Session, Failure> {
        let key = std::env::var(KEY).unwrap_or_default();
        let key = key.trim();
        if key.is_empty() {
            return Err(RemoteError::NoApiKey.into());
        }
        let header = |text: &str| {
            let mut value = HeaderValue::from_str(text).map_err(|_| RemoteError::BadApiKey)?;
            value.set_sensitive(true);
            Ok::<_, RemoteError>(value)
        };
        client::check(&self.base_url)?;
        Ok(Session {
            agent: client::agent(client::config(&self.base_url).build()),
            base: self.base_url.clone(),
            bearer: header(&format!("Bearer {key}"))?,
            key: header(key)?,
        })
    }
}

impl Session {
    /// Makes a GET call. Returns the answer if its status is 2xx.
    pub async fn get(&self, path_and_query: &str) -> Result<Answer, Failure> {
        let (session, url) = (self.clone(), address::join(&self.base, path_and_query));
        blocking(move || {
            let request = session.agent.get(&url).header("Accept", "application/json");
            let request = request.header("Authorization", &session.bearer);
            let sent = request.header("X-API-Key", &session.key).call();
            session.answer(&url, sent)
        })
        .await
    }

    /// Makes a POST call with a JSON body. Returns the answer if its status is 2xx.
    pub async fn post(&self, path: &str, body: String) -> Result<Answer, Failure> {
        let (session, url) = (self.clone(), address::join(&self.base, path));
        blocking(move || {
            let request = session
                .agent
                .post(&url)
                .header("Content-Type", "application/json");
            let request = request.header("Accept", "application/json");
            let request = request.header("Authorization", &session.bearer);
            let sent = request.header("X-API-Key", &session.key).send(body);
            session.answer(&url, sent)
        })
        .await
    }

    /// Makes a DELETE call. Returns the answer if its status is 2xx.
    pub async fn delete(&self, path: &str) -> Result<Answer, Failure> {
        let (session, url) = (self.clone(), address::join(&self.base, path));
        blocking(move || {
            let request = session.agent.delete(&url).header("Accept", "application/json");
            let request = request.header("Authorization", &session.bearer);
            let sent = request.header("X-API-Key", &session.key).call();
            session.answer(&url, sent)
        })
        .await
    }

    /// The path and query of an address, if it has the API's own scheme, host and port: the key goes nowhere else.
    pub fn own_path(&self, address: &str) -> Option<String> {
        let path = match address.strip_prefix('/') {
            // `//host` would be another host.
            Some(rest) if !rest.starts_with('/') => address.to_owned(),
            Some(_) => return None,
            None => {
                let uri: Uri = address.parse().ok()?;
                let is_own = uri.scheme() == self.base.scheme() && uri.authority() == self.base.authority();
                is_own.then(|| uri.path_and_query().map(|path| path.as_str().to_owned()))??
            }
        };
        // `join` puts the base's own path in front.
        let own = self.base.path().trim_end_matches('/');
        path.strip_prefix(own).map(str::to_owned)
    }

    fn answer(
        &self,
        url: &Uri,
        sent: Result<axum::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Answer, Failure> {
        let path = url.path().to_owned();
        let url = self.base.to_string();
        let answer = Answer::read(&self.base, sent, MAX_ANSWER_BYTES).map_err(|failure| match failure {
            Failure::Http { source, .. } => RemoteError::NoApi {
                url: url.clone(),
                source,
            }
            .into(),
            other => other,
        })?;
        match answer.status {
            200..=299 => Ok(answer),
            // The answer's text may repeat the request, with its secret.
            status => Err(RemoteError::ApiRefused { url, path, status }.into()),
        }
    }
}

/// Describes an answer by its size and its type, without quoting it.
pub fn came(answer: &Answer) -> String {
    let kind = answer.content_type.as_deref().map_or("no Content-Type", |kind| {
        kind.split(';').next().unwrap_or_default().trim()
    });
    let kind: String = crate::show::clean(kind).chars().take(64).collect();
    format!("{} bytes ({kind})", answer.body.len())
}

/// Returns true if an answer says that it is JSON.
pub fn is_json(answer: &Answer) -> bool {
    let kind = answer.content_type.as_deref().unwrap_or_default();
    let kind = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}
