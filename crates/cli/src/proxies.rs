//! The proxy for an address, by the variables that other programs read too: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and
//! `NO_PROXY`, or the same names in lower case, which win.
//!
//! No proxy is used on the way to this machine, or to the credentials service of an AWS instance: the proxy would look
//! for them on its own machine.

use std::ffi::OsString;
use std::net::IpAddr;

use axum::http::Uri;
use ipnet::IpNet;

use crate::hosts;

/// A variable that holds no usable proxy. The text does not repeat the value, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {fault}; set it to an address like http://proxy.example:3128, or unset it")]
pub struct BadProxy {
    variable: &'static str,
    fault: &'static str,
}

/// A proxy, and the variable that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    pub variable: &'static str,
    pub uri: Uri,
}

impl Proxy {
    /// The host and port, without a user's name or password.
    pub fn host(&self) -> String {
        let host = self.uri.host().unwrap_or_default();
        match self.uri.port_u16() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }
}

/// The proxies of the environment. A variable that cannot be used is an error only for a request that would need it.
#[derive(Clone, Debug)]
pub struct Proxies {
    http: Result<Option<Proxy>, BadProxy>,
    https: Result<Option<Proxy>, BadProxy>,
    exceptions: Vec<Exception>,
}

/// An entry of `NO_PROXY`.
#[derive(Clone, Debug)]
enum Exception {
    Everything,
    Network(IpNet),
    Address(IpAddr, Option<u16>),
    /// A domain and its subdomains.
    Domain(String, Option<u16>),
}

impl Proxies {
    /// Reads the process's environment.
    pub fn from_env() -> Self {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// Reads the variables through `lookup`. An empty variable counts as unset.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| {
                let value = lookup(name)?.to_string_lossy().trim().to_owned();
                (!value.is_empty()).then_some((name, value))
            })
        };
        // The variable of a scheme wins over the variable of all schemes, also if it cannot be used.
        let proxy = |names| {
            let set = text(names).or_else(|| text(["all_proxy", "ALL_PROXY"]));
            set.map(|(name, value)| proxy(name, &value)).transpose()
        };
        let exceptions = text(["no_proxy", "NO_PROXY"])
            .map(|(_, list)| list)
            .unwrap_or_default();
        Self {
            http: proxy(["http_proxy", "HTTP_PROXY"]),
            https: proxy(["https_proxy", "HTTPS_PROXY"]),
            exceptions: exceptions
                .split([',', ' ', '\t', '\n', '\r'])
                .filter_map(Exception::parse)
                .collect(),
        }
    }

    /// Checks both variables, for a client whose addresses are not known before.
    ///
    /// # Errors
    /// [`BadProxy`] for a variable that is set and cannot be used.
    pub fn check(&self) -> Result<(), BadProxy> {
        self.http
            .as_ref()
            .and(self.https.as_ref())
            .map_err(Clone::clone)?;
        Ok(())
    }

    /// The proxy for addresses that begin with `http:`, and the proxy for `https:`, whatever `NO_PROXY` says.
    pub fn both(&self) -> [Option<&Uri>; 2] {
        [&self.http, &self.https].map(|proxy| {
            let proxy = proxy.as_ref().ok()?.as_ref()?;
            Some(&proxy.uri)
        })
    }

    /// The proxy for an address. `None` for a direct connection.
    ///
    /// # Errors
    /// [`BadProxy`] if the address needs a proxy, and the variable cannot be used.
    pub fn of(&self, target: &Uri) -> Result<Option<&Proxy>, BadProxy> {
        let Some(host) = target.host() else {
            return Ok(None);
        };
        let (proxy, default_port) = match target.scheme_str() {
            Some("http") => (&self.http, 80),
            _ => (&self.https, 443),
        };
        let port = target.port_u16().unwrap_or(default_port);
        let is_direct = hosts::is_loopback(host)
            || hosts::is_link_local(host)
            || self.exceptions.iter().any(|exception| exception.is(host, port));
        if is_direct {
            return Ok(None);
        }
        proxy.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    /// The same as [`of`](Self::of), for the client of HTTP that is not the SDK's. `None` also for a variable that cannot
    /// be used.
    pub fn ureq(&self, target: &Uri) -> Option<ureq::Proxy> {
        let proxy = self.of(target).ok()??;
        // The address was checked when it was read.
        ureq::Proxy::new(&proxy.uri.to_string()).ok()
    }
}

fn proxy(variable: &'static str, value: &str) -> Result<Proxy, BadProxy> {
    let bad = |fault| BadProxy { variable, fault };
    let text = if value.contains("://") {
        value.to_owned()
    } else {
        format!("http://{value}")
    };
    let uri: Uri = text.parse().map_err(|_| bad("is not an address"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(bad("does not name an HTTP proxy"));
    }
    let authority = uri
        .authority()
        .map(|authority| authority.as_str())
        .unwrap_or_default();
    let after_user = authority.rsplit('@').next().unwrap_or_default();
    let host = uri.host().unwrap_or_default();
    // `Uri` accepts any text as a port.
    let has_port = after_user.len() > host.len();
    if host.is_empty() || (has_port && uri.port_u16().is_none_or(|port| port == 0)) {
        return Err(bad("has no usable host or port"));
    }
    Ok(Proxy { variable, uri })
}

impl Exception {
    fn parse(entry: &str) -> Option<Self> {
        if entry.is_empty() {
            return None;
        }
        if entry == "*" {
            return Some(Self::Everything);
        }
        if let Ok(network) = entry.parse() {
            return Some(Self::Network(network));
        }
        if let Some(ip) = hosts::address(entry) {
            return Some(Self::Address(ip, None));
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (entry, None),
        };
        if let Some(ip) = hosts::address(name) {
            return Some(Self::Address(ip, port));
        }
        let name = name.strip_prefix('*').unwrap_or(name).trim_matches('.');
        (!name.is_empty()).then(|| Self::Domain(name.to_ascii_lowercase(), port))
    }

    fn is(&self, host: &str, port: u16) -> bool {
        let is_port = |wanted: &Option<u16>| wanted.is_none_or(|wanted| wanted == port);
        match self {
            Self::Everything => true,
            Self::Network(network) => hosts::address(host).is_some_and(|ip| network.contains(&ip)),
            Self::Address(ip, wanted) => hosts::address(host) == Some(*ip) && is_port(wanted),
            Self::Domain(name, wanted) => {
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                let rest = host.strip_suffix(name.as_str());
                is_port(wanted) && rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from_lookup(|name| {
            let (_, value) = variables.iter().find(|(key, _)| *key == name)?;
            Some(value.into())
        })
    }

    fn proxy_of(variables: &[(&str, &str)], target: &str) -> Option<String> {
        let proxies = proxies(variables);
        let proxy = proxies.of(&target.parse().expect("an address"));
        let proxy = proxy.expect("a usable proxy")?;
        Some(proxy.uri.host().unwrap_or_default().to_owned())
    }

    #[test]
    fn each_scheme_has_its_proxy_and_lower_case_wins() {
        let both = [
            ("HTTP_PROXY", "h:1"),
            ("HTTPS_PROXY", "http://s:2"),
            ("ALL_PROXY", "a"),
        ];
        assert_eq!(proxy_of(&both, "http://x.example").as_deref(), Some("h"));
        assert_eq!(proxy_of(&both, "https://x.example").as_deref(), Some("s"));
        let all = [("ALL_PROXY", "http://u:p@a:3"), ("HTTPS_PROXY", " ")];
        assert_eq!(proxy_of(&all, "https://x.example").as_deref(), Some("a"));
        assert_eq!(proxy_of(&[("HTTP_PROXY", "h")], "https://x.example"), None);
        let cases = [("HTTPS_PROXY", "upper"), ("https_proxy", "lower")];
        assert_eq!(proxy_of(&cases, "https://x.example").as_deref(), Some("lower"));
    }

    #[test]
    fn no_proxy_takes_ports_networks_blanks_dots_and_a_star() {
        let direct =
            |list: &str, target: &str| proxy_of(&[("ALL_PROXY", "p"), ("NO_PROXY", list)], target).is_none();
        for (list, target) in [
            ("*", "https://x.example"),
            ("a.example, x.example", "https://x.example"),
            ("a.example x.example", "https://x.example"),
            ("x.example", "https://deep.X.Example"),
            (".x.example", "https://x.example."),
            ("*.x.example", "https://deep.x.example"),
            ("x.example:8443", "https://x.example:8443"),
            ("x.example:443", "https://x.example"),
            ("10.0.0.0/8", "https://10.20.30.40:1"),
            ("192.168.1.7", "http://192.168.1.7"),
            ("192.168.1.7:80", "http://192.168.1.7"),
            ("2001:db8::/32", "https://[2001:db8::1]"),
            ("[2001:db8::1]:443", "https://[2001:db8::1]"),
            ("2001:db8::1", "https://[2001:db8::1]"),
        ] {
            assert!(direct(list, target), "{list:?} {target}");
        }
        for (list, target) in [
            ("x.example", "https://notx.example"),
            ("x.example:8443", "https://x.example"),
            ("10.0.0.0/8", "https://11.0.0.1"),
            ("example", "https://x.example.org"),
            (", ,", "https://x.example"),
            ("x.example:port", "https://x.example"),
        ] {
            assert!(!direct(list, target), "{list:?} {target}");
        }
    }

    #[test]
    fn no_proxy_is_used_to_this_machine_or_to_an_instances_credentials() {
        for target in [
            "http://localhost:8080",
            "http://LOCALHOST:8080",
            "http://localhost.:8080",
            "http://127.1:8080",
            "http://[::1]:8080",
            "http://[0:0:0:0:0:0:0:1]:8080",
            "http://[::ffff:127.0.0.1]:80",
            "https://app.localhost",
            "http://169.254.169.254/latest",
            "http://[fd00:ec2::254]",
        ] {
            assert_eq!(proxy_of(&[("ALL_PROXY", "p")], target), None, "{target}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error_without_its_value() {
        for value in [
            "socks5://u:secret@p",
            "http://p:8O80",
            "http://p:0",
            "http://",
            "a b",
        ] {
            let proxies = proxies(&[("HTTPS_PROXY", value), ("NO_PROXY", "direct.example")]);
            let of = |target: &str| proxies.of(&target.parse().expect("an address"));
            let error = of("https://x.example").expect_err(value).to_string();
            assert!(
                error.starts_with("HTTPS_PROXY ") && !error.contains("secret"),
                "{error}"
            );
            assert!(proxies.check().is_err(), "{value}");
            // A request that needs no proxy does not fail because of one.
            for target in ["http://x.example", "https://direct.example", "https://127.0.0.1"] {
                assert_eq!(of(target), Ok(None), "{target}");
            }
        }
        // The variable of all schemes does not hide the fault.
        let proxies = proxies(&[("HTTP_PROXY", "a b"), ("ALL_PROXY", "http://a:3")]);
        assert!(
            proxies
                .of(&"http://x.example".parse().expect("an address"))
                .is_err()
        );
    }
}
