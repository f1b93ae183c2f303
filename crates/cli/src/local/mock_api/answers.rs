//! The answers of the stand-in that are not lists.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::failure::Failure;

pub fn created(body: &Value) -> Response {
    (StatusCode::CREATED, axum::Json(body)).into_response()
}

pub fn bad_request(message: &str) -> Response {
    error(StatusCode::BAD_REQUEST, "invalid_request", message)
}

pub fn unauthorized(header: &str) -> Response {
    let message = format!("send a key as {header}; any text will do");
    error(StatusCode::UNAUTHORIZED, "unauthorized", &message)
}

pub fn not_found(what: &str) -> Response {
    error(StatusCode::NOT_FOUND, "not_found", &format!("there is no {what}"))
}

pub fn failed(failure: &Failure) -> Response {
    error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        &failure.to_string(),
    )
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let body = json!({"error": {"code": code, "message": message}});
    (status, axum::Json(body)).into_response()
}
