//! The requests that the page answers: those of a browser on this machine, and for its buttons only those of the page.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Inspector, page};

/// The headers that tunnels and proxies add. Some of them set the Host to the address that they forward to, so that only these
/// headers show where a request comes from.
const ADDED_BY_PROXIES: [&str; 7] = [
    "cf-connecting-ip",
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

/// Refuses the requests that other sites can cause.
pub async fn guard(State(inspector): State<Arc<Inspector>>, request: Request, next: Next) -> Response {
    let refusal = refusal(
        inspector.any_host,
        request.method(),
        request.uri().path(),
        request.headers(),
    );
    let mut response = match refusal {
        Some(reason) => (StatusCode::FORBIDDEN, format!("{reason}\n")).into_response(),
        None => next.run(request).await,
    };
    page::protect(response.headers_mut());
    response
}

/// The reason why the page does not answer a request. Another site can let its own name lead to this machine (DNS
/// rebinding); then the Host is not a loopback name. And a request that another site's page makes names that site.
fn refusal(any_host: bool, method: &Method, path: &str, headers: &HeaderMap) -> Option<&'static str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_page = path == "/" && *method != Method::POST || path.starts_with("/inspector/");
    if !is_page {
        return None;
    }
    let host = text("host").unwrap_or_default();
    let is_proxied = ADDED_BY_PROXIES.iter().any(|name| headers.contains_key(*name));
    let is_one_host = headers.get_all(header::HOST).iter().count() == 1;
    let is_local = is_loopback(host) && is_one_host && !is_proxied;
    if !any_host && !is_local {
        return Some("The inspector is for this machine: open it as http://127.0.0.1 or http://localhost.");
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let is_own = text("origin").is_none_or(|origin| origin == format!("http://{host}"))
        && text("sec-fetch-site").is_none_or(|site| site == "same-origin");
    let is_json = text("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    (!is_own || !is_json).then_some("Only the inspector's own page may do this.")
}

fn is_loopback(host: &str) -> bool {
    let uri = format!("http://{host}").parse();
    uri.is_ok_and(|uri| crate::client::is_loopback(&uri))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn is_answered(any_host: bool, method: Method, headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        refusal(any_host, &method, "/inspector/send", &map).is_none()
    }

    #[test]
    fn the_page_answers_loopback_names_unless_it_has_another_address() {
        for host in ["127.0.0.1:8080", "localhost", "[::1]:80", "127.0.0.2"] {
            assert!(is_answered(false, Method::GET, &[("host", host)]), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example:80",
            "localhost.evil.example",
            "192.168.0.2",
            "",
        ] {
            assert!(!is_answered(false, Method::GET, &[("host", host)]), "{host}");
            assert!(is_answered(true, Method::GET, &[("host", host)]), "{host}");
        }
        assert!(!is_answered(false, Method::GET, &[]));
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert!(!is_answered(false, Method::GET, &two));
        for name in ADDED_BY_PROXIES {
            let proxied = [("host", "localhost"), (name, "a")];
            assert!(!is_answered(false, Method::GET, &proxied), "{name}");
        }
    }

    #[test]
    fn only_the_page_itself_may_press_its_buttons() {
        let host = ("host", "127.0.0.1:8080");
        let json = ("content-type", "application/json");
        let post = |headers: &[_]| is_answered(false, Method::POST, headers);
        assert!(post(&[host, json]));
        let own = ("origin", "http://127.0.0.1:8080");
        assert!(post(&[host, json, own, ("sec-fetch-site", "same-origin")]));
        assert!(!post(&[host]));
        assert!(!post(&[host, ("content-type", "text/plain")]));
        assert!(!post(&[host, json, ("origin", "http://evil.example")]));
        assert!(!post(&[host, json, ("origin", "http://127.0.0.1:9")]));
        assert!(!post(&[host, json, ("origin", "null")]));
        assert!(!post(&[host, json, ("sec-fetch-site", "cross-site")]));
    }
}
