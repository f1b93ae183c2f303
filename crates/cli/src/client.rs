//! HTTP for the commands: no redirects, bounded answers, no proxy on the way to this machine, and a reason for each request
//! that got no answer.

mod early;
mod unanswered;

use std::time::Duration;

use axum::http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::Agent;
use ureq::config::{Config, ConfigBuilder};
use ureq::typestate::AgentScope;

use crate::failure::Failure;
use crate::hosts;
use crate::proxies::Proxies;
use crate::remote::RemoteError;
use crate::trust;

pub use self::unanswered::Unanswered;

/// How long a request may take in all.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may take. It is shorter than the whole, so that a command can tell a silent network from a silent
/// program.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The settings of a client for `target`. A variable that cannot be used does not count; [`check`] reports it.
pub fn config(target: &Uri) -> ConfigBuilder<AgentScope> {
    let mut config = Agent::config_builder();
    // Reading the system's roots takes some milliseconds.
    if target.scheme_str() == Some("https") {
        config = config.tls_config(trust::ureq());
    }
    config
        .timeout_global(Some(TIMEOUT))
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .max_redirects(0)
        .http_status_as_error(false)
        .proxy(Proxies::from_env().ureq(target))
}

/// A client that reads an answer even if the server does not read the whole request.
pub fn agent(config: Config) -> Agent {
    Agent::with_parts(config, early::connector(), early::Names::default())
}

/// Checks the variables that [`config`] uses for `target`. Other variables of proxies do not matter.
///
/// # Errors
/// [`RemoteError::Proxy`] and [`RemoteError::Variables`].
pub fn check(target: &Uri) -> Result<(), RemoteError> {
    Proxies::from_env().of(target)?;
    if target.scheme_str() == Some("https") {
        trust::file()?;
    }
    Ok(())
}

/// An answer: its status and its body.
pub struct Answer {
    pub status: u16,
    /// The `Date` header.
    pub date: Option<String>,
    /// The `Content-Type` header.
    pub content_type: Option<String>,
    /// The `Link` header.
    pub link: Option<String>,
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads an answer of at most `limit` bytes.
    ///
    /// # Errors
    /// [`Failure::Http`] without a whole answer.
    pub fn read(
        url: &Uri,
        sent: Result<axum::http::Response<ureq::Body>, ureq::Error>,
        limit: u64,
    ) -> Result<Self, Failure> {
        let read = sent.and_then(|mut response| {
            let headers = response.headers();
            let header = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
            Ok(Self {
                status: response.status().as_u16(),
                date: header("date"),
                content_type: header("content-type"),
                link: header("link"),
                body: response.body_mut().with_config().limit(limit).read_to_vec()?,
            })
        });
        read.map_err(|error| Failure::unanswered(url, &error))
    }
}

impl Failure {
    /// The failure of a request to `url`.
    pub fn unanswered(url: &Uri, error: &ureq::Error) -> Self {
        Self::Http {
            url: url.to_string(),
            source: Unanswered::new(url, error).into(),
        }
    }
}

/// Returns true if an address is on this machine.
pub fn is_loopback(uri: &Uri) -> bool {
    hosts::is_loopback(uri.host().unwrap_or_default())
}

/// The bytes that stay as they are in a segment of a path or a value of a query (RFC 3986, "unreserved").
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A segment of a path, or a value of a query.
pub fn encode(text: &str) -> String {
    match text {
        // A client takes these for steps in the path.
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => utf8_percent_encode(text, &UNRESERVED).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_segment_is_one_segment() {
        for (text, expected) in [
            ("evt_1", "evt_1"),
            ("rejected:sha256:ab", "rejected%3Asha256%3Aab"),
            ("a/b?c#d e%", "a%2Fb%3Fc%23d%20e%25"),
            ("..", "%2E%2E"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(encode(text), expected);
        }
    }
}
