//! The faults of the transport. Their texts are constant, so that the log may show them (contract, invariant E).

use std::error::Error;
use std::io;

use aws_smithy_runtime_api::client::result::ConnectorError;
use rustls::CertificateError;

/// The reason why a request got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The request cannot be sent by HTTP/1.1.
    #[error("the request is not valid HTTP")]
    Request,
    /// The host's name has no address.
    #[error("the host's name could not be resolved")]
    Resolve,
    /// No address accepted a connection.
    #[error("the connection failed ({0})")]
    Connect(io::ErrorKind),
    /// No address accepted a connection in time.
    #[error("the connection timed out")]
    ConnectTimeout,
    /// The server's certificate is not trusted, or TLS failed for another reason.
    #[error("TLS failed ({0})")]
    Tls(&'static str),
    /// The connection broke before the end of the answer.
    #[error("the connection broke ({0})")]
    Broken(io::ErrorKind),
    /// The server closed the connection before the end of the answer.
    #[error("the server closed the connection before the end of its answer")]
    Closed,
    /// The answer is not HTTP/1.1.
    #[error("the answer is not HTTP/1.1")]
    NotHttp,
    /// The answer did not begin in time.
    #[error("the answer did not begin in time")]
    ReadTimeout,
}

impl TransportError {
    /// The fault that hyper found.
    pub fn of(error: &hyper::Error) -> Self {
        if error.is_parse() {
            Self::NotHttp
        } else if error.is_user() {
            Self::Request
        } else {
            let io = error
                .source()
                .and_then(|source| source.downcast_ref::<io::Error>());
            io.map_or(Self::Closed, |error| Self::Broken(error.kind()))
        }
    }

    /// The fault of a TLS handshake. rustls wraps its own error into an [`io::Error`].
    pub fn of_tls(error: &io::Error) -> Self {
        let source = error.get_ref().and_then(|source| source.downcast_ref());
        let Some(error) = source else {
            return Self::Broken(error.kind());
        };
        Self::Tls(match error {
            rustls::Error::InvalidCertificate(fault) => match fault {
                CertificateError::UnknownIssuer => {
                    "no trusted root signed the server's certificate; see SSL_CERT_FILE"
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "the server's certificate has expired"
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "the server's certificate is not valid yet"
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    "the server's certificate is for another name"
                }
                _ => "the server's certificate is not valid",
            },
            rustls::Error::InvalidMessage(_) => "the server does not speak TLS",
            rustls::Error::AlertReceived(_) => "the server refused",
            _ => "the handshake failed",
        })
    }
}

impl From<TransportError> for ConnectorError {
    /// Sorts the fault for the SDK's retries: after every fault of the network, a retry may succeed.
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Request => Self::user(error.into()),
            TransportError::ConnectTimeout | TransportError::ReadTimeout => Self::timeout(error.into()),
            _ => Self::io(error.into()),
        }
    }
}
