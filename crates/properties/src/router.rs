//! Requests of any kind.

use std::collections::HashMap;

use crate::receiver::{percent, sign, with_receiver};
use arbitrary::{Arbitrary, Unstructured};
use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Uri};
use serde_json::value::RawValue;
use testkit::{Receiver, Reply};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    method: Verb<'a>,
    path: Path<'a>,
    query: Option<&'a str>,
    signature: Signed<'a>,
    headers: Vec<(Name, &'a [u8])>,
    body: &'a [u8],
}

#[derive(Arbitrary, Debug)]
enum Verb<'a> {
    Get,
    Head,
    Post,
    Other(&'a [u8]),
}

#[derive(Arbitrary, Debug)]
enum Path<'a> {
    Webhook,
    Health,
    Event(&'a [u8]),
    Session(&'a [u8]),
    All,
    Other(&'a str),
}

#[derive(Arbitrary, Debug)]
enum Signed<'a> {
    Rightly,
    Not,
    With(&'a [u8]),
    /// The right signature and another one.
    Twice(&'a [u8]),
}

#[derive(Arbitrary, Debug)]
enum Name {
    ContentType,
    ContentLength,
    ContentEncoding,
    Timestamp,
    EventId,
    RequestId,
    TraceId,
}

/// Every answer is JSON and no 5xx, an error has a status and a code of the contract, and an unsigned delivery gets 401 and
/// leaves no record.
///
/// The input is a request as the crate `arbitrary` reads one from bytes.
pub fn router(input: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(input)) else {
        return;
    };
    let Some(request) = request(&input) else {
        return;
    };
    let right = sign(input.body);
    let is_forged = match input.signature {
        Signed::Rightly => false,
        Signed::Not | Signed::Twice(_) => true,
        Signed::With(value) => !String::from_utf8_lossy(value).to_lowercase().contains(&right),
    };
    let is_delivery = *request.method() == Method::POST && request.uri().path() == "/webhook";
    with_receiver(
        async |_| {},
        async |receiver| {
            if !(is_delivery && is_forged) {
                check(&receiver.send_raw(request).await);
                return;
            }
            let before = records(receiver).await;
            receiver.send(request).await.expect(401, "invalid_signature");
            assert_eq!(records(receiver).await, before);
        },
    );
}

/// The codes of an error by its status (contract, sections 2 and 3). Nothing fails here, so no answer is a 5xx.
const ERRORS: [(u16, &str); 8] = [
    (400, "event_too_old"),
    (400, "invalid_event"),
    (400, "invalid_query"),
    (401, "invalid_signature"),
    (404, "not_found"),
    (405, "method_not_allowed"),
    (409, "event_conflict"),
    (413, "payload_too_large"),
];

fn check(reply: &Reply) {
    // A HEAD request gets no body.
    if reply.body.is_empty() {
        assert!(reply.status.as_u16() < 500, "{reply:?}");
        return;
    }
    let members: HashMap<String, &RawValue> = serde_json::from_slice(&reply.body).expect("an object");
    if reply.status.is_success() {
        return;
    }
    let code = members["code"].get().trim_matches('"');
    assert!(ERRORS.contains(&(reply.status.as_u16(), code)), "{reply:?}");
}

fn request(input: &Input<'_>) -> Option<Request<Body>> {
    let method = match input.method {
        Verb::Get => Method::GET,
        Verb::Head => Method::HEAD,
        Verb::Post => Method::POST,
        Verb::Other(name) => Method::from_bytes(name).ok()?,
    };
    let mut uri = match input.path {
        Path::Webhook => "/webhook".to_owned(),
        Path::Health => "/health".to_owned(),
        Path::Event(id) => format!("/events/{}", percent(id)),
        Path::Session(id) => format!("/results/{}", percent(id)),
        Path::All => "/results".to_owned(),
        Path::Other(path) => format!("/{path}"),
    };
    if let Some(query) = input.query {
        uri.extend(["?", query]);
    }
    let mut request = Request::builder().method(method).uri(uri.parse::<Uri>().ok()?);
    let right = sign(input.body);
    let signatures: &[&[u8]] = match &input.signature {
        Signed::Rightly => &[right.as_bytes()],
        Signed::Not => &[],
        Signed::With(value) => &[value],
        Signed::Twice(value) => &[right.as_bytes(), value],
    };
    for value in signatures {
        request = request.header("x-sonotheia-signature", HeaderValue::from_bytes(value).ok()?);
    }
    for (name, value) in &input.headers {
        let name = match name {
            Name::ContentType => "content-type",
            Name::ContentLength => "content-length",
            Name::ContentEncoding => "content-encoding",
            Name::Timestamp => "x-sonotheia-timestamp",
            Name::EventId => "x-sonotheia-event-id",
            Name::RequestId => "x-request-id",
            Name::TraceId => "x-amzn-trace-id",
        };
        request = request.header(name, HeaderValue::from_bytes(value).ok()?);
    }
    request.body(Body::from(input.body.to_vec())).ok()
}

/// The list of the newest hundred records.
async fn records(receiver: &Receiver) -> Vec<u8> {
    receiver.get_raw("/results?limit=100").await.body.to_vec()
}
