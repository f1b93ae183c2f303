//! A server that answers as a test wants: Sonotheia's API, a receiver that fails, AWS.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: axum::http::HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn body_text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub struct Mock {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Mock {
    pub fn start(answer: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(testkit::loopback());
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (answer, log) = (Arc::new(answer), seen.clone());
        let handle = move |request: Request| {
            let (answer, log) = (answer.clone(), log.clone());
            async move {
                let (parts, body) = request.into_parts();
                let seen = Seen {
                    method: parts.method.to_string(),
                    path: parts.uri.to_string(),
                    headers: parts.headers,
                    body: axum::body::to_bytes(body, usize::MAX).await.unwrap(),
                };
                log.lock().unwrap().push(seen.clone());
                tokio::task::spawn_blocking(move || answer(&seen)).await.unwrap()
            }
        };
        let router = Router::new().fallback(handle);
        runtime.spawn(async { axum::serve(listener, router).await });
        Self {
            url,
            seen,
            _runtime: runtime,
        }
    }

    /// What came so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

pub fn answer(status: u16, body: impl Into<String>) -> Response {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Body::from(body.into()))
        .unwrap()
}

/// Passes a call for DynamoDB on.
pub fn forward(upstream: &str, seen: &Seen) -> Response {
    let mut request = ureq::post(upstream).config().http_status_as_error(false).build();
    for name in ["x-amz-target", "content-type", "authorization", "x-amz-date"] {
        request = request.header(name, seen.header(name));
    }
    let mut response = request.send(&seen.body[..]).unwrap();
    let body = response.body_mut().read_to_string().unwrap();
    answer(response.status().as_u16(), body)
}
