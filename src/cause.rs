//! The part of an error that the log may show (contract, invariant E).
//!
//! An error of the SDK quotes the request or the answer: in its message, in the messages of its causes, and in `Debug`
//! (as does the SDK's own `DisplayErrorContext`). They may hold the secret, or an event. So a call to AWS that failed
//! becomes a [`CallError`], which keeps nothing but constant texts, codes and ids.

use std::error::Error;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;

use crate::aws::transport::error::TransportError;

/// Prints an error and its causes: `a request failed: the connection was refused`.
pub struct Causes<'a>(pub &'a dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// The kind of a call to AWS that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallFault {
    /// The SDK could not build the request, for example for lack of a region.
    #[error("the SDK could not build the request")]
    Construction,
    /// The SDK found no credentials to sign the request with.
    #[error("there are no AWS credentials")]
    Credentials,
    /// The request did not reach the service, or its answer did not come back.
    #[error("{0}")]
    Transport(TransportError),
    /// As `Transport`, through another connector than the receiver's own: the network failed.
    #[error("the network failed")]
    Io,
    /// As `Transport`, through another connector than the receiver's own: a time limit passed.
    #[error("the connection timed out")]
    ConnectionTimeout,
    /// As `Transport`, for a reason that the SDK does not name.
    #[error("the SDK could not send the request")]
    Dispatch,
    /// The time limit of an attempt or of all attempts passed.
    #[error("the call timed out")]
    Timeout,
    /// The SDK could not read the answer.
    #[error("the SDK could not read the answer")]
    Response,
    /// The service answered with an error.
    #[error("the service answered with an error")]
    Service,
    /// An error of a kind that this version of the receiver does not know.
    #[error("the call failed")]
    Other,
}

/// A call to AWS that failed. It holds no text of the request, the answer or the SDK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    fault: CallFault,
    code: Option<String>,
    status: Option<u16>,
    request_id: Option<String>,
}

impl CallError {
    /// The kind.
    pub fn fault(&self) -> CallFault {
        self.fault
    }

    /// The service's code, for example `AccessDeniedException`.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = " (";
        write!(f, "{}", self.fault)?;
        let status = self.status.map(|status| status.to_string());
        for (name, value) in [
            ("", &self.code),
            ("HTTP status ", &status),
            ("AWS request id ", &self.request_id),
        ] {
            if let Some(value) = value {
                write!(f, "{separator}{name}{value}")?;
                separator = ", ";
            }
        }
        f.write_str(if separator == ", " { ")" } else { "" })
    }
}

impl Error for CallError {}

impl<E> From<SdkError<E>> for CallError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    fn from(error: SdkError<E>) -> Self {
        Self::from(&error)
    }
}

impl<E> From<&SdkError<E>> for CallError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    fn from(error: &SdkError<E>) -> Self {
        let fault = match error {
            SdkError::ConstructionFailure(_) => CallFault::Construction,
            SdkError::TimeoutError(_) => CallFault::Timeout,
            SdkError::DispatchFailure(failure) => failure
                .as_connector_error()
                .map_or(CallFault::Dispatch, CallFault::of_dispatch),
            SdkError::ResponseError(_) => CallFault::Response,
            SdkError::ServiceError(_) => CallFault::Service,
            _ => CallFault::Other,
        };
        Self {
            fault,
            code: error.code().and_then(code),
            status: error
                .raw_response()
                .map(HttpResponse::status)
                .map(|status| status.as_u16()),
            request_id: error.request_id().and_then(request_id),
        }
    }
}

impl CallFault {
    fn of_dispatch(error: &ConnectorError) -> Self {
        if let Some(fault) = find::<TransportError>(error) {
            Self::Transport(*fault)
        } else if find::<CredentialsError>(error).is_some() {
            Self::Credentials
        } else if error.is_timeout() {
            Self::ConnectionTimeout
        } else if error.is_io() {
            Self::Io
        } else {
            Self::Dispatch
        }
    }
}

/// The first cause of this type.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// A code as AWS makes them: `AccessDeniedException`. An answer that is not from AWS can hold any text in its place, so the
/// log leaves out any other text.
fn code(text: &str) -> Option<String> {
    let is_code = text.starts_with(|c: char| c.is_ascii_uppercase()) && is_short(text, "");
    is_code.then(|| text.to_owned())
}

/// A request id as AWS makes them: letters and digits, or a UUID.
fn request_id(text: &str) -> Option<String> {
    is_short(text, "-").then(|| text.to_owned())
}

fn is_short(text: &str, more: &str) -> bool {
    text.len() <= 64
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}
