//! The requests that `serve` answers. Reads and the inspector are for programs of this machine.
//!
//! A tunnel gives `serve` a public name and passes the requests for it on, and only `/webhook` and `/health` are for them.
//! The page of another site can also let its own name point to 127.0.0.1 and then ask for the records (DNS rebinding). The
//! Host of both kinds of request is not a loopback name. With `--host 0.0.0.0`, another machine can connect and claim any
//! Host, so the address of the client counts, too.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use clap::ValueEnum;
use sonotheia_webhook::error;

use crate::args::random_hex;
use crate::hosts;

/// A route of the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Route {
    /// `POST /webhook`
    Webhook,
    /// `GET /health`
    Health,
    /// `GET /results` and `GET /results/{session_id}`
    Results,
    /// `GET /events/{event_id}`
    Events,
}

impl Route {
    /// The route of a path as the router matches it: as it is spelled, with one slash at the end ignored.
    fn of(path: &str) -> Option<Self> {
        match path.strip_suffix('/').unwrap_or(path) {
            "/webhook" => Some(Self::Webhook),
            "/health" => Some(Self::Health),
            "/results" => Some(Self::Results),
            path if path.starts_with("/results/") => Some(Self::Results),
            path if path.starts_with("/events/") => Some(Self::Events),
            _ => None,
        }
    }

    /// Returns true if the route is for everybody.
    fn is_public(self) -> bool {
        matches!(self, Self::Webhook | Self::Health)
    }

    /// The route's name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Health => "health",
            Self::Results => "results",
            Self::Events => "events",
        }
    }
}

/// The rule by which `serve` refuses requests.
#[derive(Debug)]
pub struct Guard {
    /// The routes that answer. `None`: all of them, and the inspector.
    pub routes: Option<Vec<Route>>,
    /// True if reads answer requests with any Host, from any machine.
    pub any_host: bool,
}

/// The reason why a request is refused.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// The route is off.
    Off,
    /// The route is for this machine only.
    Foreign,
}

impl Guard {
    /// Puts the guard around everything that `serve` answers.
    pub fn around(self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(Arc::new(self), check))
    }

    fn refusal(&self, target: &Uri, headers: &HeaderMap, client: Option<SocketAddr>) -> Option<Refusal> {
        let route = Route::of(target.path());
        if let Some(on) = &self.routes
            && !route.is_some_and(|route| on.contains(&route))
        {
            return Some(Refusal::Off);
        }
        let is_allowed = route.is_some_and(Route::is_public)
            || self.any_host
            || (client.is_some_and(is_of_this_machine) && is_local(target, headers));
        (!is_allowed).then_some(Refusal::Foreign)
    }
}

async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let client = request.extensions().get();
    let client = client.map(|ConnectInfo(address): &ConnectInfo<SocketAddr>| *address);
    match guard.refusal(request.uri(), request.headers(), client) {
        None => next.run(request).await,
        Some(refusal) => refusal.into_response(),
    }
}

impl IntoResponse for Refusal {
    /// Answers in the shape of the receiver's errors.
    ///
    /// A foreign request gets 403 and not 404. `/health` is open, so there is nothing to hide, and the reader is mostly
    /// the person who has opened the tunnel.
    fn into_response(self) -> Response {
        let (status, error, code, message) = match self {
            Self::Off => (
                StatusCode::NOT_FOUND,
                "Not found",
                "not_found",
                "there is no such path",
            ),
            Self::Foreign => (
                StatusCode::FORBIDDEN,
                "Forbidden",
                "forbidden",
                "only /webhook and /health answer requests from elsewhere; for the reads and the inspector, use the address \
                 http://127.0.0.1 or http://localhost with the port, on the machine that runs `serve` and without a tunnel or \
                 a proxy",
            ),
        };
        // Without random bytes the answer has an empty id.
        let id = random_hex::<16>().unwrap_or_default();
        let headers = [
            (header::CONTENT_TYPE, "application/json"),
            (header::CACHE_CONTROL, "no-store"),
            (header::HeaderName::from_static("x-request-id"), id.as_str()),
        ];
        (status, headers, error::body(error, code, message, &id)).into_response()
    }
}

/// The headers that tunnels and proxies add. Some of them set the Host to the address that they forward to
/// (`ngrok http --host-header=rewrite`, nginx's `proxy_pass`), and only these headers then show where a request comes from.
const ADDED_BY_PROXIES: [&str; 7] = [
    "cf-connecting-ip",
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

/// Returns true if the client connected from a loopback address.
fn is_of_this_machine(client: SocketAddr) -> bool {
    client.ip().to_canonical().is_loopback()
}

/// Returns true if the request is for a loopback name, and no proxy has passed it on.
pub fn is_local(target: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    // A request in the absolute form (RFC 9112, section 3.2.2) has a second host.
    let target = target.authority().map(|authority| authority.as_str());
    host.to_str().is_ok_and(is_loopback)
        && target.is_none_or(is_loopback)
        && !ADDED_BY_PROXIES.iter().any(|name| headers.contains_key(*name))
}

/// Returns true if `host`, perhaps with a port, is `localhost`, a name below it, or a loopback address. No DNS server can
/// change the address of such a host: programs take even the odd spellings of an address (`127.1`) for an address.
fn is_loopback(host: &str) -> bool {
    let is_port = |rest: &str| {
        let port = rest.strip_prefix(':');
        rest.is_empty() || port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if let Some((ip, port)) = host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        let ip = ip.parse().map(|ip: Ipv6Addr| ip.to_canonical());
        return ip.is_ok_and(|ip| ip.is_loopback()) && is_port(port);
    }
    let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let mut labels = name.split('.');
    let is_name = labels.all(|label| !label.is_empty() && label.bytes().all(is_of_name));
    let is_local = name == "localhost"
        || name.ends_with(".localhost")
        || hosts::address(&name).is_some_and(|ip| ip.is_loopback());
    is_name && is_local && is_port(port)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_loopback_names_are_local() {
        for host in [
            "localhost",
            "LocalHost:8080",
            "localhost.",
            "localhost.:80",
            "app.localhost:8080",
            "a-b.c_d.LOCALHOST",
            "127.0.0.1",
            "127.0.0.1:1",
            "127.255.3.4:65535",
            "127.0.0.1.",
            "[::1]",
            "[::1]:8080",
            "[0:0:0:0:0:0:0:1]:8080",
            "[::ffff:127.0.0.1]:8080",
            "127.1:8080",
            "0x7f000001",
            "2130706433",
            "localhost:",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            ":8080",
            ".",
            ".localhost",
            "a..localhost",
            "evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "127.0.0.1.nip.io:80",
            "128.0.0.1",
            "0.0.0.0",
            "192.168.0.2",
            "::1",
            "[::1",
            "[::2]",
            "[::]",
            "[::ffff:192.168.0.2]",
            "[::1%lo]",
            "127.0.0.1%25lo",
            "0",
            "1.127",
            "127.1.2.3.4",
            "[::1].evil.example",
            "[::1]evil",
            "evil.example:80.localhost",
            "user@localhost",
            "evil.example/.localhost",
            "evil.example#.localhost",
            "evil.example,localhost",
            "localhost localhost",
            "localhost:80:80",
            "localhost:8O",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    fn refusal(guard: &Guard, target: &str, headers: &[(&'static str, &'static str)]) -> Option<Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        from(guard, target, &map, "127.0.0.1:50000")
    }

    fn from(guard: &Guard, target: &str, headers: &HeaderMap, client: &str) -> Option<Refusal> {
        let client = client.parse().expect("an address");
        guard.refusal(&target.parse().expect("a target"), headers, Some(client))
    }

    const EMBEDDED: Guard = Guard {
        routes: None,
        any_host: false,
    };

    #[test]
    fn a_foreign_request_reaches_the_webhook_and_the_health_check_only() {
        let host = [("host", "abc.ngrok.app")];
        for path in [
            "/webhook",
            "/webhook/",
            "/health",
            "/health/",
            "/webhook?a=/results",
        ] {
            assert_eq!(refusal(&EMBEDDED, path, &host), None, "{path}");
            assert_eq!(refusal(&EMBEDDED, path, &[]), None, "{path}");
        }
        for path in [
            "/",
            "/results",
            "/results/",
            "/results/s",
            "/events/e",
            "/inspector/deliveries",
            "/nothing",
            "/webhook//",
            "//webhook",
            "/Webhook",
            "/%77ebhook",
            "/webhook/../results",
            "/health/results",
            "*",
        ] {
            assert_eq!(refusal(&EMBEDDED, path, &host), Some(Refusal::Foreign), "{path}");
            let local = [("host", "localhost:8080")];
            assert_eq!(refusal(&EMBEDDED, path, &local), None, "{path}");
        }
    }

    #[test]
    fn one_host_header_decides_and_nothing_opens_what_it_closes() {
        let foreign = |target: &str, headers: &[_]| refusal(&EMBEDDED, target, headers).is_some();
        let local = ("host", "127.0.0.1:8080");
        assert!(!foreign("/results", &[local]));
        assert!(foreign("/results", &[]));
        assert!(foreign("/results", &[local, local]));
        assert!(foreign("/results", &[local, ("host", "evil.example")]));
        assert!(foreign("/results", &[("host", "")]));
        assert!(!foreign("http://localhost/results", &[local]));
        assert!(foreign("http://evil.example/results", &[local]));
        assert!(foreign("http://localhost/results", &[("host", "evil.example")]));
        for name in ["x-forwarded-host", "x-original-host", "x-host", "forwarded"] {
            let claim = (name, "localhost");
            assert!(
                foreign("/results", &[("host", "evil.example"), claim]),
                "{name} opens"
            );
        }
        for name in ADDED_BY_PROXIES {
            assert!(foreign("/results", &[local, (name, "evil.example")]), "{name}");
        }
    }

    #[test]
    fn another_machine_that_claims_a_loopback_host_reaches_the_webhook_and_the_health_check_only() {
        let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("localhost:8080"))]);
        for client in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(from(&EMBEDDED, "/results", &headers, client), None, "{client}");
        }
        for client in [
            "192.0.2.7:1",
            "172.17.0.1:1",
            "[fe80::1]:1",
            "[::ffff:192.0.2.7]:1",
            "0.0.0.0:1",
        ] {
            let refusal = from(&EMBEDDED, "/results", &headers, client);
            assert_eq!(refusal, Some(Refusal::Foreign), "{client}");
            assert_eq!(from(&EMBEDDED, "/webhook", &headers, client), None, "{client}");
        }
        let target = "/results".parse().expect("a target");
        assert_eq!(
            EMBEDDED.refusal(&target, &headers, None),
            Some(Refusal::Foreign),
            "unknown"
        );
    }

    #[test]
    fn a_route_that_is_off_does_not_exist() {
        let guard = Guard {
            routes: Some(vec![Route::Webhook, Route::Events]),
            any_host: true,
        };
        let host = [("host", "receiver.example")];
        for path in ["/webhook", "/events/e"] {
            assert_eq!(refusal(&guard, path, &host), None, "{path}");
        }
        for path in ["/", "/health", "/results", "/results/s", "/events"] {
            assert_eq!(refusal(&guard, path, &host), Some(Refusal::Off), "{path}");
        }
    }
}
