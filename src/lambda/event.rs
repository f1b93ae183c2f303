//! Reads an invocation's payload: one of the four shapes in which a front sends an HTTP request.
//!
//! Only the body, the signature and the route decide what a delivery gets. So this module takes any value in any other
//! member: it leaves out what cannot be used, and never fails for it.

use axum::body::{Body, Bytes};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use form_urlencoded::Serializer;
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use serde_json::value::RawValue;

use super::members::{Members, text, texts};
use super::route::Sent;

/// The shape of an event, which is also the shape of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// REST APIs, and HTTP APIs with payload format 1.0.
    Payload1,
    /// HTTP APIs with payload format 2.0, and function URLs.
    Payload2,
    /// Application Load Balancers.
    Alb,
    /// An event whose front is not known. Every front accepts its answer, which has only the members that all fronts share.
    Unknown,
}

/// The reason why a payload is not a request for the router.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The payload is something else, such as a scheduled event.
    #[error("the event is not an HTTP request")]
    NotHttp,
    /// The front says that the body is base64, and it is not.
    #[error("the event's body is not base64")]
    NotBase64(Shape),
}

/// The characters that no query has.
const IN_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// Base64 as any encoder writes it: with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Reads a payload.
///
/// # Errors
/// The payload is not an HTTP request, or its body cannot be decoded.
pub fn read(payload: &[u8]) -> Result<(Shape, Request<Body>), EventError> {
    let event = Members::parse(payload).ok_or(EventError::NotHttp)?;
    let context = event.object("requestContext");
    let is_payload2 = event.string("version").as_deref() == Some("2.0") || event.get("httpMethod").is_none();
    let (shape, method, path, query) = if is_payload2 {
        payload2(&event, &context)
    } else {
        payload1(&event, &context)
    }
    .ok_or(EventError::NotHttp)?;

    let body = body(&event).ok_or(EventError::NotBase64(shape))?;
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri(&path, &query);
    *request.headers_mut() = headers(&event);
    Ok((shape, request))
}

type Read = (Shape, Method, String, String);

/// The event of a REST API, an ALB, or an HTTP API with payload format 1.0.
fn payload1(event: &Members<'_>, context: &Members<'_>) -> Option<Read> {
    let method = method(&event.string("httpMethod")?)?;
    let resource = event.string("resource");
    let is_alb = context.get("elb").is_some() || resource.is_none();
    let is_http_api = event.get("version").is_some();
    let path = event.string("path").or_else(|| resource.clone())?;
    let sent = Sent {
        path: &path,
        decoded: is_http_api,
        stage: context.string("stage").filter(|_| is_http_api),
        resource: resource.filter(|resource| resource.starts_with('/')),
    };
    let shape = if is_alb { Shape::Alb } else { Shape::Payload1 };
    let parameters = event.object("pathParameters");
    Some((
        shape,
        method,
        sent.route(|name| parameters.string(name)),
        query(event, is_alb),
    ))
}

/// The event of a function URL, or an HTTP API with payload format 2.0.
fn payload2(event: &Members<'_>, context: &Members<'_>) -> Option<Read> {
    let http = context.object("http");
    let key = event.string("routeKey").unwrap_or_default();
    let (key_method, key_path) = key.split_once(' ').unwrap_or_default();
    let method = method(&http.string("method").unwrap_or_else(|| key_method.to_owned()))?;
    let path = event.string("rawPath").or_else(|| http.string("path"))?;
    let sent = Sent {
        path: &path,
        decoded: is_http_api(context),
        stage: context.string("stage"),
        resource: Some(key_path.to_owned()).filter(|path| path.starts_with('/')),
    };
    let parameters = event.object("pathParameters");
    let query = event
        .string("rawQueryString")
        .unwrap_or_else(|| query(event, false));
    Some((
        Shape::Payload2,
        method,
        sent.route(|name| parameters.string(name)),
        query,
    ))
}

/// Returns true for an HTTP API. The events of a function URL have the same members. `cargo lambda watch` sends them too, but
/// without `apiId`, and its paths are encoded.
fn is_http_api(context: &Members<'_>) -> bool {
    let domain = context.string("domainName").unwrap_or_default();
    domain.contains(".execute-api.") || (context.get("apiId").is_some() && !domain.contains(".lambda-url."))
}

fn method(name: &str) -> Option<Method> {
    Method::from_bytes(name.to_ascii_uppercase().as_bytes()).ok()
}

/// The query from the maps of payload format 1.0. ALBs leave its values encoded, and API Gateway decodes them.
fn query(event: &Members<'_>, encoded: bool) -> String {
    let mut parameters = event.object("multiValueQueryStringParameters");
    if parameters.iter().next().is_none() {
        parameters = event.object("queryStringParameters");
    }
    let pairs = parameters
        .iter()
        .flat_map(|(name, values)| texts(values).map(move |value| (lossy(name), lossy(&value))));
    if encoded {
        pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("&")
    } else {
        Serializer::new(String::new()).extend_pairs(pairs).finish()
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The request's target. A query that is too long for a URI is left out: no route that reads a query has one.
fn uri(path: &str, query: &str) -> Uri {
    let query = percent_encode(query.as_bytes(), IN_QUERY);
    let whole = PathAndQuery::try_from(format!("{path}?{query}"));
    let target = whole.or_else(|_| PathAndQuery::try_from(path));
    target.map_or_else(|_| Uri::from_static("/unknown"), Uri::from)
}

/// The headers. Where a front sends all values of a header and its last value, all of them count.
fn headers(event: &Members<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    add_headers(&mut headers, &event.object("multiValueHeaders"), |_| true);
    let mut others = HeaderMap::new();
    add_headers(&mut others, &event.object("headers"), |name| {
        !headers.contains_key(name)
    });
    for (name, value) in &others {
        append(&mut headers, name, value.clone());
    }
    headers
}

fn add_headers(headers: &mut HeaderMap, members: &Members<'_>, wanted: impl Fn(&HeaderName) -> bool) {
    for (name, values) in members.iter() {
        let Some(name) = HeaderName::from_bytes(name).ok().filter(&wanted) else {
            continue;
        };
        for value in texts(values) {
            append(headers, &name, header_value(value.into_owned()));
        }
    }
}

/// Adds a header. A map has a limit, and a header beyond it is left out. No front sends as many headers.
fn append(headers: &mut HeaderMap, name: &HeaderName, value: HeaderValue) {
    let _ = headers.try_append(name, value);
}

/// A header's value, with `?` for each control character but a tab, which HTTP allows (RFC 9110, section 5.5). The value stays,
/// so that a repeated header stays repeated.
fn header_value(mut value: Vec<u8>) -> HeaderValue {
    for byte in &mut value {
        if byte.is_ascii_control() && *byte != b'\t' {
            *byte = b'?';
        }
    }
    HeaderValue::from_bytes(&value).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The bytes that the sender signed. A body that is not a string is its own JSON text. Returns `None` if the front says that the
/// body is base64, and the body is not base64.
fn body(event: &Members<'_>) -> Option<Bytes> {
    let body = event.get("body").and_then(text).unwrap_or_default();
    let is_base64 = event.get("isBase64Encoded").is_some_and(is_true);
    if is_base64 {
        decode(&body)
    } else {
        Some(body.into_owned().into())
    }
}

fn is_true(value: &RawValue) -> bool {
    matches!(value.get(), "true" | "1") || text(value).is_some_and(|text| text.eq_ignore_ascii_case(b"true"))
}

/// Decodes base64 as the fronts write it, and in its other usual spellings: with line breaks (MIME), without padding, or with
/// the alphabet for URLs.
fn decode(body: &[u8]) -> Option<Bytes> {
    let decoded = BASE64
        .decode(body)
        .or_else(|_| BASE64.decode(in_standard_alphabet(body)));
    decoded.ok().map(Bytes::from)
}

fn in_standard_alphabet(body: &[u8]) -> Vec<u8> {
    let digits = body.iter().filter(|byte| !byte.is_ascii_whitespace());
    digits
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect()
}
