//! The event in an item of the list: the item itself, or a member of it.

use serde_json::value::RawValue;

use super::Object;

/// The members that may hold the event, as an object or as its JSON text.
const WRAPPERS: [&str; 5] = ["payload", "event", "body", "request_body", "data"];

/// The place of the event in an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapping {
    /// The item is the event.
    Bare,
    /// A member holds the event.
    Member(&'static str),
    /// A member holds the event's JSON text.
    Text(&'static str),
}

impl Wrapping {
    /// The place, for a person.
    pub fn describe(self) -> String {
        match self {
            Self::Bare => "each item is an event".into(),
            Self::Member(name) => format!("each item holds an event in `{name}`"),
            Self::Text(name) => format!("each item holds an event as text in `{name}`"),
        }
    }
}

/// An item.
#[derive(Debug, PartialEq, Eq)]
pub struct Item {
    /// The event's JSON.
    pub body: Vec<u8>,
    /// The `event_id` beside the event.
    pub outer_id: Option<String>,
    /// The item's own id, by which an API asks for the items behind it.
    pub position: Option<String>,
}

/// Reads all items of a page. All of them have the event at the same place.
///
/// # Errors
/// The fault, to be read after the name of the page.
pub fn read_all(values: &[&RawValue]) -> Result<(Vec<Item>, Option<Wrapping>), String> {
    let mut items = Vec::with_capacity(values.len());
    let mut first = None;
    for (i, value) in values.iter().enumerate() {
        let number = i + 1;
        let object = Object::parse(value.get()).ok_or_else(|| format!("item {number} is not an object"))?;
        let (wrapping, body) = unwrap(value, &object).map_err(|fault| format!("item {number} {fault}"))?;
        let expected = *first.get_or_insert(wrapping);
        if wrapping != expected {
            return Err(format!(
                "its items are of two kinds: in item 1, {}; in item {number}, {}",
                expected.describe(),
                wrapping.describe()
            ));
        }
        let outer_id = object.text("event_id").filter(|_| wrapping != Wrapping::Bare);
        let inner = Object::parse(std::str::from_utf8(&body).unwrap_or_default());
        let inner_id = || inner.and_then(|inner| inner.text("id").or_else(|| inner.text("event_id")));
        let own_id = object.text("id").or_else(|| object.text("event_id"));
        items.push(Item {
            position: own_id.or_else(inner_id),
            outer_id,
            body,
        });
    }
    Ok((items, first))
}

fn unwrap(value: &RawValue, object: &Object<'_>) -> Result<(Wrapping, Vec<u8>), String> {
    let has_type = object.get("type").is_some() || object.get("event_type").is_some();
    if has_type && object.object("data").is_some() {
        return Ok((Wrapping::Bare, value.get().into()));
    }
    let mut found = WRAPPERS.into_iter().filter_map(|name| {
        let member = object.get(name)?.get();
        if is_envelope(member) {
            return Some((Wrapping::Member(name), member.as_bytes().to_vec()));
        }
        let text: String = serde_json::from_str(member).ok()?;
        is_envelope(&text).then(|| (Wrapping::Text(name), text.into_bytes()))
    });
    match (found.next(), found.next()) {
        (Some(found), None) => Ok(found),
        (Some((one, _)), Some((two, _))) => Err(format!(
            "holds two events: {}, and {}",
            one.describe(),
            two.describe()
        )),
        // The judgement of an event says which member is missing.
        (None, _) => Ok((Wrapping::Bare, value.get().into())),
    }
}

/// Returns true for an object that has a member of an event's envelope.
fn is_envelope(text: &str) -> bool {
    Object::parse(text).is_some_and(|object| {
        ["type", "event_type", "data"]
            .iter()
            .any(|name| object.get(name).is_some())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"id":"a","type":"sar.filed","data":{"case_id":"c"}}"#;

    fn read(items: &[String]) -> Result<(Vec<Item>, Option<Wrapping>), String> {
        let text = format!("[{}]", items.join(","));
        let values: Vec<&RawValue> = serde_json::from_str(&text).expect("a list");
        read_all(&values)
    }

    #[test]
    fn an_event_is_found_in_the_usual_places() {
        let quoted = serde_json::to_string(EVENT).expect("JSON");
        for (item, wrapping) in [
            (EVENT.to_owned(), Wrapping::Bare),
            (
                r#"{"id":"a","event_type":"t","status":"failed","data":{}}"#.to_owned(),
                Wrapping::Bare,
            ),
            (
                r#"{"id":"no type","data":{"score":1}}"#.to_owned(),
                Wrapping::Bare,
            ),
            (
                format!(r#"{{"event_id":"a","status":"failed","payload":{EVENT}}}"#),
                Wrapping::Member("payload"),
            ),
            (
                format!(r#"{{"event_id":"a","event_type":"t","payload":{EVENT}}}"#),
                Wrapping::Member("payload"),
            ),
            (format!(r#"{{"event":{EVENT}}}"#), Wrapping::Member("event")),
            (
                format!(r#"{{"event":"sar.filed","payload":{EVENT}}}"#),
                Wrapping::Member("payload"),
            ),
            (
                format!(r#"{{"id":"d","data":{EVENT}}}"#),
                Wrapping::Member("data"),
            ),
            (format!(r#"{{"payload":{quoted}}}"#), Wrapping::Text("payload")),
            (
                format!(r#"{{"body":{quoted},"attempts":6}}"#),
                Wrapping::Text("body"),
            ),
        ] {
            let (items, found) = read(std::slice::from_ref(&item)).expect(&item);
            assert_eq!(found, Some(wrapping), "{item}");
            if wrapping != Wrapping::Bare {
                assert_eq!(items[0].body, EVENT.as_bytes(), "{item}");
            }
        }
    }

    #[test]
    fn ids_beside_the_event_are_kept() {
        let item = format!(r#"{{"id":"dlv_1","event_id":"b","payload":{EVENT}}}"#);
        let (items, _) = read(&[item]).expect("an item");
        assert_eq!(items[0].outer_id.as_deref(), Some("b"));
        assert_eq!(items[0].position.as_deref(), Some("dlv_1"));
        let (items, _) = read(&[format!(r#"{{"event":{EVENT}}}"#)]).expect("an item");
        assert_eq!(
            (items[0].outer_id.as_deref(), items[0].position.as_deref()),
            (None, Some("a"))
        );
    }

    #[test]
    fn mixed_items_and_two_events_in_one_are_refused() {
        let wrapped = format!(r#"{{"payload":{EVENT}}}"#);
        let fault = read(&[EVENT.into(), EVENT.into(), wrapped]).expect_err("mixed");
        assert!(fault.contains("item 3") && fault.contains("`payload`"), "{fault}");
        let fault = read(&[format!(r#"{{"payload":{EVENT},"event":{EVENT}}}"#)]).expect_err("two");
        assert!(fault.contains("two events"), "{fault}");
    }
}
