//! HTTP as the commands speak it: no redirects, bounded answers, no proxy on the way to this machine.

use std::time::Duration;

use axum::http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;

use crate::failure::Failure;
use crate::hosts;
use crate::proxies::Proxies;
use crate::remote::RemoteError;
use crate::trust;

/// How long a request may take in all.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of a client for `target`. A variable that cannot be used does not count; [`check`] reports it.
pub fn config(target: &Uri) -> ConfigBuilder<AgentScope> {
    let mut config = Agent::config_builder();
    // Reading the system's roots takes some milliseconds.
    if target.scheme_str() == Some("https") {
        config = config.tls_config(trust::ureq());
    }
    config
        .timeout_global(Some(TIMEOUT))
        .max_redirects(0)
        .http_status_as_error(false)
        .proxy(Proxies::from_env().unwrap_or_default().ureq(target))
}

/// Checks the variables that [`config`] uses.
///
/// # Errors
/// [`RemoteError::Proxy`] and [`RemoteError::Variables`].
pub fn check(target: &Uri) -> Result<(), RemoteError> {
    Proxies::from_env()?;
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

/// Reads a base address: a host, perhaps a scheme, a port and a path, and nothing behind it.
pub fn base(text: &str) -> Result<Uri, &'static str> {
    const FORM: &str = "an address looks like https://host or 127.0.0.1:8080, with a number for a port";
    let text = text.trim_end_matches('/');
    let whole = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let uri: Uri = whole.parse().map_err(|_| FORM)?;
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(FORM);
    };
    // `Uri` accepts any text as a port, and drops a fragment.
    let port = authority.as_str().strip_prefix(authority.host()).ok_or(FORM)?;
    let has_port = port.is_empty() || authority.port_u16().is_some_and(|port| port > 0);
    let is_complete = !authority.host().is_empty() && has_port && uri.query().is_none();
    if is_complete && !text.contains('#') {
        Ok(uri)
    } else {
        Err(FORM)
    }
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
            let uri = join(
                &base("http://[::1]:1/live/").expect("an address"),
                &format!("/events/{expected}"),
            );
            assert_eq!(uri.to_string(), format!("http://[::1]:1/live/events/{expected}"));
        }
    }

    #[test]
    fn an_address_that_cannot_be_meant_is_refused() {
        for (text, expected) in [
            ("localhost:8080", "http://localhost:8080/"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/"),
            ("https://host/live/", "https://host/live"),
        ] {
            assert_eq!(base(text).map(|uri| uri.to_string()).as_deref(), Ok(expected));
        }
        for text in [
            "",
            "ftp://host",
            "http://127.0.0.1:8O80",
            "http://host:0",
            "http://host:70000",
            "http://user@host",
            "https://host?a",
            "https://host#a",
            "http://",
            "a b",
        ] {
            assert!(base(text).is_err(), "{text}");
        }
        assert_eq!(
            receiver("localhost:8080/webhook/")
                .map(|uri| uri.to_string())
                .as_deref(),
            Ok("http://localhost:8080/")
        );
    }
}
