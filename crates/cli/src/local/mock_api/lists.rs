//! The list of events, in each shape that an API of this kind may have. Sonotheia documents the call and not its answer.

use std::collections::{HashMap, HashSet};

use axum::http::header::{CONTENT_TYPE, LINK};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json as value;
use serde_json::value::RawValue;

use super::answers::bad_request;
use super::dispatch::{Attempt, Dispatched, Status};
use crate::args::json;
use crate::client::encode;

/// The place of the events in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ListShape {
    /// `{"events": [event, …]}`.
    Events,
    /// `{"data": [event, …]}`.
    Data,
    /// `{"results": [event, …]}`.
    Results,
    /// `[event, …]`.
    Bare,
    /// `{"events": [{"event_id", "status", "attempts", "payload": event}, …]}`.
    Wrapped,
    /// `{"events": [{"event_id", "status", "attempts", "body": "the event's text"}, …]}`.
    Text,
}

/// The way to the next page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum NextPage {
    /// `next_cursor` in the answer, and `cursor` in the query.
    Cursor,
    /// `next` with the address of the next page.
    Address,
    /// `has_more` in the answer, and `starting_after` in the query.
    HasMore,
    /// A `Link` header (RFC 8288).
    Link,
    /// All events are on one page.
    None,
}

/// The options of a list, and the query of the request.
pub struct Paging<'a> {
    pub shape: ListShape,
    pub next: NextPage,
    pub size: usize,
    pub query: &'a HashMap<String, String>,
}

/// A page of the list that starts behind the event `place`. The list has an event once, also if the event is for two webhooks.
pub fn page(mut events: Vec<Dispatched>, place: Option<&str>, paging: &Paging<'_>) -> Response {
    let mut ids = HashSet::new();
    events.retain(|event| ids.insert(event.event_id.clone()));
    let start = match place {
        None => 0,
        Some(id) => match events.iter().position(|event| event.event_id == id) {
            Some(found) => found + 1,
            None => return bad_request("the cursor is not an event of this list"),
        },
    };
    let rest = &events[start..];
    let size = if paging.next == NextPage::None {
        rest.len()
    } else {
        paging.size
    };
    let shown = &rest[..size.min(rest.len())];
    let last = shown.last().filter(|_| shown.len() < rest.len());

    let items: Vec<_> = shown.iter().map(|event| item(event, paging.shape)).collect();
    let list = format!("[{}]", items.join(","));
    let mut response = ([(CONTENT_TYPE, "application/json")], body(&list, last, paging)).into_response();
    if let (NextPage::Link, Some(last)) = (paging.next, last) {
        let link = format!("<{}>; rel=\"next\"", address(last, paging));
        if let Ok(link) = link.parse() {
            response.headers_mut().insert(LINK, link);
        }
    }
    response
}

fn item(event: &Dispatched, shape: ListShape) -> String {
    let (payload, body) = match shape {
        ListShape::Events | ListShape::Data | ListShape::Results | ListShape::Bare => {
            return event.body.to_string();
        }
        // A raw value keeps the text of the event as it was signed.
        ListShape::Wrapped => (RawValue::from_string(event.body.to_string()).ok(), None),
        ListShape::Text => (None, Some(&*event.body)),
    };
    json(&Wrapped {
        event_id: &event.event_id,
        event_type: &event.event_type,
        status: event.status,
        created_at: event.created_at.to_string(),
        attempts: &event.attempts,
        payload,
        body,
    })
}

/// An item that holds the event in a member.
#[derive(Serialize)]
struct Wrapped<'a> {
    event_id: &'a str,
    event_type: &'a str,
    status: Status,
    created_at: String,
    attempts: &'a [Attempt],
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
}

fn body(list: &str, last: Option<&Dispatched>, paging: &Paging<'_>) -> String {
    let name = match paging.shape {
        ListShape::Events | ListShape::Wrapped | ListShape::Text => "events",
        ListShape::Data => "data",
        ListShape::Results => "results",
        // A bare list has no place for a cursor. The `Link` header names its next page.
        ListShape::Bare => return list.to_owned(),
    };
    let next = match paging.next {
        NextPage::Cursor => Some(("next_cursor", value!(last.map(|event| &event.event_id)))),
        NextPage::Address => Some(("next", value!(last.map(|event| address(event, paging))))),
        NextPage::HasMore => Some(("has_more", value!(last.is_some()))),
        NextPage::Link | NextPage::None => None,
    };
    let mut members = vec![format!("\"{name}\":{list}")];
    members.extend(next.map(|(name, value)| format!("\"{name}\":{value}")));
    format!("{{{}}}", members.join(","))
}

/// The path and query of the page behind an event.
fn address(last: &Dispatched, paging: &Paging<'_>) -> String {
    let mut query: Vec<_> = paging
        .query
        .iter()
        .filter(|(name, _)| *name != "cursor")
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    query.sort();
    query.push(format!("cursor={}", encode(&last.event_id)));
    format!("/v1/webhooks/events?{}", query.join("&"))
}
