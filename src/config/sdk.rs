//! The SDK's own variables ("Settings reference" of the AWS SDKs and Tools Reference Guide).
//!
//! The SDK reads them itself. It panics on some values and ignores others with a warning, so the receiver checks them
//! first, and gives the SDK only values that it can use.

use std::ffi::OsString;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::variables::{Faults, Variables};

const REGION: &str = "AWS_REGION";
const DEFAULT_REGION: &str = "AWS_DEFAULT_REGION";
const ENDPOINT: &str = "AWS_ENDPOINT_URL";
const DYNAMODB: &str = "AWS_ENDPOINT_URL_DYNAMODB";
const SECRETS_MANAGER: &str = "AWS_ENDPOINT_URL_SECRETS_MANAGER";
const BOOLEANS: [&str; 2] = ["true", "false"];

/// The settings that the receiver takes from the SDK's variables.
#[derive(Clone, Debug, Default)]
pub struct SdkSettings {
    /// `AWS_REGION`, else `AWS_DEFAULT_REGION`. `None` if neither is set: the SDK then asks its other sources.
    pub region: Option<String>,
    /// The endpoints, if one of their variables is empty. The SDK does not treat an empty variable as unset. `None` if the SDK
    /// ignores all of these variables.
    pub endpoints: Option<Endpoints>,
    /// The certificates in the file that `SSL_CERT_FILE` names.
    pub roots: Vec<CertificateDer<'static>>,
}

/// The endpoints of the services. `None` is AWS's own endpoint.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// The endpoint of all other services: `AWS_ENDPOINT_URL`.
    pub all: Option<String>,
    /// The endpoint of DynamoDB.
    pub dynamodb: Option<String>,
    /// The endpoint of Secrets Manager.
    pub secrets_manager: Option<String>,
}

impl SdkSettings {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// [`Faults`]: each variable with a value that the SDK cannot use.
    pub fn from_env() -> Result<Self, Faults> {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// Reads the variables through `lookup`.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, Faults> {
        let mut variables = Variables::new(lookup);
        let endpoints = Endpoints {
            all: endpoint(&mut variables, ENDPOINT),
            dynamodb: endpoint(&mut variables, DYNAMODB),
            secrets_manager: endpoint(&mut variables, SECRETS_MANAGER),
        };
        let has_empty = [ENDPOINT, DYNAMODB, SECRETS_MANAGER]
            .iter()
            .any(|name| variables.is_empty(name));
        let [region, default_region] = [REGION, DEFAULT_REGION].map(|name| region(&mut variables, name));
        let roots = roots(&mut variables);
        if variables.text("AWS_MAX_ATTEMPTS").is_some() {
            variables.number("AWS_MAX_ATTEMPTS", 1..=u32::MAX);
        }
        variables.one_of("AWS_RETRY_MODE", &["standard", "adaptive", "legacy"]);
        variables.one_of("AWS_USE_FIPS_ENDPOINT", &BOOLEANS);
        variables.one_of("AWS_USE_DUALSTACK_ENDPOINT", &BOOLEANS);
        let ignores_endpoints =
            variables.one_of("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", &BOOLEANS) == Some("true");
        variables.one_of(
            "AWS_ACCOUNT_ID_ENDPOINT_MODE",
            &["preferred", "disabled", "required"],
        );
        // A header cannot hold these characters.
        for name in [
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_EXECUTION_ENV",
        ] {
            variables.name(name);
        }
        variables.finish(Self {
            region: region.or(default_region),
            endpoints: (has_empty && !ignores_endpoints).then_some(endpoints),
            roots,
        })
    }
}

fn region<L: Fn(&str) -> Option<OsString>>(
    variables: &mut Variables<L>,
    name: &'static str,
) -> Option<String> {
    let region = variables.name(name)?;
    if region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Some(region);
    }
    variables.fault(name, "is not the name of a region, such as eu-central-1");
    None
}

/// Reads an endpoint: `http://` or `https://`, a host, an optional port, an optional path.
fn endpoint<L: Fn(&str) -> Option<OsString>>(
    variables: &mut Variables<L>,
    name: &'static str,
) -> Option<String> {
    const FAULT: &str = "is not an endpoint, such as https://host or http://127.0.0.1:8000/path";
    let url = variables.name(name)?;
    let uri: Option<axum::http::Uri> = url.parse().ok();
    let is_endpoint = uri.is_some_and(|uri| {
        let authority = uri
            .authority()
            .map(|authority| authority.as_str())
            .unwrap_or_default();
        let has_bad_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.ends_with(']') && uri.port_u16().is_none());
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && !authority.contains('@')
            && !has_bad_port
            && uri.query().is_none()
            && !url.contains('#')
    });
    if is_endpoint {
        return Some(url);
    }
    variables.fault(name, FAULT);
    None
}

/// Reads the file that `SSL_CERT_FILE` names. Bundles also hold certificates that rustls cannot read, which is no fault.
fn roots<L: Fn(&str) -> Option<OsString>>(variables: &mut Variables<L>) -> Vec<CertificateDer<'static>> {
    const NAME: &str = "SSL_CERT_FILE";
    let Some(path) = variables.path(NAME) else {
        return Vec::new();
    };
    let fault = match std::fs::read(&path) {
        Err(error) => format!(
            "names {}, which cannot be read ({})",
            path.display(),
            error.kind()
        ),
        Ok(pem) => match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
            Ok(certificates) if crate::aws::can_trust(&certificates) => return certificates,
            _ => format!(
                "names {}, which is not a file of PEM certificates",
                path.display()
            ),
        },
    };
    variables.fault(NAME, fault);
    Vec::new()
}
