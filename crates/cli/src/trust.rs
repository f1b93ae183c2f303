//! The roots of trust: those in `SSL_CERT_FILE`, or else the system's, as for other programs. A proxy that ends TLS has its
//! root there.

use rustls_pki_types::CertificateDer;
use sonotheia_webhook::config::{Faults, SdkSettings};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The certificates of the roots.
pub fn roots(settings: &SdkSettings) -> Vec<CertificateDer<'static>> {
    if settings.roots.is_empty() {
        usable(rustls_native_certs::load_native_certs().certs)
    } else {
        usable(settings.roots.clone())
    }
}

/// The certificates that rustls can read. Bundles also hold old ones, on which the SDK's client would panic.
fn usable(certificates: Vec<CertificateDer<'static>>) -> Vec<CertificateDer<'static>> {
    let mut store = rustls::RootCertStore::empty();
    certificates
        .into_iter()
        .filter(|certificate| store.add(certificate.clone()).is_ok())
        .collect()
}

/// Checks `SSL_CERT_FILE` alone, for a command that does not call AWS.
///
/// # Errors
/// [`Faults`] if the file cannot be used.
pub fn file() -> Result<SdkSettings, Faults> {
    SdkSettings::from_lookup(|name| std::env::var_os(name).filter(|_| name == "SSL_CERT_FILE"))
}

/// The same roots for the client of HTTP that is not the SDK's. Without any, that client uses Mozilla's.
pub fn ureq() -> TlsConfig {
    let roots = roots(&file().unwrap_or_default());
    let mut config = TlsConfig::builder();
    if !roots.is_empty() {
        let certificates = roots.iter().map(|root| Certificate::from_der(root).to_owned());
        config = config.root_certs(RootCerts::from(certificates));
    }
    config.build()
}
