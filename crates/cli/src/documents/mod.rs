//! The documents for developers of applications: `openapi` and `schema` (contract, sections 6 and 8).
//!
//! Every name, limit and code comes from the receiver's own tables, so a document cannot contradict the receiver.

mod answers;
mod events;
pub mod openapi;
mod operations;
mod published;
pub mod schema;

use serde_json::Value;

use crate::args::print;
use crate::failure::Failure;

/// Prints a document as the repository holds it.
fn print_document(document: &Value) -> Result<(), Failure> {
    print(&format!("{document:#}\n"))
}
