//! The network between an environment and its services: the HTTP client of the SDK.
//!
//! It hands each request to the embedded service, and it may delay, lose, repeat, reorder, throttle or cut the request
//! before or after the service has done it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use tokio::sync::oneshot;

use crate::condition::Condition;
use crate::delivery::Delivery;
use crate::front::Front;
use crate::options::{Check, Defect};
use crate::table::Reply;
use crate::world::{World, lock};

/// The services, by their place in the weather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// DynamoDB.
    Table,
    /// Secrets Manager.
    Vault,
}

/// A fault of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Throttled,
    FailedBefore,
    FailedAfter,
    CutBefore,
    CutAfter,
    LostRequest,
    LostAnswer,
    Late,
    Repeated,
}

const FAULTS: [Fault; 9] = [
    Fault::Throttled,
    Fault::FailedBefore,
    Fault::FailedAfter,
    Fault::CutBefore,
    Fault::CutAfter,
    Fault::LostRequest,
    Fault::LostAnswer,
    Fault::Late,
    Fault::Repeated,
];

/// The longest time after the start of a delivery at which one of its requests reaches a service. Later writes than the
/// receiver's own limit (5 s) would need a network that keeps a closed connection's data.
const LATEST_MS: i64 = 4_800;

/// The network of one environment to one service.
#[derive(Clone)]
pub struct Network(Arc<Inner>);

struct Inner {
    world: Arc<World>,
    service: Service,
    /// `None` for the operator, who meets no faults.
    environment: Option<Arc<Condition>>,
    idle: Mutex<Vec<Connection>>,
    opened: AtomicUsize,
}

#[derive(Clone)]
struct Connection {
    number: usize,
    /// The server at the other end has answered 5xx.
    has_failed: Arc<AtomicBool>,
    /// The SDK wants the connection closed.
    is_poisoned: Arc<AtomicBool>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Network").field(&self.0.service).finish()
    }
}

impl HttpClient for Network {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Network {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let this = self.clone();
        HttpConnectorFuture::new(async move { this.exchange(request).await })
    }
}

impl Network {
    /// A network without idle connections.
    pub fn new(world: Arc<World>, service: Service, environment: Option<Arc<Condition>>) -> Self {
        Self(Arc::new(Inner {
            world,
            service,
            environment,
            idle: Mutex::default(),
            opened: AtomicUsize::new(0),
        }))
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let delivery = Delivery::current();
        let target = request
            .headers()
            .get("x-amz-target")
            .unwrap_or_default()
            .to_owned();
        let body = request.body().bytes().unwrap_or_default().to_vec();
        let request = request.try_into_http1x().expect("an HTTP request");
        let connection = self.connection(delivery.as_deref());
        let capture = request.extensions().get::<CaptureSmithyConnection>();
        if let Some(capture) = capture
            && !self.0.world.has(Defect::ReusedConnection)
        {
            report(capture, &connection);
        }

        let (there, back) = self.latency();
        let fault = self.fault(delivery.as_deref());
        let reply = if connection.has_failed.load(Ordering::Relaxed) {
            Some(Reply::error(500, "InternalServerError"))
        } else {
            self.run(fault, there, target, body, delivery).await
        };
        tokio::time::sleep(back).await;
        let Some(reply) = reply else {
            return Err(ConnectorError::io("the simulated connection broke".into()));
        };
        if reply.status >= 500 {
            connection.has_failed.store(true, Ordering::Relaxed);
        }
        lock(&self.0.idle).push(connection);
        let mut response = HttpResponse::new(
            reply.status.try_into().expect("a status"),
            SdkBody::from(reply.body),
        );
        response
            .headers_mut()
            .insert("content-type", "application/x-amz-json-1.0");
        Ok(response)
    }

    /// Takes an idle connection that the SDK has not poisoned, or opens one.
    fn connection(&self, delivery: Option<&Delivery>) -> Connection {
        let world = &self.0.world;
        let mut idle = lock(&self.0.idle);
        idle.retain(|connection| !connection.is_poisoned.load(Ordering::Relaxed));
        let taken = idle.pop();
        drop(idle);
        if let Some(connection) = taken {
            if connection.has_failed.load(Ordering::Relaxed) {
                let text = format!(
                    "a request on connection {} after its 5xx answer",
                    connection.number
                );
                world.violation(Check::Connection, delivery, &text);
            }
            return connection;
        }
        Connection {
            number: self.0.opened.fetch_add(1, Ordering::Relaxed),
            has_failed: Arc::default(),
            is_poisoned: Arc::default(),
        }
    }

    /// Draws the times of the way there and back.
    fn latency(&self) -> (Duration, Duration) {
        if self.0.environment.is_none() {
            return (Duration::ZERO, Duration::ZERO);
        }
        let mut rng = self.0.world.rng();
        (
            Duration::from_millis(rng.u64(1..15)),
            Duration::from_millis(rng.u64(1..15)),
        )
    }

    /// Draws the fault of a call, and notes it.
    fn fault(&self, delivery: Option<&Delivery>) -> Option<Fault> {
        let inner = &*self.0;
        let environment = inner.environment.as_ref()?;
        if !inner.world.chance(inner.world.weather(inner.service as usize)) {
            return None;
        }
        let fault = FAULTS[inner.world.rng().usize(0..FAULTS.len())];
        let now_ms = inner.world.clock.now_ms();
        environment.note_fault(inner.service, now_ms);
        if let Some(delivery) = delivery {
            delivery.disturb();
        }
        inner.world.ledger().count("faults");
        Some(fault)
    }

    /// Lets the service run a request. The request goes on if the caller gives up meanwhile.
    async fn run(
        &self,
        fault: Option<Fault>,
        there: Duration,
        target: String,
        body: Vec<u8>,
        delivery: Option<Arc<Delivery>>,
    ) -> Option<Reply> {
        match fault {
            Some(Fault::Throttled) => return Some(Reply::error(400, "ThrottlingException")),
            Some(Fault::FailedBefore) => return Some(Reply::error(500, "InternalServerError")),
            Some(Fault::CutBefore) => return None,
            Some(Fault::LostRequest) => std::future::pending().await,
            _ => {}
        }
        let there = match fault {
            Some(Fault::Late) => self.late(delivery.as_deref()),
            _ => there,
        };
        let front = Front {
            world: self.0.world.clone(),
            service: self.0.service,
            delivery,
        };
        let repeat = fault == Some(Fault::Repeated);
        let (send, receive) = oneshot::channel();
        tokio::spawn(async move {
            tokio::time::sleep(there).await;
            let mut reply = front.run(&target, &body).await;
            if repeat {
                reply = front.run(&target, &body).await;
            }
            // Nobody waits if the caller gave up.
            let _ = send.send(reply);
        });
        let reply = receive.await.expect("the service answers");
        match fault {
            Some(Fault::FailedAfter) => Some(Reply::error(500, "InternalServerError")),
            Some(Fault::CutAfter) => None,
            Some(Fault::LostAnswer) => std::future::pending().await,
            _ => reply,
        }
    }

    /// Draws the time of a late request, which may arrive after the next ones.
    fn late(&self, delivery: Option<&Delivery>) -> Duration {
        let world = &self.0.world;
        let limit = delivery.map_or(LATEST_MS, |delivery| {
            delivery.began_ms + LATEST_MS - world.clock.now_ms()
        });
        let late = world.rng().i64(200..4_000).min(limit);
        Duration::from_millis(u64::try_from(late).unwrap_or_default())
    }
}

/// Gives the SDK the means to close a connection, as the receiver's own transport does.
fn report(capture: &CaptureSmithyConnection, connection: &Connection) {
    let is_poisoned = connection.is_poisoned.clone();
    capture.set_connection_retriever(move || {
        let is_poisoned = is_poisoned.clone();
        let metadata = ConnectionMetadata::builder()
            .proxied(false)
            .poison_fn(move || is_poisoned.store(true, Ordering::Relaxed));
        Some(metadata.build())
    });
}
