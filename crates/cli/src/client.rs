//! HTTP as the commands speak it: no redirects, bounded answers, no proxy on the way to this machine.

use std::time::Duration;

use axum::http::Uri;
use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;

use crate::failure::Failure;
use crate::hosts;
use crate::proxies::Proxies;

/// How long a request may take in all.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of a client for `target`. A proxy's variable that cannot be used does not count;
/// [`Proxies::from_env`] reports it.
pub fn config(target: &Uri) -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .max_redirects(0)
        .http_status_as_error(false)
        .proxy(Proxies::from_env().unwrap_or_default().ureq(target))
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
    /// [`Failure::Http`]: a whole answer, or none.
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
        read.map_err(|source| Failure::Http {
            url: url.to_string(),
            source: source.into(),
        })
    }
}

/// Returns true if an address is on this machine.
pub fn is_loopback(uri: &Uri) -> bool {
    hosts::is_loopback(uri.host().unwrap_or_default())
}

/// Reads a base address: a scheme, a host, perhaps a path, and nothing behind it.
pub fn base(text: &str) -> Result<Uri, &'static str> {
    const FORM: &str = "an address looks like https://host or http://127.0.0.1:8080";
    let uri: Uri = text.trim_end_matches('/').parse().map_err(|_| FORM)?;
    let complete = matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none();
    if complete { Ok(uri) } else { Err(FORM) }
}

/// Reads the address of a receiver, with or without `/webhook`.
pub fn receiver(text: &str) -> Result<Uri, &'static str> {
    let text = text.trim_end_matches('/');
    base(text.strip_suffix("/webhook").unwrap_or(text))
}

/// `base` and what comes behind it.
pub fn join(base: &Uri, path_and_query: &str) -> Uri {
    let text = format!("{}{path_and_query}", base.to_string().trim_end_matches('/'));
    // Both parts were read as addresses before, or are made of percent-encoded text.
    text.parse().unwrap_or_else(|_| base.clone())
}

/// A segment of a path, or a value of a query.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    // A client takes these for steps in the path.
    match encoded.as_str() {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => encoded,
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
            let uri = join(
                &base("http://[::1]:1/live/").expect("an address"),
                &format!("/events/{expected}"),
            );
            assert_eq!(uri.to_string(), format!("http://[::1]:1/live/events/{expected}"));
        }
    }
}
