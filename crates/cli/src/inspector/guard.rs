//! The requests that the page answers: those of a browser on this machine, and for its buttons only those of the page.

use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::page;
use crate::local::guard::is_local;

/// Refuses the requests that other sites can cause.
pub async fn guard(request: Request, next: Next) -> Response {
    let refusal = refusal(request.method(), request.uri(), request.headers());
    let mut response = match refusal {
        Some(reason) => (StatusCode::FORBIDDEN, format!("{reason}\n")).into_response(),
        None => next.run(request).await,
    };
    page::protect(response.headers_mut());
    response
}

/// The reason why the page does not answer a request. Another site can let its own name lead to this machine (DNS
/// rebinding); then the Host is not a loopback name. And a request that another site's page makes names that site.
fn refusal(method: &Method, target: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let path = target.path();
    let is_page = path == "/" && *method != Method::POST || path.starts_with("/inspector/");
    if !is_page {
        return None;
    }
    if !is_local(target, headers) {
        return Some("The inspector is for this machine: open it as http://127.0.0.1 or http://localhost.");
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let host = text("host").unwrap_or_default();
    let is_own = text("origin").is_none_or(|origin| origin == format!("http://{host}"))
        && text("sec-fetch-site").is_none_or(|site| site == "same-origin");
    let is_json = text("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    (!is_own || !is_json).then_some("Only the inspector's own page may do this.")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn is_answered(method: Method, headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        refusal(&method, &Uri::from_static("/inspector/send"), &map).is_none()
    }

    #[test]
    fn the_page_answers_loopback_names_only() {
        for host in ["127.0.0.1:8080", "localhost", "[::1]:80", "127.0.0.2"] {
            assert!(is_answered(Method::GET, &[("host", host)]), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example:80",
            "localhost.evil.example",
            "192.168.0.2",
            "",
        ] {
            assert!(!is_answered(Method::GET, &[("host", host)]), "{host}");
        }
        assert!(!is_answered(Method::GET, &[]));
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert!(!is_answered(Method::GET, &two));
        let proxied = [("host", "localhost"), ("x-forwarded-for", "203.0.113.7")];
        assert!(!is_answered(Method::GET, &proxied));
    }

    #[test]
    fn only_the_page_itself_may_press_its_buttons() {
        let host = ("host", "127.0.0.1:8080");
        let json = ("content-type", "application/json");
        let post = |headers: &[_]| is_answered(Method::POST, headers);
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
