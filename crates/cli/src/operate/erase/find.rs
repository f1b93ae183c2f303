//! The records of a person: by the table's indexes, and among the rejected records by their bodies.

use std::borrow::Cow;

use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use serde::Deserialize;
use sonotheia_webhook::event::{Claims, Payload};
use sonotheia_webhook::store::{Filter, Outcome, Store, StoreError};
use sonotheia_webhook::timestamp::Timestamp;

use super::super::walk::AT_ONCE;
use crate::args::json;
use crate::index;

/// The reads hide the records that have expired before the time that the caller gives. With this time they hide no record,
/// because an expired record keeps its data until DynamoDB deletes it.
const ALL: Timestamp = Timestamp::from_millis(0);

/// The keys of a session's accepted records, oldest first: all pages of the index. An index follows its table within about a second.
pub async fn of_session(store: &Store, session: &str) -> Result<Vec<String>, StoreError> {
    let mut keys = Vec::new();
    let mut start = None;
    loop {
        let (places, next) = store.by_session(session, 100, start, ALL).await?;
        keys.extend(places.into_iter().map(|place| place.event_id));
        start = next;
        if start.is_none() {
            keys.reverse();
            return Ok(keys);
        }
    }
}

/// The id that a rejected body may name.
pub enum Named<'a> {
    Session(&'a str),
    Event(&'a str),
}

/// The keys of the rejected records that name the id. No index has the ids of rejected records, since nobody may rely on
/// them. So this reads the whole index over time, which has no bodies, and then the body of each rejected record.
pub async fn rejected(store: &Store, named: &Named<'_>) -> Result<Vec<String>, StoreError> {
    let filter = Filter {
        outcome: Some(Outcome::Rejected),
        ..Filter::default()
    };
    let bar = ProgressBar::new_spinner().with_message("looking through the rejected records");
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    let listed = index::all(store, &filter, ALL).await?;
    let found = stream::iter(listed)
        .map(|listed| async move {
            let body = store.get(&listed.event_id).await?.and_then(|record| record.body);
            let is_named = body.is_some_and(|body| named.by(&body));
            Ok::<_, StoreError>(is_named.then_some(listed.event_id))
        })
        .buffered(AT_ONCE)
        .try_filter_map(|key| async move { Ok(key) })
        .try_collect()
        .await?;
    bar.finish_and_clear();
    Ok(found)
}

impl Named<'_> {
    /// Returns true if a rejected body names the id as its own, or has it anywhere as a JSON string. A rejected body may be
    /// no JSON at all, or name two ids. One record too many in the report is better than personal data that stays.
    fn by(&self, body: &[u8]) -> bool {
        let (Self::Session(id) | Self::Event(id)) = *self;
        let quoted = json(&id);
        if body.windows(quoted.len()).any(|part| part == quoted.as_bytes()) {
            return true;
        }
        match self {
            Self::Event(id) => Claims::parse(body).event_id.is_some_and(|claimed| claimed == *id),
            Self::Session(id) => session(body).is_some_and(|session| session == *id),
        }
    }
}

/// The session in the data of any body, whatever escapes its text has.
fn session(body: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        session_id: Option<Cow<'a, str>>,
    }
    let data = Payload::parse(body).data?;
    serde_json::from_str::<Data<'_>>(data.get()).ok()?.session_id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_body_names_an_id_in_any_form() {
        let event = Named::Event("evt_1");
        for body in [
            r#"{"id":"evt_1"}"#,
            r#"{"event_id":"evt\u005f1","type":"t"}"#,
            r#"{"id":"evt_2","event_id":"evt_1","type":"t","data":{}}"#,
            r#"{"id":"evt_1","type":"t","da"#,
        ] {
            assert!(event.by(body.as_bytes()), "{body}");
        }
        for body in [
            r#"{"id":"evt_12"}"#,
            "evt_1",
            "",
            r#"{"id":"x","type":"t","data":{}}"#,
        ] {
            assert!(!event.by(body.as_bytes()), "{body}");
        }
        let session = Named::Session("s/\"1\"");
        for body in [
            r#"{"type":"t","data":{"session_id":"s/\"1\""}}"#,
            r#"{"type":"t","data":{"session_id":"\u0073\/\"1\""}}"#,
        ] {
            assert!(session.by(body.as_bytes()), "{body}");
        }
        assert!(!session.by(br#"{"type":"t","data":{"session_id":"s/1"}}"#));
    }
}
