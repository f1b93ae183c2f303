//! The page's files, and the headers of everything that the inspector answers.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use serde_json::Value;

use super::Shared;

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, content type and text of each file. The scripts are modules, and `page.js` loads the others.
const FILES: [(&str, &str, &str); 8] = [
    ("/inspector/page.css", CSS, include_str!("page.css")),
    ("/inspector/detail.css", CSS, include_str!("detail.css")),
    ("/inspector/page.js", SCRIPT, include_str!("page.js")),
    ("/inspector/rows.js", SCRIPT, include_str!("rows.js")),
    ("/inspector/detail.js", SCRIPT, include_str!("detail.js")),
    ("/inspector/keys.js", SCRIPT, include_str!("keys.js")),
    ("/inspector/source.js", SCRIPT, include_str!("source.js")),
    ("/inspector/text.js", SCRIPT, include_str!("text.js")),
];

/// The page loads nothing but its own files, has no inline script or style, and no other page can frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page at `/`.
pub fn index() -> MethodRouter<Shared> {
    file("text/html; charset=utf-8", include_str!("page.html"))
}

/// The other files.
pub fn files() -> Router<Shared> {
    FILES
        .into_iter()
        .fold(Router::new(), |router, (path, kind, text)| {
            router.route(path, file(kind, text))
        })
}

fn file(kind: &'static str, text: &'static str) -> MethodRouter<Shared> {
    get(move || async move { ([(header::CONTENT_TYPE, kind)], text) })
}

/// `GET /inspector/about`
pub async fn about(State(shared): State<Shared>) -> Json<Value> {
    Json(shared.inspector.about())
}

/// The answer for a path that the page does not have.
pub async fn nothing() -> Response {
    (
        StatusCode::NOT_FOUND,
        "There is no such page; the inspector is at /.\n",
    )
        .into_response()
}

/// Adds the headers that protect the page. The receiver's own answers have other ones.
pub fn protect(headers: &mut HeaderMap) {
    if headers.contains_key("x-request-id") {
        return;
    }
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
