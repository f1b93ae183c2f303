//! HTTP/1.1 over TLS for the SDK's clients: hyper and rustls, with what AWS's endpoints need of them.
//!
//! The SDK's own client does the same. It also brings HTTP/2, proxies and the system's roots, which cost
//! every cold start and a tenth of the binary (`docs/performance.md`).

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

/// How long a TCP connection may take. What comes after it counts towards the attempt's time.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(700);

/// A pool of connections, shared by its clones.
#[derive(Clone, Debug)]
pub struct HttpsClient(Client<HttpsConnector<TcpConnector>, SdkBody>);

impl HttpsClient {
    /// A client that trusts these roots. Plain HTTP is spoken where an endpoint's URL says so.
    pub fn new(roots: RootCertStore) -> Self {
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the suites of TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        // A frozen environment wakes up with connections that the other side closed long ago.
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(https);
        Self(client)
    }
}

impl HttpClient for HttpsClient {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for HttpsClient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = request
                .try_into_http1x()
                .map_err(|error| ConnectorError::user(error.into()))?;
            let response = client.request(request).await.map_err(connector_error)?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// What the SDK's retries go by: all that the network does is worth another try.
fn connector_error(error: hyper_util::client::legacy::Error) -> ConnectorError {
    let of_hyper = error
        .source()
        .and_then(|source| source.downcast_ref::<hyper::Error>());
    if of_hyper.is_some_and(hyper::Error::is_user) {
        ConnectorError::user(error.into())
    } else {
        ConnectorError::io(error.into())
    }
}
