//! The place where `serve` knows each delivery as a whole: bytes, time and answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use sonotheia_webhook::telemetry::{Delivered, DeliveryLog};
use sonotheia_webhook::timestamp::Timestamp;

use crate::copied_body::CopiedBody;

/// A delivery and its answer.
pub struct Answered {
    /// The time at which the request began.
    pub received_at: Timestamp,
    /// The time until the answer.
    pub took: Duration,
    /// The answer's status.
    pub status: StatusCode,
    /// The body, as far as the receiver has read it.
    pub body: Bytes,
    /// The facts that the receiver noted.
    pub log: DeliveryLog,
}

/// Sees each delivery before its answer leaves.
pub type Observer = Arc<dyn Fn(&Answered) + Send + Sync>;

/// The receiver's router, with an observer of its deliveries.
pub fn observed(router: Router, observer: Observer) -> Router {
    router.layer(middleware::from_fn_with_state(observer, observe))
}

async fn observe(State(observer): State<Observer>, request: Request, next: Next) -> Response {
    if *request.method() != Method::POST {
        return next.run(request).await;
    }
    let (begun, received_at) = (Instant::now(), Timestamp::now());
    let (request, body) = CopiedBody::of(request);
    let response = next.run(request).await;
    // Only an answer of the webhook has these facts.
    if let Some(log) = response.extensions().get::<DeliveryLog>() {
        observer(&Answered {
            received_at,
            took: begun.elapsed(),
            status: response.status(),
            body: body.take(),
            log: log.clone(),
        });
    }
    response
}

/// The number of deliveries by their outcome.
#[derive(Default)]
pub struct Tally(Mutex<Vec<(Delivered, u64)>>);

impl Tally {
    /// Counts a delivery.
    pub fn add(&self, delivered: Delivered) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.iter_mut().find(|(outcome, _)| *outcome == delivered) {
            Some((_, count)) => *count += 1,
            None => counts.push((delivered, 1)),
        }
    }

    /// `3 deliveries: 2 accepted, 1 duplicate`.
    pub fn summary(&self) -> String {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let total: u64 = counts.iter().map(|(_, count)| count).sum();
        let parts: Vec<_> = counts
            .iter()
            .map(|(delivered, count)| format!("{count} {}", delivered.outcome()))
            .collect();
        match (total, parts.join(", ")) {
            (0, _) => "No deliveries".to_owned(),
            (1, part) => format!("1 delivery: {part}"),
            (_, parts) => format!("{total} deliveries: {parts}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_names_each_outcome_that_occurred() {
        let tally = Tally::default();
        assert_eq!(tally.summary(), "No deliveries");
        tally.add(Delivered::Accepted);
        assert_eq!(tally.summary(), "1 delivery: 1 accepted");
        tally.add(Delivered::InvalidSignature);
        tally.add(Delivered::Accepted);
        assert_eq!(tally.summary(), "3 deliveries: 2 accepted, 1 invalid_signature");
    }
}
