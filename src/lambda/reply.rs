//! The answer to an invocation, in the shape that its front reads.

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::event::Shape;

/// The answer to an invocation.
pub struct Reply {
    shape: Shape,
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    /// Takes a response of the router, whose bodies are text in memory.
    pub async fn new(shape: Shape, response: Response) -> Self {
        let (parts, body) = response.into_parts();
        // A body in memory cannot fail.
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        Self {
            shape,
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }
}

impl Serialize for Reply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut reply = serializer.serialize_map(None)?;
        reply.serialize_entry("statusCode", &self.status.as_u16())?;
        if self.shape == Shape::Alb {
            reply.serialize_entry("statusDescription", &self.status.to_string())?;
        }
        // A target group of an ALB reads one of the two, by its own setting.
        if self.shape != Shape::Payload1 {
            reply.serialize_entry("headers", &Headers(&self.headers, |value| value))?;
        }
        if matches!(self.shape, Shape::Payload1 | Shape::Alb) {
            reply.serialize_entry("multiValueHeaders", &Headers(&self.headers, |value| [value]))?;
        }
        if self.shape == Shape::Payload2 {
            // API Gateway does not need the list. `cargo lambda watch` refuses an answer without it.
            reply.serialize_entry("cookies", &[""; 0])?;
        }
        reply.serialize_entry("body", &self.body)?;
        reply.serialize_entry("isBase64Encoded", &false)?;
        reply.end()
    }
}

/// Headers as a JSON object. No answer of the router repeats a header.
struct Headers<'a, F>(&'a HeaderMap, F);

impl<'a, T: Serialize, F: Fn(&'a str) -> T> Serialize for Headers<'a, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self
            .0
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        serializer.collect_map(text.map(|(name, value)| (name, (self.1)(value))))
    }
}
