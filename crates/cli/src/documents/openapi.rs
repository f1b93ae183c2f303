//! `openapi`: the OpenAPI 3.1 document of the receiver's routes.

use clap::Args;
use serde_json::{Value, json};

use super::events::{self, Place};
use super::{answers, operations, print_document};
use crate::failure::Failure;

/// Print the OpenAPI 3.1 document of the receiver
#[derive(Args)]
pub struct Openapi {}

impl Openapi {
    /// Prints the document.
    pub fn run(self) -> Result<(), Failure> {
        print_document(&document())
    }
}

fn document() -> Value {
    let mut schemas = events::by_name();
    schemas.insert("Event".into(), event());
    schemas.extend(answers::bodies().map(|(name, schema)| (name.to_owned(), schema)));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sonotheia webhook receiver",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Receives signed events, stores each event once, and serves the records. \
                Any other path gets 404 `not_found`, and any other method gets 405 `method_not_allowed` with `Allow`.",
        },
        "paths": operations::paths(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-Sonotheia-Signature",
                    "description": "HMAC-SHA256 of the raw body in hex, keyed with the shared secret; `sha256=` may stand before it.",
                },
                "iam": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "AWS Signature Version 4 of the service execute-api, checked by API Gateway.",
                    "x-amazon-apigateway-authtype": "awsSigv4",
                },
            },
        },
    })
}

/// Any event that the receiver accepts: a listed type, or another type.
fn event() -> Value {
    let mut any = Place::Components.any_event();
    let other = json!({
        "title": "Another type",
        "type": "object",
        "properties": {"data": {"type": "object"}},
        "required": ["data"],
    });
    if let Some(types) = any["anyOf"].as_array_mut() {
        types.push(other);
    }
    any
}
