//! The hash by which the receiver tells a redelivery from a conflict.

use std::cmp::Reverse;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::hash_of;

/// Equal JSON has an equal hash: the order of members, blanks, and the spelling of strings and numbers do not count. And one
/// changed leaf gives another hash. `data` is the data of an event; a text that is no object has no hash. Pure.
pub fn content_hash(data: &str) {
    let (Some(hash), Ok(json)) = (hash_of(data), read(data)) else {
        return;
    };
    for spelling in [Spelling::Short, Spelling::Long] {
        let again = json.write(spelling);
        assert_eq!(hash_of(&again), Some(hash), "{data} {again}");
    }
    for n in 0..json.leaves().min(MOST_LEAVES) {
        let mut changed = json.clone();
        changed.change(&mut { n });
        let changed = changed.write(Spelling::Short);
        assert_ne!(hash_of(&changed), Some(hash), "leaf {n} of {data}: {changed}");
    }
}

/// A document of 4 KB has up to 2,000 leaves. This bound keeps the time for it linear.
const MOST_LEAVES: usize = 32;

#[derive(Clone, Copy)]
enum Spelling {
    /// The members in another order, without blanks.
    Short,
    /// The members in another order, with blanks, and each leaf in another spelling.
    Long,
}

#[derive(Clone)]
enum Json {
    Leaf(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    fn leaves(&self) -> usize {
        match self {
            Self::Leaf(_) => 1,
            Self::Array(elements) => elements.iter().map(Self::leaves).sum(),
            Self::Object(members) => members.iter().map(|(_, value)| value.leaves()).sum(),
        }
    }

    /// Changes the leaf with the number `n`, and counts `n` down by the leaves before it.
    fn change(&mut self, n: &mut usize) -> bool {
        match self {
            Self::Leaf(leaf) if *n == 0 => {
                *leaf = other(leaf);
                true
            }
            Self::Leaf(_) => {
                *n -= 1;
                false
            }
            Self::Array(elements) => elements.iter_mut().any(|element| element.change(n)),
            Self::Object(members) => members.iter_mut().any(|(_, value)| value.change(n)),
        }
    }

    fn write(&self, spelling: Spelling) -> String {
        let (blank, comma) = match spelling {
            Spelling::Short => ("", ","),
            Spelling::Long => (" \t", " \r\n,"),
        };
        let list = |parts: Vec<String>| format!("{blank}{}{blank}", parts.join(comma));
        match self {
            Self::Leaf(leaf) => spelled(leaf, spelling),
            Self::Array(elements) => {
                format!(
                    "[{}]",
                    list(elements.iter().map(|element| element.write(spelling)).collect())
                )
            }
            Self::Object(members) => {
                // The sort is stable: the order of repeated members counts.
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by_key(|(name, _)| Reverse(name.clone()));
                let member = |(name, value): &(String, Self)| {
                    let name = spelled(&serde_json::Value::from(name.as_str()).to_string(), spelling);
                    format!("{name}{blank}:{blank}{}", value.write(spelling))
                };
                format!("{{{}}}", list(members.into_iter().map(member).collect()))
            }
        }
    }
}

fn read(text: &str) -> serde_json::Result<Json> {
    struct Members(Vec<(String, Box<RawValue>)>);
    impl<'de> Deserialize<'de> for Members {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Object;
            impl<'de> Visitor<'de> for Object {
                type Value = Members;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                    let mut members = Vec::new();
                    while let Some(member) = map.next_entry()? {
                        members.push(member);
                    }
                    Ok(Members(members))
                }
            }
            deserializer.deserialize_map(Object)
        }
    }
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    Ok(match text.as_bytes().first() {
        Some(b'[') => {
            let elements: Vec<Box<RawValue>> = serde_json::from_str(text)?;
            Json::Array(
                elements
                    .iter()
                    .map(|value| read(value.get()))
                    .collect::<Result<_, _>>()?,
            )
        }
        Some(b'{') => {
            let Members(members) = serde_json::from_str(text)?;
            let member = |(name, value): (_, Box<RawValue>)| Ok((name, read(value.get())?));
            Json::Object(members.into_iter().map(member).collect::<Result<_, _>>()?)
        }
        _ => Json::Leaf(text.to_owned()),
    })
}

/// Another spelling of the same string or number.
fn spelled(leaf: &str, spelling: Spelling) -> String {
    match (spelling, leaf.as_bytes().first()) {
        (Spelling::Long, Some(b'"')) => {
            let text: String = serde_json::from_str(leaf).expect("a string");
            let units: Vec<_> = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            format!("\"{}\"", units.concat())
        }
        (Spelling::Long, Some(b'-' | b'0'..=b'9')) => number(leaf),
        _ => leaf.to_owned(),
    }
}

/// The same number: two zeros behind the point, or no point and another exponent. An exponent of an unusual size stays.
fn number(leaf: &str) -> String {
    let (mantissa, exponent) = leaf.split_once(['e', 'E']).unwrap_or((leaf, "0"));
    let Ok(exponent) = exponent.parse::<i64>() else {
        return leaf.to_owned();
    };
    let Some((whole, fraction)) = mantissa.split_once('.') else {
        return format!("{mantissa}.00E{exponent:+}");
    };
    // The grammar allows no zero in front: `-0.5e0` becomes `-5e-1`.
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let digits = if digits.is_empty() { "0" } else { digits };
    match exponent.checked_sub(fraction.len() as i64) {
        Some(exponent) => format!("{sign}{digits}e{exponent}"),
        None => leaf.to_owned(),
    }
}

/// Another value in the place of a leaf.
fn other(leaf: &str) -> String {
    match leaf.as_bytes().first() {
        Some(b'n') => "false".to_owned(),
        Some(b't') => "null".to_owned(),
        Some(b'f') => "true".to_owned(),
        Some(b'"') => format!("\"\\u0000{}", &leaf[1..]),
        // One more digit, at the end of the mantissa.
        _ => {
            let (mantissa, exponent) = leaf.split_at(leaf.find(['e', 'E']).unwrap_or(leaf.len()));
            let point = if mantissa.contains('.') { "" } else { "." };
            format!("{mantissa}{point}1{exponent}")
        }
    }
}
