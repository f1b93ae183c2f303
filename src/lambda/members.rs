//! Reads a JSON object without a schema: a member can have any type, and can be absent.
//!
//! Only the members that the receiver uses are parsed, and only when it uses them. So a member with an unexpected type,
//! half a surrogate pair or a deep nesting does no harm to the others.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of a JSON object, each as its JSON text.
#[derive(Default)]
pub struct Members<'a>(Vec<(Text<'a>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads the members of an object. Returns `None` if the text is not a JSON object.
    pub fn parse(json: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// The value of a member. `null` counts as absent, and the last of several members with one name counts.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        let (_, value) = self.0.iter().rev().find(|(key, _)| *key.0 == *name.as_bytes())?;
        Some(*value).filter(|value| value.get() != "null")
    }

    /// The value of a member that is a string.
    pub fn string(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// The members of a member that is an object. Empty if the member is absent or is not an object.
    pub fn object(&self, name: &str) -> Members<'a> {
        self.get(name)
            .and_then(|value| Self::parse(value.get().as_bytes()))
            .unwrap_or_default()
    }

    /// Each member, as its name and its value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &'a RawValue)> {
        self.0.iter().map(|(name, value)| (&*name.0, *value))
    }
}

/// The texts of a list's values. A value that is not a list counts as a list of one.
pub fn texts(value: &RawValue) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let list = if value.get().starts_with('[') {
        serde_json::from_str(value.get()).ok()
    } else {
        None
    };
    list.unwrap_or_else(|| vec![value]).into_iter().filter_map(text)
}

/// The text of a value: the bytes that a string stands for, or the JSON text of any other value. `null` has no text.
pub fn text(value: &RawValue) -> Option<Cow<'_, [u8]>> {
    let json = value.get();
    if json == "null" {
        return None;
    }
    let string = if json.starts_with('"') {
        serde_json::from_str::<Text<'_>>(json).ok()
    } else {
        None
    };
    Some(string.map_or(Cow::Borrowed(json.as_bytes()), |text| text.0))
}

/// The bytes of a JSON string. They are not UTF-8 if the string has half a surrogate pair.
struct Text<'a>(Cow<'a, [u8]>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Cow<'de, [u8]>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(bytes.into())
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(bytes.to_vec().into())
            }
        }

        deserializer.deserialize_bytes(TextVisitor).map(Self)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Vec<(Text<'de>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(MembersVisitor).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_with_an_odd_value_does_no_harm_to_the_others() {
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        let json =
            format!(r#"{{"a":{deep},"\ud800":1,"b":"\udc00","c":{{"d":"x","d":"y"}},"e":null,"f":7}}"#);
        let members = Members::parse(json.as_bytes()).expect("an object");
        assert_eq!(members.object("c").string("d").as_deref(), Some("y"));
        assert_eq!(members.string("b"), None);
        let text_of = |name| members.get(name).and_then(text);
        assert_eq!(text_of("b").as_deref(), Some(&b"\xed\xb0\x80"[..]));
        assert!(members.get("e").is_none());
        assert_eq!(text_of("f").as_deref(), Some(&b"7"[..]));
        assert_eq!(members.iter().count(), 6);
    }

    #[test]
    fn every_value_has_its_texts() {
        for (json, expected) in [
            (r#""a""#, &["a"][..]),
            (r#"["a", "b\u0063", 1, null]"#, &["a", "bc", "1"]),
            ("[]", &[]),
            ("null", &[]),
            ("7", &["7"]),
            (r#"{"a": 1}"#, &[r#"{"a": 1}"#]),
            (r#"[["a"]]"#, &[r#"["a"]"#]),
        ] {
            let value: &RawValue = serde_json::from_str(json).expect("JSON");
            let texts: Vec<_> = texts(value)
                .map(|text| String::from_utf8_lossy(&text).into_owned())
                .collect();
            assert_eq!(texts, expected, "{json}");
        }
    }

    #[test]
    fn only_an_object_has_members() {
        for json in ["", "[]", "1", "null", "\"text\"", "{", "{} x", "{\"a\"}"] {
            assert!(Members::parse(json.as_bytes()).is_none(), "{json}");
        }
    }
}
