//! HTTP/1.1 over TLS for the SDK's clients, with hyper and rustls.
//!
//! The SDK's own client also contains HTTP/2, proxies and the system's roots. They are a tenth of the binary, and every
//! cold start pays for them (`docs/performance.md`). That client also measures the age of idle connections with the
//! monotonic clock, which stands still while Lambda freezes the process.

pub mod connect;
pub mod error;
mod pool;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use connect::Origin;
use error::TransportError;
use pool::{Connection, Pool};

/// An HTTP client. Its clones share one pool of connections.
#[derive(Clone, Debug)]
pub struct HttpsClient(Arc<Shared>);

struct Shared {
    tls: TlsConnector,
    pool: Pool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

impl HttpsClient {
    /// A client that trusts `roots`. It speaks plain HTTP to endpoints whose URL begins with `http:`.
    pub fn new(roots: RootCertStore) -> Self {
        let tls = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the suites of TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(Arc::new(Shared {
            tls: TlsConnector::from(Arc::new(tls)),
            pool: Pool::default(),
        }))
    }
}

/// The cryptography of `ring`, with the suites of AES-128 first. They hash with SHA-256, for which the processors of Lambda have
/// instructions; the suites of AES-256 hash with SHA-384, which takes 6 % of a start.
fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        !matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    });
    provider
}

impl HttpClient for HttpsClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector {
            client: self.clone(),
            connect: settings.connect_timeout(),
            read: settings.read_timeout(),
        })
    }
}

/// The client with the time limits of one call.
#[derive(Clone, Debug)]
struct Connector {
    client: HttpsClient,
    /// The limit of a TCP connection to one address.
    connect: Option<Duration>,
    /// The limit between a request and the head of its answer.
    read: Option<Duration>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let this = self.clone();
        HttpConnectorFuture::new(async move {
            let answer = this.exchange(request).await.map_err(ConnectorError::from)?;
            HttpResponse::try_from(answer).map_err(|_| TransportError::NotHttp.into())
        })
    }
}

impl Connector {
    /// Sends a request on an idle connection or on a new one, and reads the whole answer. (The SDK reads it as a whole,
    /// too, and then the connection is free for the next request.)
    async fn exchange(&self, request: HttpRequest) -> Result<Response<SdkBody>, TransportError> {
        let request = request.try_into_http1x().map_err(|_| TransportError::Request)?;
        let capture = request.extensions().get::<CaptureSmithyConnection>().cloned();
        let origin = Origin::of(request.uri()).ok_or(TransportError::Request)?;
        let request = in_origin_form(request, &origin)?;

        let mut attempt = Attempt {
            pool: &self.client.0.pool,
            origin: &origin,
            began: SystemTime::now(),
            has_answer: false,
        };
        let (connection, answer) = self.send(&attempt, request, capture).await?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| TransportError::of(&error))?;
        attempt.has_answer = true;
        attempt.pool.put(&origin, connection, SystemTime::now());
        Ok(Response::from_parts(head, SdkBody::from(body.to_bytes())))
    }

    async fn send(
        &self,
        attempt: &Attempt<'_>,
        mut request: Request<SdkBody>,
        capture: Option<CaptureSmithyConnection>,
    ) -> Result<(Connection, Response<Incoming>), TransportError> {
        let mut idle = attempt.pool.take(attempt.origin, attempt.began).await;
        loop {
            let is_new = idle.is_none();
            let mut connection = match idle.take() {
                Some(connection) => connection,
                None => connect::connect(attempt.origin, &self.client.0.tls, self.connect).await?,
            };
            if let Some(capture) = &capture {
                report(capture, &connection);
            }
            let sent = connection.sender.try_send_request(request);
            match within(self.read, sent).await? {
                Ok(answer) => return Ok((connection, answer)),
                // The server closed the idle connection before hyper wrote the request to it.
                Err(mut refused) => match refused.take_message() {
                    Some(unsent) if !is_new => request = unsent,
                    _ => return Err(TransportError::of(refused.error())),
                },
            }
        }
    }
}

/// Gives the SDK a function that marks the connection, so that no further request uses it. The SDK calls the function after a
/// 5xx answer.
fn report(capture: &CaptureSmithyConnection, connection: &Connection) {
    let poisoned = connection.poisoned.clone();
    capture.set_connection_retriever(move || {
        let poisoned = poisoned.clone();
        let metadata = ConnectionMetadata::builder()
            .proxied(false)
            .poison_fn(move || poisoned.set());
        Some(metadata.build())
    });
}

/// An attempt in progress. It may end without an answer: by an error, or by a time limit that drops it. Then the connections that
/// were idle when it began may be dead for the same reason, and no further attempt uses them.
struct Attempt<'a> {
    pool: &'a Pool,
    origin: &'a Origin,
    began: SystemTime,
    has_answer: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.has_answer {
            self.pool.discard(self.origin, self.began);
        }
    }
}

/// The request as HTTP/1.1 sends it to a server: the path in the first line, and the host in a header.
fn in_origin_form(
    mut request: Request<SdkBody>,
    origin: &Origin,
) -> Result<Request<SdkBody>, TransportError> {
    if !request.headers().contains_key(HOST) {
        let host = HeaderValue::from_str(&origin.host_header()).map_err(|_| TransportError::Request)?;
        request.headers_mut().insert(HOST, host);
    }
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    Ok(request)
}

async fn within<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Result<T, TransportError> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, work)
            .await
            .map_err(|_| TransportError::ReadTimeout),
        None => Ok(work.await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suites_with_sha_256_come_first_and_no_suite_is_missing() {
        let (ours, all) = (
            provider().cipher_suites,
            rustls::crypto::ring::default_provider().cipher_suites,
        );
        assert_eq!(ours.len(), all.len());
        assert!(all.iter().all(|suite| ours.contains(suite)));
        let names: Vec<_> = ours.iter().map(|suite| suite.suite()).collect();
        assert_eq!(names[0], CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert!(
            names[1..3]
                .iter()
                .all(|name| format!("{name:?}").contains("AES_128_GCM_SHA256"))
        );
    }
}
