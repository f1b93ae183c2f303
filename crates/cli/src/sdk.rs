//! The SDK's settings for the command line: the usual credentials, proxies, and the system's trusted roots.
//!
//! The function has a small transport of its own. On a laptop people expect more: proxies, and credentials from SSO, an
//! instance or a container.

use std::sync::Arc;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_types::os_shim_internal::{Env, Fs};
use axum::http::Uri;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sonotheia_webhook::aws;
use sonotheia_webhook::aws::transport::error::TransportError;
use sonotheia_webhook::config::SdkSettings;

use crate::proxies::Proxies;
use crate::remote::RemoteError;
use crate::trust;

/// The roots that AWS's endpoints chain to, as in the function.
const AMAZON_ROOTS: &[u8] = include_bytes!("../../../src/aws/amazon-roots.pem");

/// The SDK's settings from the environment and the profile, for `region` if it is given.
///
/// # Errors
/// [`RemoteError::Variables`], [`RemoteError::NoProfile`], [`RemoteError::NoRegion`] and [`RemoteError::Proxy`].
pub async fn config(region: Option<&str>) -> Result<SdkConfig, RemoteError> {
    let settings = SdkSettings::from_env()?;
    Proxies::from_env().check()?;
    check_profile().await?;
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client(&settings)?)
        // Each client sets its own limits, so that a slip in AWS_RETRY_MODE or AWS_MAX_ATTEMPTS does not matter.
        .retry_config(RetryConfig::standard())
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    let sdk = aws::with_endpoints(loader.load().await, &settings);
    // The SDK takes an empty variable for a region.
    if sdk.region().is_none_or(|region| region.as_ref().is_empty()) {
        return Err(RemoteError::NoRegion);
    }
    Ok(sdk)
}

/// Finds a slip in AWS_PROFILE, which the SDK would report as missing credentials or a missing region.
async fn check_profile() -> Result<(), RemoteError> {
    let Some(name) = std::env::var("AWS_PROFILE").ok().filter(|name| !name.is_empty()) else {
        return Ok(());
    };
    let profiles = aws_config::profile::load(&Fs::real(), &Env::real(), &Default::default(), None).await;
    match profiles {
        Ok(profiles) if profiles.get_profile(&name).is_some() => Ok(()),
        Ok(profiles) => {
            let mut known: Vec<_> = profiles.profiles().map(str::to_owned).collect();
            known.sort();
            Err(RemoteError::NoProfile { name, known })
        }
        Err(_) => Err(RemoteError::Profiles),
    }
}

/// An HTTP client for the SDK: it uses the environment's proxies, and reports a refused connection at once. A proxy's
/// variable that cannot be used does not count; [`Proxies::check`] and [`Proxies::of`] report it.
///
/// # Errors
/// [`RemoteError::Client`].
pub fn http_client(settings: &SdkSettings) -> Result<SharedHttpClient, RemoteError> {
    let proxies = Proxies::from_env();
    let trusted = TrustStore::empty().with_pem_certificate(roots(settings));
    let tls = TlsContext::builder().with_trust_store(trusted).build();
    let tls = tls.map_err(|error| RemoteError::Client(error.into()))?;
    let [http, https] = proxies.both().map(|proxy| {
        // Both were read as addresses with a scheme and a host.
        let proxy = proxy.and_then(|proxy| ProxyConfig::all(proxy.clone()).ok());
        proxy.map(|proxy| client(&tls, Some(proxy)))
    });
    Ok(SharedHttpClient::new(Client {
        direct: client(&tls, None),
        http,
        https,
        proxies: Arc::new(proxies),
    }))
}

fn client(tls: &TlsContext, proxy: Option<ProxyConfig>) -> SharedHttpClient {
    let tls = tls.clone();
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(tls.clone());
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        builder.set_proxy_config(proxy.clone());
        builder.build_with_resolver(Resolver)
    })
}

/// Three clients of the SDK: one for direct connections, and one for each proxy.
#[derive(Debug)]
struct Client {
    direct: SharedHttpClient,
    http: Option<SharedHttpClient>,
    https: Option<SharedHttpClient>,
    proxies: Arc<Proxies>,
}

#[derive(Debug)]
struct Choice {
    direct: SharedHttpConnector,
    http: Option<SharedHttpConnector>,
    https: Option<SharedHttpConnector>,
    proxies: Arc<Proxies>,
}

impl HttpClient for Client {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let of = |client: &SharedHttpClient| client.http_connector(settings, components);
        SharedHttpConnector::new(Choice {
            direct: of(&self.direct),
            http: self.http.as_ref().map(of),
            https: self.https.as_ref().map(of),
            proxies: self.proxies.clone(),
        })
    }
}

impl HttpConnector for Choice {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target: Option<Uri> = request.uri().parse().ok();
        let is_proxied = target
            .as_ref()
            .is_some_and(|target| self.proxies.of(target).is_ok_and(|proxy| proxy.is_some()));
        let is_plain = target.is_some_and(|target| target.scheme_str() == Some("http"));
        let proxied = if is_plain { &self.http } else { &self.https };
        let connector = proxied.as_ref().filter(|_| is_proxied).unwrap_or(&self.direct);
        let answer = connector.call(request);
        HttpConnectorFuture::new(async move { answer.await.map_err(sort) })
    }
}

/// Sorts an error for the SDK's retries. The SDK would repeat a call for 30 s although nothing listens at the port, the
/// name has no address, or the certificate is not trusted.
fn sort(error: ConnectorError) -> ConnectorError {
    match fault(&error) {
        Some(TransportError::Connect(kind)) if kind != std::io::ErrorKind::ConnectionRefused => {
            ConnectorError::io(TransportError::Connect(kind).into())
        }
        Some(fault) => ConnectorError::other(fault.into(), None),
        // The proxy refused to connect.
        None if is_connect(&error) => ConnectorError::other(error.into(), None),
        None => error,
    }
}

/// Returns true if there is no connection to the host.
fn is_connect(error: &(dyn std::error::Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut clients = causes.filter_map(|cause| cause.downcast_ref::<hyper_util::client::legacy::Error>());
    clients.any(hyper_util::client::legacy::Error::is_connect)
}

/// The fault of a connection, if a cause of the error has a known type.
fn fault(error: &(dyn std::error::Error + 'static)) -> Option<TransportError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(fault) = error.downcast_ref::<TransportError>() {
            return Some(*fault);
        }
        let io = error.downcast_ref::<std::io::Error>();
        if let Some(io) = io {
            match TransportError::of_tls(io) {
                tls @ TransportError::Tls(_) => return Some(tls),
                _ if io.get_ref().is_none() => return Some(TransportError::Connect(io.kind())),
                _ => {}
            }
        }
        next = match io.and_then(|io| io.get_ref()) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// The system's resolver, with an error of a type that [`fault`] knows.
#[derive(Clone, Debug)]
struct Resolver;

impl ResolveDns for Resolver {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let found = tokio::net::lookup_host((name, 0)).await;
            let addresses: Vec<_> = found.into_iter().flatten().map(|address| address.ip()).collect();
            if addresses.is_empty() {
                return Err(ResolveDnsError::new(TransportError::Resolve));
            }
            Ok(addresses)
        })
    }
}

/// Amazon's roots and the command line's, as PEM.
fn roots(settings: &SdkSettings) -> Vec<u8> {
    let mut pem = AMAZON_ROOTS.to_vec();
    for certificate in trust::roots(settings) {
        let text = STANDARD.encode(&certificate);
        pem.extend(format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n").bytes());
    }
    pem
}
