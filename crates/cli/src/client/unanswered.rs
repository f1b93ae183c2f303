//! The reasons why a request gets no answer, and the remedy for each. The reason comes from the types of the errors, never
//! from their texts.

use std::io::{self, ErrorKind};

use axum::http::Uri;
use rustls::CertificateError;
use ureq::Timeout;

use crate::proxies::{Proxies, Proxy};

/// A request without an answer, or without a whole answer.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.what())]
pub struct Unanswered {
    /// The host and port of the request.
    target: String,
    is_https: bool,
    /// The proxy on the way, and the variable that names it.
    proxy: Option<Proxy>,
    reason: Reason,
}

/// The part of the exchange that failed.
#[derive(Debug, PartialEq, Eq)]
enum Reason {
    NoAddress,
    Refused,
    Unreachable,
    ConnectTimeout,
    /// The proxy answered, but with an error.
    Tunnel(String),
    /// The server's first bytes are not TLS.
    NotTls,
    Untrusted,
    WrongName,
    /// The certificate is not valid now.
    WrongTime,
    Tls(String),
    NotHttp,
    Closed,
    AnswerTimeout,
    TooLarge(u64),
    Other(String),
}

impl Unanswered {
    /// Finds the reason for an error on the way to `url`.
    pub fn new(url: &Uri, error: &ureq::Error) -> Self {
        let is_https = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        Self {
            target: format!("{}:{port}", url.host().unwrap_or_default()),
            is_https,
            proxy: Proxies::from_env().of(url).ok().flatten().cloned(),
            reason: reason(error),
        }
    }

    /// Returns true if the address may be another than the person meant.
    fn is_about_the_address(&self) -> bool {
        let is_first = matches!(
            self.reason,
            Reason::NoAddress | Reason::Refused | Reason::Unreachable | Reason::ConnectTimeout
        );
        is_first && self.proxy.is_none()
    }

    /// The first connection: to the proxy if there is a proxy, else to the target.
    fn first(&self) -> String {
        match &self.proxy {
            Some(proxy) => format!("the proxy {} of {}", proxy.host(), proxy.variable),
            None => self.target.clone(),
        }
    }

    fn what(&self) -> String {
        let (first, target) = (self.first(), &self.target);
        match &self.reason {
            Reason::NoAddress => format!("the name of {first} has no address"),
            Reason::Refused => {
                format!("the connection to {first} was refused, so no program listens there")
            }
            Reason::Unreachable => format!("there is no way through the network to {first}"),
            Reason::ConnectTimeout => format!("there was no connection to {first} in time"),
            Reason::Tunnel(answer) => format!("{first} did not connect to {target} ({answer})"),
            Reason::NotTls => format!("{target} does not speak TLS"),
            Reason::Untrusted => {
                format!("no trusted root signed the certificate of {target}")
            }
            Reason::WrongName => format!("the certificate of {target} is for another name"),
            Reason::WrongTime => format!("the certificate of {target} has expired, or is not valid yet"),
            Reason::Tls(text) => format!("TLS with {target} failed ({text})"),
            Reason::NotHttp => format!("{target} does not answer in HTTP"),
            Reason::Closed => format!("{target} closed the connection before its answer was complete"),
            Reason::AnswerTimeout => {
                format!("{target} accepted the connection, but did not answer in time")
            }
            Reason::TooLarge(limit) => format!("the answer of {target} is larger than {limit} bytes"),
            Reason::Other(text) => format!("the request to {target} failed ({text})"),
        }
    }

    /// The remedy. `address` says how a person gives the right address.
    pub fn mend(&self, address: &str) -> String {
        let text = match &self.reason {
            _ if self.is_about_the_address() => address,
            Reason::NoAddress | Reason::Refused | Reason::Unreachable | Reason::ConnectTimeout => {
                "set the variable to a proxy that runs, unset it, or list the host in NO_PROXY"
            }
            Reason::Tunnel(_) => "see the proxy's rules, or list the host in NO_PROXY",
            Reason::NotTls => "write http:// in place of https:// if the server has no TLS",
            Reason::Untrusted => "if you trust the server, name a file with its root (PEM) in SSL_CERT_FILE",
            Reason::WrongName => "use the name that the certificate has",
            Reason::WrongTime => "compare this machine's clock, or renew the certificate",
            Reason::Tls(_) => "see the server's settings for TLS",
            Reason::NotHttp if self.is_https => "see what program listens there",
            Reason::NotHttp => "write https:// if the server has TLS, or see what program listens there",
            Reason::Closed if self.is_https => {
                "see the log of the program there; if it has no TLS, write http:// in place of https://"
            }
            Reason::Closed => {
                "see the log of the program there; if it has TLS, write https:// in place of http://"
            }
            Reason::AnswerTimeout => "see the log of the program there, and try again",
            Reason::TooLarge(_) => "see what program listens there",
            Reason::Other(_) => "check the address and the network",
        };
        text.to_owned()
    }
}

fn reason(error: &ureq::Error) -> Reason {
    use ureq::Error;
    match error {
        Error::HostNotFound => Reason::NoAddress,
        Error::Timeout(Timeout::Connect | Timeout::Resolve) => Reason::ConnectTimeout,
        Error::Timeout(_) => Reason::AnswerTimeout,
        Error::ConnectProxyFailed(answer) => Reason::Tunnel(answer.clone()),
        Error::Rustls(error) => of_tls(error),
        Error::Tls(text) => Reason::Tls((*text).to_owned()),
        Error::Protocol(_) | Error::LargeResponseHeader(..) => Reason::NotHttp,
        Error::BodyExceedsLimit(limit) => Reason::TooLarge(*limit),
        Error::Io(error) => of_io(error),
        other => Reason::Other(other.to_string()),
    }
}

fn of_io(error: &io::Error) -> Reason {
    let inner = error.get_ref();
    if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return of_tls(tls);
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => Reason::Refused,
        ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::AddrNotAvailable => Reason::Unreachable,
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Reason::AnswerTimeout,
        ErrorKind::BrokenPipe
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::UnexpectedEof => Reason::Closed,
        _ => Reason::Other(error.to_string()),
    }
}

fn of_tls(error: &rustls::Error) -> Reason {
    match error {
        rustls::Error::InvalidMessage(_) => Reason::NotTls,
        rustls::Error::InvalidCertificate(fault) => match fault {
            CertificateError::UnknownIssuer => Reason::Untrusted,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Reason::WrongName
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Reason::WrongTime,
            _ => Reason::Tls(error.to_string()),
        },
        _ => Reason::Tls(error.to_string()),
    }
}
