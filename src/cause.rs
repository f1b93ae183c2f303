//! The part of an error that the log may show: its text, and the texts of its causes, in one line.
//!
//! The SDK's errors carry the answer that they were made from, and `Debug` prints all of it (as does the SDK's own
//! `DisplayErrorContext`). That answer may be the secret, or hold stored bodies. So nothing here uses `Debug`, and
//! [`CallError`] does not keep the answer.

use std::error::Error;
use std::fmt;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::RequestId;

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

/// A call to AWS that failed, without the answer. The source has the service's code and message, if the service answered.
#[derive(Debug, thiserror::Error)]
#[error("{what}{}", request_id.as_ref().map(|id| format!(" (AWS request id {id})")).unwrap_or_default())]
pub struct CallError {
    what: String,
    request_id: Option<String>,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl<E: Error + Send + Sync + 'static> From<SdkError<E>> for CallError {
    fn from(error: SdkError<E>) -> Self {
        Self {
            what: error.to_string(),
            request_id: error.request_id().map(str::to_owned),
            source: error.into_source().ok(),
        }
    }
}
