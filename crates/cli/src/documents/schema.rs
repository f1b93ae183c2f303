//! `schema`: the JSON Schemas of the events and of what the stack publishes.

use clap::Args;
use serde_json::{Value, json};
use sonotheia_webhook::event::types::{find, known_types};

use super::events::{self, Place};
use super::{print_document, published};
use crate::args::usage;
use crate::failure::Failure;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// The name of the published detail's schema.
const PUBLISHED: &str = "published";
/// The name of the document for EventBridge's schema registry.
const REGISTRY: &str = "registry";

/// Print the JSON Schema of the events, of one event type, or of what the stack publishes
#[derive(Args)]
pub struct Schema {
    /// An event type, `published` (the detail of a published event) or `registry` (the same for EventBridge's schema
    /// registry); without it, all schemas
    #[arg(value_name = "TYPE")]
    name: Option<String>,
}

impl Schema {
    /// Prints the schema.
    pub fn run(self) -> Result<(), Failure> {
        let schema = match self.name.as_deref() {
            None => everything(),
            Some(PUBLISHED) => standalone(published::detail()),
            Some(REGISTRY) => published::for_registry(),
            Some(name) => match find(name) {
                Some(event_type) => standalone(events::of(event_type)),
                None => unknown(name),
            },
        };
        print_document(&schema)
    }
}

fn unknown(name: &str) -> ! {
    let types = known_types().collect::<Vec<_>>().join(", ");
    usage(&format!(
        "there is no schema {name:?}; use one of {types}, {PUBLISHED}, {REGISTRY}"
    ))
}

/// The schema of any listed event, with the schema of each type and of the published detail as definitions.
fn everything() -> Value {
    let mut schema = Place::Definitions.any_event();
    schema["title"] = json!("An event of the sender");
    let mut definitions = events::by_name();
    definitions.insert(PUBLISHED.into(), published::detail());
    schema["$defs"] = definitions.into();
    standalone(schema)
}

fn standalone(mut schema: Value) -> Value {
    schema["$schema"] = DIALECT.into();
    schema
}
