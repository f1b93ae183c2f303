//! Event types as a person types them: an unknown type gets the list of the known types, the nearest first.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};
use sonotheia_webhook::event::types::known_types;

use crate::args::note;
use crate::show::clip;

/// Reads a type that Sonotheia documents.
#[derive(Clone)]
pub struct Known;

impl TypedValueParser for Known {
    type Value = String;

    fn parse_ref(&self, command: &Command, _: Option<&Arg>, value: &OsStr) -> Result<String, Error> {
        let text = value.to_string_lossy();
        if known_types().any(|known| known == text) {
            return Ok(text.into_owned());
        }
        let text = format!("{}\n", unknown(&text));
        Err(Error::raw(ErrorKind::ValueValidation, text).with_cmd(command))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(known_types().map(PossibleValue::new)))
    }
}

/// Says that a filter names an unknown type. Records can have such a type, so that this is no error.
pub fn note_unknown(filter: Option<&str>) {
    if let Some(text) = filter
        && !known_types().any(|known| known == text)
    {
        note(&unknown(text));
    }
}

fn unknown(text: &str) -> String {
    let known = nearest_first(text).join(", ");
    format!(
        "{:?} is not a known event type; the known types, the nearest first: {known}",
        clip(text, 100)
    )
}

fn nearest_first(text: &str) -> Vec<&'static str> {
    let text = text.to_ascii_lowercase();
    let mut known: Vec<_> = known_types().collect();
    known.sort_by_key(|known| strsim::damerau_levenshtein(known, &text));
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_type_comes_first_and_all_types_follow() {
        for (text, nearest) in [
            ("deepfake.complete", "deepfake.completed"),
            ("Deepfake.Failed", "deepfake.failed"),
            ("mfa_failed", "mfa.failed"),
            ("mfa.enrolment.completed", "mfa.enrollment.completed"),
            ("sar.filled", "sar.filed"),
            ("system.healthcheck", "system.health_check"),
        ] {
            let known = nearest_first(text);
            assert_eq!(known[0], nearest, "{text}");
            assert_eq!(known.len(), known_types().count());
        }
    }
}
