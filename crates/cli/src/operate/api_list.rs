//! Sonotheia's list of deliveries that failed, in any of the usual shapes.
//!
//! Sonotheia's documents name the call and not its answer. So a page may be a bare list, or an object with the list under
//! one of [`NAMES`]; [`item`] finds the event in an item, and [`next`] finds the next page. Any other shape is an error,
//! because a guess could take a part of the list for the whole.

pub mod item;
pub mod next;

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::show::clean;
use item::{Item, Wrapping};
use next::Next;

/// The names that a list may have.
const NAMES: [&str; 7] = [
    "events",
    "data",
    "results",
    "items",
    "deliveries",
    "webhook_events",
    "records",
];

/// The names of an object around the object with the list.
const ENVELOPES: [&str; 4] = ["data", "result", "results", "response"];

/// A page of the list.
#[derive(Debug)]
pub struct Page {
    pub items: Vec<Item>,
    /// The place of the event in each item. `None` if the page has no items.
    pub wrapping: Option<Wrapping>,
    pub next: Next,
    /// The place of the list, for a person: `a list in "events"`.
    pub list: String,
    /// The number of items on all pages, if the answer says so.
    pub total: Option<u64>,
}

impl Page {
    /// Reads the body of an answer, and its `Link` header.
    ///
    /// # Errors
    /// The fault, to be read after the name of the page. It does not quote the answer's values.
    pub fn read(body: &[u8], link: Option<&str>) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|_| "it is not UTF-8")?;
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.starts_with('<') {
            return Err("it is HTML or XML, and not JSON; --base-url may not be the API's address".into());
        }
        if let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(text) {
            return Self::of("a bare list".into(), &values, &[], link);
        }
        let Ok(top) = serde_json::from_str::<Object<'_>>(text) else {
            return Err("it is not JSON with a list".into());
        };
        if let Some((name, values)) = list(&top)? {
            return Self::of(format!("a list in `{name}`"), &values, &[&top], link);
        }
        for name in ENVELOPES {
            let Some(inner) = top.object(name) else { continue };
            if let Some((inner_name, values)) = list(&inner)? {
                let place = format!("a list in `{name}.{inner_name}`");
                return Self::of(place, &values, &[&inner, &top], link);
            }
        }
        Err(format!("it has no list; its members are {}", top.names()))
    }

    fn of(
        place: String,
        values: &[&RawValue],
        levels: &[&Object<'_>],
        link: Option<&str>,
    ) -> Result<Self, String> {
        let (items, wrapping) = item::read_all(values)?;
        let (next, total) = next::find(levels, link, items.last())?;
        Ok(Self {
            items,
            wrapping,
            next,
            list: place,
            total,
        })
    }
}

/// Finds the one list of an object.
fn list<'a>(object: &Object<'a>) -> Result<Option<(String, Vec<&'a RawValue>)>, String> {
    let mut found: Vec<(String, Vec<&RawValue>)> = Vec::new();
    for (name, value) in &object.members {
        let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(value.get()) else {
            continue;
        };
        // A list of another name may hold more events. A list of texts, such as warnings, holds no events.
        let has_objects = values.iter().any(|value| value.get().starts_with('{'));
        if NAMES.contains(&name.as_str()) || has_objects {
            found.push((name.clone(), values));
        }
    }
    match found.len() {
        0 => Ok(None),
        1 if NAMES.contains(&found[0].0.as_str()) => Ok(found.pop()),
        1 => Err(format!(
            "its list has the unknown name `{}`; known names are {}",
            clean(&found[0].0),
            NAMES.join(", ")
        )),
        _ => {
            let names: Vec<_> = found
                .iter()
                .map(|(name, _)| format!("`{}`", clean(name)))
                .collect();
            Err(format!("it has more than one list: {}", names.join(", ")))
        }
    }
}

/// The members of a JSON object in their order.
#[derive(Debug, Default)]
pub struct Object<'a> {
    /// The members that are not `null`.
    members: Vec<(String, &'a RawValue)>,
    nulls: Vec<String>,
}

impl<'a> Object<'a> {
    /// Reads an object.
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The member of that name. A `null` counts as absent.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.members
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| *value)
    }

    /// Returns true if the member of that name is `null`.
    pub fn is_null(&self, name: &str) -> bool {
        self.nulls.iter().any(|null| null == name)
    }

    /// The member of that name, if it is an object.
    pub fn object(&self, name: &str) -> Option<Self> {
        Self::parse(self.get(name)?.get())
    }

    /// The member of that name, if it is a string.
    pub fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// The members' names, for a message.
    fn names(&self) -> String {
        let names: Vec<_> = self
            .members
            .iter()
            .take(20)
            .map(|(name, _)| format!("`{}`", clean(name)))
            .collect();
        let names: String = names.join(", ").chars().take(400).collect();
        if names.is_empty() { "none".into() } else { names }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut object = Object::default();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    match value.get() {
                        "null" => object.nulls.push(name),
                        _ => object.members.push((name, value)),
                    }
                }
                Ok(object)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Page, String> {
        Page::read(body.as_bytes(), None)
    }

    #[test]
    fn the_usual_lists_are_read() {
        let event = r#"{"id":"a","type":"sar.filed","data":{}}"#;
        for (body, place) in [
            (format!("[{event}]"), "a bare list"),
            (format!(r#"{{"events":[{event}]}}"#), "a list in `events`"),
            (
                format!(r#"{{"data":[{event}],"object":"list"}}"#),
                "a list in `data`",
            ),
            (
                format!(r#"{{"results":[{event}],"warnings":["slow"]}}"#),
                "a list in `results`",
            ),
            (
                format!(r#"{{"items":[{event}],"errors":[]}}"#),
                "a list in `items`",
            ),
            (
                format!(r#"{{"status":"ok","data":{{"events":[{event}]}}}}"#),
                "a list in `data.events`",
            ),
            (
                format!(r#"  {{"events":[{event}],"data":null}}"#),
                "a list in `events`",
            ),
        ] {
            let page = read(&body).expect(&body);
            assert_eq!((page.list.as_str(), page.items.len()), (place, 1), "{body}");
            assert_eq!(page.items[0].body, event.as_bytes());
        }
        assert_eq!(read(r#"{"events":[]}"#).expect("a page").items.len(), 0);
    }

    #[test]
    fn any_other_answer_is_refused() {
        for (body, says) in [
            ("<!doctype html><html>", "HTML"),
            ("", "not JSON"),
            ("{", "not JSON"),
            ("3", "not JSON"),
            ("{}", "no list"),
            (r#"{"message":"hello","count":0}"#, "`message`, `count`"),
            (r#"{"events":{"a":1}}"#, "no list"),
            (
                r#"{"events":[{"id":"a"}],"data":[{"id":"b"}]}"#,
                "more than one list: `events`, `data`",
            ),
            (r#"{"events":[{"id":"a"}],"events":[]}"#, "more than one list"),
            (
                r#"{"events":[{"id":"a"}],"pending":[{"id":"b"}]}"#,
                "more than one list",
            ),
            (r#"{"failures":[{"id":"a"}]}"#, "unknown name `failures`"),
            (r#"{"events":["evt_1"]}"#, "item 1 is not an object"),
            (r#"{"events":[{"id":"a"},null]}"#, "item 2 is not an object"),
        ] {
            let fault = read(body).expect_err(body);
            assert!(fault.contains(says), "{body}: {fault}");
        }
        assert!(Page::read(b"\xff", None).is_err());
    }
}
