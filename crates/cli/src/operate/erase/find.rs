//! The records of a person: by the table's indexes, and among the rejected records by their bodies.

use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_bytes::ByteBuf;
use sonotheia_webhook::store::{Filter, Outcome, Store, StoreError};
use sonotheia_webhook::timestamp::Timestamp;

use super::super::walk::AT_ONCE;
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

/// The keys of the rejected records that name the id. No index has the ids of rejected records, since nobody may rely on
/// them. So this reads the whole index over time, which has no bodies, and then the body of each rejected record.
pub async fn rejected(store: &Store, id: &str) -> Result<Vec<String>, StoreError> {
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
            let is_named = body.is_some_and(|body| has_string(&body, id));
            Ok::<_, StoreError>(is_named.then_some(listed.event_id))
        })
        .buffered(AT_ONCE)
        .try_filter_map(|key| async move { Ok(key) })
        .try_collect()
        .await?;
    bar.finish_and_clear();
    Ok(found)
}

/// Returns true if any JSON string in the body is this text, with or without escapes. A rejected body may be broken JSON, have
/// two ids, or nest too deep, so the function reads each string on its own. A record too many in the report is better than
/// personal data that stays in the table.
fn has_string(body: &[u8], text: &str) -> bool {
    // The longest escape, `\u0041`, writes one byte of text with six bytes of JSON. The two quotes come on top.
    let longest = 6 * text.len() + 2;
    let quotes = body.iter().enumerate().filter(|(_, byte)| **byte == b'"');
    quotes.map(|(at, _)| at).any(|at| {
        let end = body.len().min(at + longest);
        // As bytes, a string may hold half of a surrogate pair.
        let string = ByteBuf::deserialize(&mut serde_json::Deserializer::from_slice(&body[at..end]));
        string.is_ok_and(|string| string == text.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_body_names_an_id_in_any_form() {
        for body in [
            r#"{"id":"evt_1"}"#,
            r#"{"event_id":"evt\u005f1","type":"t"}"#,
            r#"{"id":"evt_2","event_id":"evt_1","type":"t","data":{}}"#,
            r#"{"id":"evt_2","event_id":"\u0065vt_1","type":"t","data":{}}"#,
            r#"{"id":"evt_1","type":"t","da"#,
            r#"{"id":"\u0065vt_1","type":"t","da"#,
        ] {
            assert!(has_string(body.as_bytes(), "evt_1"), "{body}");
        }
        for body in [
            r#"{"id":"evt_12"}"#,
            "evt_1",
            r#"{"id":"evt_1"#,
            "",
            r#"{"id":"x","type":"t","data":{}}"#,
        ] {
            assert!(!has_string(body.as_bytes(), "evt_1"), "{body}");
        }
    }

    #[test]
    fn a_rejected_body_names_a_session_beside_whatever_is_wrong_with_it() {
        for body in [
            r#"{"type":"t","data":{"session_id":"k\u00e4se/\"1\""}}"#,
            r#"{"type":"t","data":{"session_id":"käse\/\"1\"","x":"\ud800"}}"#,
            r#"{"type":"t","data":{"session_id":"k\u00E4se/\"1\""},"data":{"session_id":"y"}}"#,
            r#"{"type":"t","data":{"session_id":"k\u00e4se/\"1\"","session_id":"y"}}"#,
            r#"{"type":"t","data":{"session_id":"k\u00e4se/\"1\"","#,
            r#"\ud800 " {"session_id":"k\u00e4se/\"1\""}"#,
        ] {
            assert!(has_string(body.as_bytes(), "käse/\"1\""), "{body}");
        }
        let not_utf8 = [b"\xff{\"session_id\":\"k\\u00e4se\"", &b"\"\xff"[..]].concat();
        assert!(has_string(&not_utf8, "käse"));
        assert!(!has_string(
            br#"{"type":"t","data":{"session_id":"s/1"}}"#,
            "s/\"1\""
        ));
        let deep = format!("{{\"a\":{}\"k\\u00e4se\"", "[".repeat(100_000));
        assert!(has_string(deep.as_bytes(), "käse"));
    }
}
