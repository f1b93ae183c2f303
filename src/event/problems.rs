//! The checks that give an accepted record its problems (contract, sections 1 and 2).

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::Problem;
use super::types::{Field, Shape};
use crate::json::{self, Flaw, Kind, Members};
use crate::timestamp::{Parsed, Timestamp};

/// The longest value of an index key, in bytes ("Quotas for Amazon DynamoDB": 1024 for a sort key, 2048 for a partition
/// key).
pub const MAX_SESSION_BYTES: usize = 1024;

/// The longest retention that an event can ask for, in days: a hundred years.
pub const MAX_RETENTION_DAYS: f64 = 36_500.0;

const REPEATED: &str = "is there more than once; the last one counts";

/// The problems found so far.
#[derive(Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Ends the checks.
    pub fn into_vec(self) -> Vec<Problem> {
        self.0
    }

    fn note(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem::new(path, message));
    }

    /// Notes a missing id and an unknown type.
    pub fn identity(&mut self, has_id: bool, is_known_type: bool) {
        if !has_id {
            self.note("id", "is missing; the record's key is the SHA-256 of the body");
        }
        if !is_known_type {
            self.note("type", "is not a type that this receiver knows");
        }
    }

    /// Checks the optional `metadata` of the envelope.
    pub fn metadata(&mut self, envelope: &Members<'_>) {
        if envelope.repeats("metadata") {
            self.note("metadata", REPEATED);
        }
        match envelope.get("metadata").map(json::check_object) {
            None | Some(Ok(())) => {}
            Some(Err(Flaw { path, message })) => {
                self.note(
                    format!("metadata{path}"),
                    format!("{message}; reads leave it out"),
                );
            }
        }
    }

    /// Checks the members of an object against the table.
    pub fn fields(&mut self, object: &Members<'_>, path: &str, fields: &[Field]) {
        for field in fields {
            let path = format!("{path}.{}", field.name);
            if object.repeats(field.name) {
                self.note(&path, REPEATED);
            }
            match object.get(field.name) {
                Some(value) => self.shape(value, path, &field.shape),
                None if field.required => self.note(path, "is missing"),
                None => {}
            }
        }
    }

    fn shape(&mut self, value: &RawValue, path: String, shape: &Shape) {
        let is = |kind| json::kind(value) == kind;
        let number = || json::number(value);
        let fault: Cow<'_, str> = match shape {
            Shape::Text if !is(Kind::String) => "is not a string".into(),
            Shape::Amount if number().is_none_or(|n| n < 0.0) => "is not a number from 0 up".into(),
            Shape::Share if number().is_none_or(|n| !(0.0..=1.0).contains(&n)) => {
                "is not a number from 0 to 1".into()
            }
            Shape::Bool if !is(Kind::Bool) => "is neither true nor false".into(),
            Shape::Object | Shape::With(_) if !is(Kind::Object) => "is not an object".into(),
            Shape::OneOf(values) if json::string(value).is_none_or(|v| !values.contains(&&*v)) => {
                format!("is not one of {}", values.join(", ")).into()
            }
            Shape::With(fields) => {
                if let Ok(members) = Members::parse(value.get()) {
                    self.fields(&members, &path, fields);
                }
                return;
            }
            _ => return,
        };
        self.note(path, fault);
    }

    /// Reads a time. A time that cannot be read counts as absent.
    ///
    /// `path` ends in the member's name: `data.timestamp`.
    pub fn time(&mut self, object: &Members<'_>, path: &str) -> Option<Timestamp> {
        let name = path.rsplit('.').next().unwrap_or(path);
        if object.repeats(name) {
            self.note(path, REPEATED);
        }
        let value = object.get(name)?;
        match json::string(value).as_deref().and_then(Timestamp::parse) {
            Some(Parsed::Moment(time)) => Some(time),
            Some(Parsed::WithoutOffset(time)) => {
                self.note(path, "has no UTC offset; the receiver read it as UTC");
                Some(time)
            }
            None => {
                self.note(path, "is not a time in ISO 8601, such as 2026-01-21T12:00:00Z");
                None
            }
        }
    }

    /// Reads `data.session_id`, if it can be an index key.
    pub fn session<'a>(&mut self, data: &Members<'a>, required: bool) -> Option<Cow<'a, str>> {
        const PATH: &str = "data.session_id";
        if data.repeats("session_id") {
            self.note(PATH, REPEATED);
        }
        let Some(value) = data.get("session_id") else {
            if required {
                self.note(PATH, "is missing");
            }
            return None;
        };
        let fault = match json::string(value) {
            None => "is not a string",
            Some(id) if id.is_empty() => "is empty",
            Some(id) if id.len() > MAX_SESSION_BYTES => "is longer than 1024 bytes",
            Some(id) => return Some(id),
        };
        self.note(
            PATH,
            format!("{fault}; the record cannot be found by its session"),
        );
        None
    }

    /// Reads the retention that the event asks for, in whole days.
    pub fn retention(&mut self, data: &Members<'_>) -> Option<u32> {
        const PATH: &str = "data.compliance.retention_period_days";
        const NAME: &str = "retention_period_days";
        let compliance = Members::parse(data.get("compliance")?.get()).ok()?;
        if compliance.repeats(NAME) {
            self.note(PATH, REPEATED);
        }
        match json::number(compliance.get(NAME)?) {
            None => self.note(PATH, "is not a number"),
            Some(days) if days < 0.0 => self.note(PATH, "is negative"),
            Some(days) if days > MAX_RETENTION_DAYS => {
                self.note(
                    PATH,
                    "is over 36500; the receiver keeps the record for 36500 days",
                );
                return Some(MAX_RETENTION_DAYS as u32);
            }
            Some(days) => return Some(days.ceil() as u32),
        }
        None
    }
}
