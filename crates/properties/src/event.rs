//! Bodies as the event parser reads them.

use std::collections::HashMap;

use serde_json::value::RawValue;
use sonotheia_webhook::event::{Event, Payload};

/// An accepted body is JSON, blanks do not change the event, and the data stay byte for byte. Pure.
pub fn event(body: &[u8]) {
    let payload = Payload::parse(body);
    let Ok(event) = Event::parse(body, 0.7) else {
        return;
    };
    let members: HashMap<String, &RawValue> = serde_json::from_slice(body).expect("an accepted body is JSON");
    let data = payload.data.expect("an accepted event has data");
    assert_eq!(data.get(), members["data"].get());
    assert!(event.id.as_ref().is_none_or(|id| (1..=256).contains(&id.len())));
    assert!((1..=256).contains(&event.event_type.len()));

    let spaced = spaced(body);
    let again = Event::parse(&spaced, 0.7).expect("blanks do not change the event");
    assert_eq!(event.content_hash, again.content_hash);
    assert_eq!(
        (&event.id, &event.event_type, event.occurred_at, &event.session_id),
        (&again.id, &again.event_type, again.occurred_at, &again.session_id)
    );
    assert_eq!(
        (event.retention_days, event.alert, &event.problems),
        (again.retention_days, again.alert, &again.problems)
    );
}

/// The same JSON with a blank on both sides of each bracket, colon and comma outside of strings.
fn spaced(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(3 * body.len());
    let (mut in_string, mut escaped) = (false, false);
    for &byte in body {
        match byte {
            b'{' | b'}' | b'[' | b']' | b':' | b',' if !in_string => out.extend([b' ', byte, b'\n']),
            _ => out.push(byte),
        }
        in_string ^= byte == b'"' && !escaped;
        escaped = in_string && byte == b'\\' && !escaped;
    }
    out
}
