//! Failures to status and JSON: the one table (contract, section 2).

use std::error::Error;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::cause::Causes;
use crate::event::InvalidEvent;
use crate::secrets::SecretsError;
use crate::store::StoreError;
use crate::telemetry::{Delivered, Invocation};

/// How long a sender should wait after a 503, in seconds. Sonotheia's own first retry comes after five.
const RETRY_AFTER: &str = "5";

/// Why a request does not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The body is over the limit.
    #[error("the body is over {limit} bytes")]
    PayloadTooLarge {
        /// `MAX_BODY_BYTES`.
        limit: usize,
    },
    /// No signature, none that can be read, or nobody's. One text for every cause.
    #[error(
        "X-Sonotheia-Signature has to be the HMAC-SHA256 of the raw body in hex, keyed with the shared secret"
    )]
    InvalidSignature,
    /// Signed, stored as rejected, and not an event.
    #[error("{0}")]
    InvalidEvent(#[from] InvalidEvent),
    /// Signed, stored as rejected, and older than the records are kept.
    #[error("the signed time is more than {retention_days} days ago")]
    EventTooOld {
        /// `RETENTION_DAYS`.
        retention_days: u32,
    },
    /// Signed, stored as rejected: the id is that of an accepted event with other type or data.
    #[error("an event with this id was accepted before, with another type or other data")]
    EventConflict,
    /// There is none.
    #[error("there is no {what}")]
    NotFound {
        /// What was asked for.
        what: &'static str,
    },
    /// The path has other methods.
    #[error("this path does not take that method; see Allow")]
    MethodNotAllowed,
    /// A query parameter can't be used.
    #[error("`{parameter}` {fault}")]
    InvalidQuery {
        /// Its name.
        parameter: String,
        /// What is wrong with it, to be read after the name.
        fault: String,
    },
    /// Another try may do.
    #[error("the receiver can't answer right now; the same request may be sent again")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// A defect of ours.
    #[error("the receiver failed; the request id leads to the cause in its log")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
}

impl Failure {
    /// The request took longer than [`REQUEST_DEADLINE`](crate::aws::REQUEST_DEADLINE).
    pub fn deadline() -> Self {
        Self::Unavailable("the request's time is up".into())
    }

    /// Status, code, and a short text for people.
    pub const fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::PayloadTooLarge { .. } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                "Payload too large",
            ),
            Self::InvalidSignature => (StatusCode::UNAUTHORIZED, "invalid_signature", "Invalid signature"),
            Self::InvalidEvent(_) => (StatusCode::BAD_REQUEST, "invalid_event", "Invalid event"),
            Self::EventTooOld { .. } => (StatusCode::BAD_REQUEST, "event_too_old", "Event too old"),
            Self::EventConflict => (StatusCode::CONFLICT, "event_conflict", "Event conflict"),
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

    /// The answer's `code`.
    pub const fn code(&self) -> &'static str {
        self.kind().1
    }

    /// What a delivery that ends so is called.
    pub const fn delivered(&self) -> Delivered {
        match self {
            Self::PayloadTooLarge { .. } => Delivered::TooLarge,
            Self::InvalidSignature => Delivered::InvalidSignature,
            Self::EventConflict => Delivered::Conflict,
            Self::Unavailable(_) => Delivered::Unavailable,
            Self::Internal(_) => Delivered::Internal,
            Self::InvalidEvent(_) | Self::EventTooOld { .. } => Delivered::Rejected,
            // What reads are refused for: no delivery ends so.
            Self::NotFound { .. } | Self::MethodNotAllowed | Self::InvalidQuery { .. } => Delivered::Rejected,
        }
    }

    /// The answer. What only the log may know is logged here, once.
    pub fn into_response(self, invocation: &Invocation) -> Response {
        let request_id = invocation.request_id.as_str();
        if let Some(source) = self.source() {
            let cause = Causes(source);
            match &self {
                Self::Internal(_) => tracing::error!(request_id, %cause, "a defect"),
                Self::Unavailable(_) => tracing::warn!(request_id, %cause, "not available"),
                _ => {}
            }
        }
        let (status, code, error) = self.kind();
        let body = body(error, code, &self.to_string(), request_id);
        let mut response = (status, body).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let after = axum::http::HeaderValue::from_static(RETRY_AFTER);
            response.headers_mut().insert(header::RETRY_AFTER, after);
        }
        response
    }
}

/// The body of every answer that refuses.
pub fn body(error: &str, code: &str, message: &str, request_id: &str) -> String {
    serde_json::json!({ "error": error, "code": code, "message": message, "request_id": request_id })
        .to_string()
}

/// The body of an answer that does not.
///
/// # Errors
/// [`Failure::Internal`] where it can't be written as JSON.
pub fn json(body: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(body).map_err(|error| Failure::Internal(error.into()))
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        if error.is_transient() {
            Self::Unavailable(error.into())
        } else {
            Self::Internal(error.into())
        }
    }
}

impl From<SecretsError> for Failure {
    fn from(error: SecretsError) -> Self {
        Self::Unavailable(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_cannot_be_written_is_a_defect_and_no_empty_answer() {
        let unwritable = std::collections::HashMap::from([((), ())]);
        let failure = json(&unwritable).expect_err("a map without string keys");
        assert_eq!(failure.kind().0, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
