//! The query parameters of the reads. A bad value is an error that names its parameter.

use std::borrow::Cow;
use std::collections::HashMap;

use super::cursor::{Cursor, Shards};
use crate::error::HttpError;
use crate::event::MAX_NAME_BYTES;
use crate::store::{Filter, Outcome};
use crate::timestamp::{Parsed, Timestamp};

/// The size of a page without `limit`, in records.
pub const DEFAULT_LIMIT: u8 = 25;
/// The largest page, in records.
pub const MAX_LIMIT: u8 = 100;

/// The parameters of `GET /results`.
pub const ALL_PARAMETERS: &[&str] = &["type", "outcome", "from", "to", "limit", "cursor"];
/// The parameters of `GET /results/{session_id}`.
pub const SESSION_PARAMETERS: &[&str] = &["limit", "cursor"];
/// The parameters of `GET /events/{event_id}`.
pub const EVENT_PARAMETERS: &[&str] = &["include"];

/// A query string in which each parameter is known and occurs once.
pub(super) struct Query<'a>(HashMap<Cow<'a, str>, Cow<'a, str>>);

impl<'a> Query<'a> {
    pub fn parse(query: Option<&'a str>, known: &[&str]) -> Result<Self, HttpError> {
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&&*name) {
                return Err(invalid(&name, format!("is not one of {}", known.join(", "))));
            }
            if parameters.contains_key(&name) {
                return Err(invalid(&name, "is there more than once"));
            }
            parameters.insert(name, value);
        }
        Ok(Self(parameters))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| &**value)
    }

    pub fn limit(&self) -> Result<u8, HttpError> {
        let Some(limit) = self.get("limit") else {
            return Ok(DEFAULT_LIMIT);
        };
        // `parse` alone would accept a plus sign.
        let is_digits = limit.bytes().all(|byte| byte.is_ascii_digit());
        let number = limit
            .parse()
            .ok()
            .filter(|n| is_digits && (1..=MAX_LIMIT).contains(n));
        number.ok_or_else(|| invalid("limit", "is not a number from 1 to 100"))
    }

    /// True if the answer should have the signed text.
    pub fn include_body(&self) -> Result<bool, HttpError> {
        match self.get("include") {
            None => Ok(false),
            Some("body") => Ok(true),
            Some(_) => Err(invalid("include", "is not `body`")),
        }
    }

    pub fn cursor<C: Cursor>(&self) -> Result<Option<C>, HttpError> {
        let bad = || invalid("cursor", "is not a `next` of this query; begin again without it");
        self.get("cursor")
            .map(|cursor| C::decode(cursor).ok_or_else(bad))
            .transpose()
    }

    /// The cursor over all records. Without one in the query, it is the first page's.
    pub fn shards(&self, filter: &Filter) -> Result<Shards, HttpError> {
        match self.cursor::<Shards>()? {
            None => Ok(Shards::start(filter)),
            Some(shards) if shards.is_within(filter) => Ok(shards),
            Some(_) => Err(invalid(
                "cursor",
                "belongs to a query with another `from` or `to`",
            )),
        }
    }

    fn time(&self, name: &str) -> Result<Option<Timestamp>, HttpError> {
        match self.get(name).map(Timestamp::parse) {
            None => Ok(None),
            Some(Some(Parsed::Moment(time))) => Ok(Some(time)),
            Some(_) => Err(invalid(
                name,
                "is not a time in RFC 3339, such as 2026-01-21T12:00:00Z",
            )),
        }
    }

    pub fn filter(&self) -> Result<Filter, HttpError> {
        let outcome = self.get("outcome").map(|name| {
            Outcome::from_name(name).ok_or_else(|| invalid("outcome", "is neither `accepted` nor `rejected`"))
        });
        let event_type = match self.get("type") {
            Some(name) if name.is_empty() || name.len() > MAX_NAME_BYTES => {
                return Err(invalid("type", "is empty, or longer than 256 bytes"));
            }
            name => name.map(str::to_owned),
        };
        let (from, to) = (self.time("from")?, self.time("to")?);
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            return Err(invalid("from", "is after `to`"));
        }
        Ok(Filter {
            event_type,
            outcome: outcome.transpose()?,
            from,
            to,
        })
    }
}

fn invalid(parameter: &str, fault: impl Into<String>) -> HttpError {
    HttpError::InvalidQuery {
        // A name that the receiver does not know may be long.
        parameter: parameter.chars().take(64).collect(),
        fault: fault.into(),
    }
}
