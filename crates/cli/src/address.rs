//! The addresses that a person types. Every command reads them here, before it sends anything.

use std::str::FromStr;

use axum::http::Uri;

/// A fault in an address, and the form to type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A blank, a line break or another control character.
    #[error("the address has a blank in it; {form}", form = form())]
    Blank,
    /// Another scheme than HTTP's.
    #[error("the address begins with {0}://, and not with http:// or https://; {form}", form = form())]
    Scheme(String),
    /// A user or a password.
    #[error("the address has a user's name in it, and no command sends one; {form}", form = form())]
    User,
    /// A port that is not a number, or is not a port.
    #[error("the port {0:?} is not a number from 1 to 65535; {form}", form = form())]
    Port(String),
    /// A query.
    #[error("the address has a query; leave out the question mark and the text behind it")]
    Query,
    /// A fragment.
    #[error("the address has a fragment; leave out the # and the text behind it")]
    Fragment,
    /// A path that no receiver has.
    #[error("the path {0} is not the receiver's: it ends with /webhook; {form}", form = form())]
    Path(String),
    /// Anything else.
    #[error("this is not an address; {form}", form = form())]
    Form,
}

fn form() -> &'static str {
    "an address looks like http://127.0.0.1:8080/webhook or https://host, and may leave out http://"
}

/// The address of a receiver. A person types it with or without a scheme, and with or without `/webhook`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    base: Uri,
}

impl Address {
    /// The path of the webhook, below the base.
    const WEBHOOK: &str = "/webhook";

    /// Reads the address of a receiver.
    ///
    /// # Errors
    /// The fault that makes the address unusable. A path other than the webhook's is such a fault.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let uri = base(text)?;
        let path = uri.path().trim_end_matches('/').to_owned();
        let Some(below) = path
            .strip_suffix(Self::WEBHOOK)
            .or_else(|| path.is_empty().then_some(""))
        else {
            return Err(AddressError::Path(uri.path().to_owned()));
        };
        let is_step = |segment: &str| matches!(segment, "" | "." | "..");
        if below.split('/').skip(1).any(is_step) {
            return Err(AddressError::Path(uri.path().to_owned()));
        }
        let below = below.to_owned();
        with_path(uri, &below).map(|base| Self { base })
    }

    /// The address that deliveries go to: `http://127.0.0.1:8080/webhook`.
    pub fn webhook(&self) -> Uri {
        join(&self.base, Self::WEBHOOK)
    }

    /// The address that the paths of the reads are added to: `http://127.0.0.1:8080`.
    pub fn base(&self) -> &Uri {
        &self.base
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

/// Reads an address to which the commands add paths: a host, perhaps with a scheme, a port and a path.
///
/// # Errors
/// The fault that makes the address unusable.
pub fn base(text: &str) -> Result<Uri, AddressError> {
    let uri = application(text)?;
    if uri.query().is_some() {
        return Err(AddressError::Query);
    }
    let path = uri.path().trim_end_matches('/').to_owned();
    with_path(uri, &path)
}

/// Reads the address of an application, whose path and query stay as they are.
///
/// # Errors
/// The fault that makes the address unusable.
pub fn application(text: &str) -> Result<Uri, AddressError> {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(AddressError::Blank);
    }
    let whole = match text.split_once("://") {
        Some((scheme, _)) if !is_http(scheme) => return Err(AddressError::Scheme(scheme.to_owned())),
        Some(_) => text.to_owned(),
        None => format!("http://{text}"),
    };
    // `Uri` drops a fragment without an error.
    if whole.contains('#') {
        return Err(AddressError::Fragment);
    }
    let uri: Uri = whole.parse().map_err(|_| AddressError::Form)?;
    let authority = uri.authority().ok_or(AddressError::Form)?;
    if authority.as_str().contains('@') {
        return Err(AddressError::User);
    }
    let host = authority.host();
    if host.is_empty() || host.contains(is_odd) {
        return Err(AddressError::Form);
    }
    // `Uri` accepts any text as a port.
    let port = authority.as_str().strip_prefix(host).ok_or(AddressError::Form)?;
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
        return Err(AddressError::Port(port.trim_start_matches(':').to_owned()));
    }
    Ok(uri)
}

fn is_http(scheme: &str) -> bool {
    ["http", "https"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(scheme))
}

/// Returns true for a character that no host's name has. `Uri` accepts some of them.
fn is_odd(c: char) -> bool {
    !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']' | '%'))
}

/// Returns true if text is the number of a port.
pub fn is_port(text: &str) -> bool {
    // `parse` accepts a plus sign.
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// The same scheme, host and port with this path.
fn with_path(uri: Uri, path: &str) -> Result<Uri, AddressError> {
    let mut parts = uri.into_parts();
    let path = if path.is_empty() { "/" } else { path };
    parts.path_and_query = Some(path.parse().map_err(|_| AddressError::Form)?);
    Uri::from_parts(parts).map_err(|_| AddressError::Form)
}

/// `base` and the path and query behind it.
pub fn join(base: &Uri, path_and_query: &str) -> Uri {
    let text = format!("{}{path_and_query}", base.to_string().trim_end_matches('/'));
    // The base was read as an address before, and the rest is percent-encoded text.
    text.parse().unwrap_or_else(|_| base.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_its_scheme_and_its_path() {
        for (text, webhook, base) in [
            (
                "localhost:8080",
                "http://localhost:8080/webhook",
                "http://localhost:8080/",
            ),
            (
                "127.0.0.1:8080/",
                "http://127.0.0.1:8080/webhook",
                "http://127.0.0.1:8080/",
            ),
            (
                "[::1]:8080/webhook",
                "http://[::1]:8080/webhook",
                "http://[::1]:8080/",
            ),
            ("http://a/webhook/", "http://a/webhook", "http://a/"),
            (
                "HTTPS://a.example",
                "https://a.example/webhook",
                "https://a.example/",
            ),
            (
                "https://a.example/live/webhook",
                "https://a.example/live/webhook",
                "https://a.example/live",
            ),
            ("webhook", "http://webhook/webhook", "http://webhook/"),
        ] {
            let address = Address::parse(text).expect(text);
            assert_eq!(address.webhook().to_string(), webhook, "{text}");
            assert_eq!(address.base().to_string(), base, "{text}");
        }
    }

    #[test]
    fn an_address_that_nobody_can_mean_is_an_error() {
        use AddressError::{Blank, Form, Fragment, Path, Port, Query, Scheme, User};
        let port = |text: &str| Port(text.to_owned());
        for (text, expected) in [
            ("http://127.0.0.1:8O80", port("8O80")),
            ("http://127.0.0.1:8O80/webhook", port("8O80")),
            ("localhost:808O", port("808O")),
            ("http://host:0", port("0")),
            ("http://host:70000", port("70000")),
            ("http://host:+80", port("+80")),
            ("http://host:", port("")),
            ("[::1]:8x", port("8x")),
            ("http://user@host/webhook", User),
            ("http://user:secret@host:80/webhook", User),
            ("https://host/webhook?a=b", Query),
            ("https://host?", Query),
            ("https://host/webhook#a", Fragment),
            ("#", Fragment),
            ("ftp://host", Scheme("ftp".to_owned())),
            ("htpp://host", Scheme("htpp".to_owned())),
            ("://host", Scheme(String::new())),
            (" http://host", Blank),
            ("http://host/webhook ", Blank),
            ("http://ho st", Blank),
            ("http://host\n", Blank),
            ("", Form),
            ("http://", Form),
            ("/webhook", Form),
            ("http://::1:8080", Form),
            ("http://[::1:8080", Form),
            ("http://host,other", Form),
            ("http://höst", Form),
            ("http:host:8080", Form),
        ] {
            assert_eq!(Address::parse(text), Err(expected), "{text}");
        }
        for path in [
            "/results",
            "/webhok",
            "/Webhook",
            "/live",
            "/webhook/x",
            "//webhook",
            "/a/../webhook",
            "/./webhook",
            "/mywebhook",
            "/%77ebhook",
        ] {
            let error = Address::parse(&format!("http://host{path}")).expect_err(path);
            assert_eq!(error, Path(path.to_owned()));
            assert!(error.to_string().contains("/webhook"), "{error}");
        }
    }

    #[test]
    fn a_base_keeps_its_path() {
        for (text, expected) in [
            ("localhost:8000", "http://localhost:8000/"),
            ("https://host/live/", "https://host/live"),
        ] {
            assert_eq!(base(text).map(|uri| uri.to_string()).as_deref(), Ok(expected));
        }
        for (text, expected) in [
            ("localhost:3000", "http://localhost:3000/"),
            ("https://host/hooks/?key=1", "https://host/hooks/?key=1"),
        ] {
            assert_eq!(
                application(text).map(|uri| uri.to_string()).as_deref(),
                Ok(expected)
            );
        }
        assert_eq!(application("host/#a"), Err(AddressError::Fragment));
        assert_eq!(
            join(
                &base("http://[::1]:1/live/").expect("an address"),
                "/events/a%2Fb"
            )
            .to_string(),
            "http://[::1]:1/live/events/a%2Fb"
        );
    }
}
