//! From an error to a status and a JSON body: the one table (contract, sections 2 and 3).

use std::error::Error;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::cause::Causes;
use crate::event::Problem;
use crate::ingest::{EVENT_CONFLICT, EVENT_TOO_OLD, INVALID_EVENT};
use crate::secrets::SecretsError;
use crate::store::StoreError;
use crate::telemetry::{Delivered, Invocation};

/// The time that a sender should wait after a 503, in seconds. Sonotheia's own first retry comes after 5 s.
const RETRY_AFTER: &str = "5";

/// The challenge of a 401 (RFC 9110, section 11.6.1). The scheme has no registered name, since the sender made it.
///
/// Behind a REST API the client sees this header as `x-amzn-Remapped-WWW-Authenticate` ("Amazon API Gateway important notes",
/// REST APIs). The other fronts pass it on.
const CHALLENGE: &str = r#"HMAC-SHA256 header="X-Sonotheia-Signature""#;

/// The reason why a request does not get a 200.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The body is over the limit.
    #[error("the body is over {limit} bytes (MAX_BODY_BYTES)")]
    PayloadTooLarge {
        /// `MAX_BODY_BYTES`.
        limit: usize,
    },
    /// The body's transfer encoding is broken, or the sender closed the connection.
    #[error(
        "the body could not be read to its end; send the request again with a correct Content-Length or chunks"
    )]
    UnreadableBody(#[source] Box<dyn Error + Send + Sync>),
    /// The Lambda event is not an HTTP request.
    #[error(
        "the event is not an HTTP request; send one through API Gateway, a load balancer or a function URL"
    )]
    NotHttp,
    /// The signature is missing, repeated, malformed or wrong. The text is the same for every cause.
    #[error(
        "X-Sonotheia-Signature must be the HMAC-SHA256 of the raw body in hex, keyed with the shared secret"
    )]
    InvalidSignature,
    /// The body is signed and stored as rejected, but it is not an event.
    #[error("{0}")]
    InvalidEvent(Problem),
    /// The body is signed and stored as rejected, and its event is older than the retention.
    #[error("{0}")]
    EventTooOld(Problem),
    /// The body is signed and stored as rejected, and its id is the id of another accepted event.
    #[error("{0}")]
    EventConflict(Problem),
    /// The path or the record does not exist.
    #[error("there is no {what}")]
    NotFound {
        /// What the request asked for.
        what: &'static str,
    },
    /// The path has other methods.
    #[error("this path does not support the method; see the header Allow")]
    MethodNotAllowed,
    /// A query parameter has an unusable value.
    #[error("`{parameter}` {fault}")]
    InvalidQuery {
        /// The parameter's name.
        parameter: String,
        /// The fault, to be read after the name.
        fault: String,
    },
    /// A retry may succeed.
    #[error("the receiver cannot answer right now; send the same request again")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// The receiver has a defect.
    #[error("the receiver failed; its log has the cause under the request id")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
}

impl HttpError {
    /// The request took longer than [`deadline::REQUEST`](crate::deadline::REQUEST).
    pub fn deadline() -> Self {
        Self::Unavailable("the request's time is up".into())
    }

    /// The receiver panicked.
    pub fn panic() -> Self {
        Self::Internal("a panic; the log has its place".into())
    }

    /// The status, the code, and a short text for people.
    pub const fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::PayloadTooLarge { .. } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                "Payload too large",
            ),
            Self::UnreadableBody(_) | Self::NotHttp => {
                (StatusCode::BAD_REQUEST, "invalid_request", "Invalid request")
            }
            Self::InvalidSignature => (StatusCode::UNAUTHORIZED, "invalid_signature", "Invalid signature"),
            Self::InvalidEvent(_) => (StatusCode::BAD_REQUEST, INVALID_EVENT, "Invalid event"),
            Self::EventTooOld(_) => (StatusCode::BAD_REQUEST, EVENT_TOO_OLD, "Event too old"),
            Self::EventConflict(_) => (StatusCode::CONFLICT, EVENT_CONFLICT, "Event conflict"),
            Self::NotFound { .. } => (StatusCode::NOT_FOUND, "not_found", "Not found"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "Method not allowed",
            ),
            Self::InvalidQuery { .. } => (StatusCode::BAD_REQUEST, "invalid_query", "Invalid query"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Unavailable"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
        }
    }

    /// The name that log and metrics give to a delivery with this error.
    pub const fn delivered(&self) -> Delivered {
        match self {
            Self::PayloadTooLarge { .. } => Delivered::TooLarge,
            Self::InvalidSignature => Delivered::InvalidSignature,
            Self::EventConflict(_) => Delivered::Conflict,
            Self::Unavailable(_) => Delivered::Unavailable,
            Self::Internal(_) => Delivered::Internal,
            Self::InvalidEvent(_) | Self::EventTooOld(_) => Delivered::Rejected,
            // A delivery never gets the last four: they belong to other routes, or to an invocation without a route.
            Self::UnreadableBody(_)
            | Self::NotHttp
            | Self::NotFound { .. }
            | Self::MethodNotAllowed
            | Self::InvalidQuery { .. } => Delivered::Unreadable,
        }
    }

    /// Makes the answer. The log gets the causes, once and here; the answer does not have them.
    pub fn into_response(self, invocation: &Invocation) -> Response {
        let request_id = invocation.request_id.as_str();
        if let Some(source) = self.source() {
            let cause = Causes(source);
            match &self {
                Self::Internal(_) => tracing::error!(request_id, %cause, "the receiver has a defect"),
                Self::Unavailable(_) => tracing::warn!(request_id, %cause, "the receiver is not available"),
                _ => {}
            }
        }
        let (status, code, error) = self.kind();
        let body = body(error, code, &self.to_string(), request_id);
        let mut response = (status, body).into_response();
        let header = match status {
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, RETRY_AFTER)),
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, CHALLENGE)),
            _ => None,
        };
        if let Some((name, value)) = header {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// The body of every answer that is an error.
pub fn body(error: &str, code: &str, message: &str, request_id: &str) -> String {
    #[derive(Serialize)]
    struct Body<'a> {
        error: &'a str,
        code: &'a str,
        message: &'a str,
        request_id: &'a str,
    }
    let body = Body {
        error,
        code,
        message,
        request_id,
    };
    serde_json::to_string(&body).expect("a struct of strings is JSON")
}

/// The body of a 200 answer.
///
/// # Errors
/// [`HttpError::Internal`] if the value cannot be written as JSON.
pub fn json(body: &impl Serialize) -> Result<String, HttpError> {
    serde_json::to_string(body).map_err(|error| HttpError::Internal(error.into()))
}

impl From<StoreError> for HttpError {
    fn from(error: StoreError) -> Self {
        if error.is_transient() {
            Self::Unavailable(error.into())
        } else {
            Self::Internal(error.into())
        }
    }
}

impl From<SecretsError> for HttpError {
    fn from(error: SecretsError) -> Self {
        Self::Unavailable(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_cannot_be_written_is_a_defect_and_not_an_empty_answer() {
        let unwritable = std::collections::HashMap::from([((), ())]);
        let error = json(&unwritable).expect_err("a map without string keys");
        assert_eq!(error.kind().0, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
