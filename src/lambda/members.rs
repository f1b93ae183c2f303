//! Reads a JSON object without a schema: a member can have any type, and can be absent.
//!
//! Only the members that the receiver uses are parsed, and only when it uses them. So a member with an unexpected type,
//! half a surrogate pair or a deep nesting does no harm to the others.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of a JSON object, each as its JSON text.
#[derive(Default)]
pub struct Members<'a>(Vec<(Text, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads the members of an object. Returns `None` if the text is not a JSON object.
    pub fn parse(json: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// The value of a member. `null` counts as absent, and the last of several members with one name counts.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        let (_, value) = self.0.iter().rev().find(|(key, _)| key.0 == name.as_bytes())?;
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

    /// Each member, as its name and all its values. A value that is not a list counts as a list of one.
    pub fn lists(&self) -> impl Iterator<Item = (&[u8], Vec<Vec<u8>>)> {
        let list = |value: &'a RawValue| serde_json::from_str(value.get()).unwrap_or_else(|_| vec![value]);
        self.0.iter().map(move |(name, value)| {
            let values: Vec<&RawValue> = list(value);
            (&*name.0, values.into_iter().filter_map(text).collect())
        })
    }
}

/// The text of a value: the bytes that a string stands for, or the JSON text of any other value. `null` has no text.
pub fn text(value: &RawValue) -> Option<Vec<u8>> {
    match value.get() {
        "null" => None,
        json => {
            Some(serde_json::from_str::<Text>(json).map_or_else(|_| json.as_bytes().to_vec(), |text| text.0))
        }
    }
}

/// The bytes of a JSON string. They are not UTF-8 if the string has half a surrogate pair.
struct Text(Vec<u8>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl Visitor<'_> for TextVisitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(Text(bytes.to_vec()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.as_bytes().to_vec()))
            }
        }

        deserializer.deserialize_bytes(TextVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Vec<(Text, &'de RawValue)>;

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
        assert_eq!(members.get("b").and_then(text), Some(b"\xed\xb0\x80".to_vec()));
        assert!(members.get("e").is_none());
        assert_eq!(members.get("f").and_then(text), Some(b"7".to_vec()));
        assert_eq!(members.lists().count(), 6);
    }

    #[test]
    fn only_an_object_has_members() {
        for json in ["", "[]", "1", "null", "\"text\"", "{", "{} x", "{\"a\"}"] {
            assert!(Members::parse(json.as_bytes()).is_none(), "{json}");
        }
    }
}
