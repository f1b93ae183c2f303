//! Reads JSON without loss: members stay in the order sent, and numbers keep their digits.
//!
//! `serde_json` parses. A value tree would lose facts that the receiver of other people's JSON needs, so this module
//! adds them: it sees repeated members, keeps the text of each value, and compares two texts as JSON ([`hash`]) without
//! a float in between.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// The deepest nesting of arrays and objects, which is also `serde_json`'s limit for a value tree.
pub const MAX_DEPTH: usize = 128;

const TOO_DEEP: &str = "is nested deeper than 128 levels";

/// The members of an object in the order sent. Repeated members are all there.
#[derive(Debug)]
pub struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads an object.
    ///
    /// # Errors
    /// `serde_json`'s error, with line and column. The text of [a data error](serde_json::Error::is_data) may quote the
    /// JSON; the texts of the other errors do not.
    pub fn parse(text: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// The last member of that name that is not `null`; a `null` counts as absent.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        let (_, value) = self.0.iter().rev().find(|(key, _)| key == name)?;
        (value.get() != "null").then_some(value)
    }

    /// True if the object has more than one member of that name.
    pub fn repeats(&self, name: &str) -> bool {
        self.0.iter().filter(|(key, _)| key == name).count() > 1
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(key), value)) = map.next_entry()? {
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A string, borrowed if it has no escapes. (`Cow` alone would always copy.)
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Str;
        impl<'de> Visitor<'de> for Str {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Str)
    }
}

/// The elements of an array.
struct Elements<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Elements<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array;
        impl<'de> Visitor<'de> for Array {
            type Value = Elements<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    elements.push(element);
                }
                Ok(Elements(elements))
            }
        }
        deserializer.deserialize_seq(Array)
    }
}

/// The kind of a JSON value, which its first character shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number
    Number,
    /// A string
    String,
    /// An array
    Array,
    /// An object
    Object,
}

/// The kind of a value.
pub fn kind(value: &RawValue) -> Kind {
    match value.get().as_bytes().first() {
        Some(b'n') => Kind::Null,
        Some(b't' | b'f') => Kind::Bool,
        Some(b'"') => Kind::String,
        Some(b'[') => Kind::Array,
        Some(b'{') => Kind::Object,
        _ => Kind::Number,
    }
}

/// The text of a string. `None` if the value is not a string, or if it holds half of a surrogate pair.
pub fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str(value.get()).ok().map(|Text(text)| text)
}

/// A number as a float. `None` if the value is not a number; infinite if a float cannot hold its magnitude.
pub fn number(value: &RawValue) -> Option<f64> {
    (kind(value) == Kind::Number).then(|| value.get().parse().ok())?
}

/// A fault inside a value that the grammar of JSON allows, and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The place, from the value down: `.a.b[3]`. Empty for the value itself.
    pub path: String,
    /// The fault, to be read after the path.
    pub message: &'static str,
}

impl Flaw {
    fn here(message: &'static str) -> Self {
        let path = String::new();
        Self { path, message }
    }

    fn below(self, step: impl fmt::Display) -> Self {
        // The sender chooses the names, which may be long. A path is for people to read.
        let mut path = format!("{step}{}", self.path);
        if let Some((cut, _)) = path.char_indices().nth(120) {
            path.truncate(cut);
            path.push('…');
        }
        Self { path, ..self }
    }
}

/// Checks a value that should be an object which every parser reads alike.
///
/// # Errors
/// [`Flaw`] if the value is no object, or for the reasons that [`hash`] names.
pub fn check_object(value: &RawValue) -> Result<(), Flaw> {
    if kind(value) != Kind::Object {
        return Err(Flaw::here("is not an object"));
    }
    // Each level is scanned once more for the levels below it, so a very deep value is refused before that walk.
    if is_deeper_than(2 * MAX_DEPTH, value.get()) {
        return Err(Flaw::here(TOO_DEEP));
    }
    hash_value(value, 0, &mut Sha256::new())
}

/// Returns true if the arrays and objects of a JSON text nest deeper than `limit`. Reads the text once.
fn is_deeper_than(limit: usize, json: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'[' | b'{') => depth += 1,
            (false, b']' | b'}') => depth -= 1,
            _ => {}
        }
        if depth > limit {
            return true;
        }
    }
    false
}

/// True if [`check_object`] finds no flaw.
pub fn is_sound_object(value: &RawValue) -> bool {
    check_object(value).is_ok()
}

/// Feeds an object to `hash`. Two texts have the same hash if they are the same JSON, and only then.
///
/// The order of members, blanks, and the spelling of strings (`"\u0041"`) and of numbers (`1.0`, `10e-1`) do not count.
/// A number is compared by its exact decimal value, whatever its size.
///
/// The parser scans each level once more for the levels below it, so the deepest body takes about five times as long as
/// a flat body of the same size.
///
/// # Errors
/// [`Flaw`] for values that parsers disagree about: strings with half of a surrogate pair (RFC 8259, section 8.2), and
/// values that nest deeper than [`MAX_DEPTH`].
pub fn hash(members: &Members<'_>, hash: &mut Sha256) -> Result<(), Flaw> {
    hash_members(members, 1, hash)
}

fn hash_members(Members(members): &Members<'_>, depth: usize, hash: &mut Sha256) -> Result<(), Flaw> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by(|(a, _), (b, _)| a.cmp(b));
    tag(b'{', members.len(), hash);
    for (key, value) in members {
        hash_string(key, hash);
        hash_value(value, depth, hash).map_err(|flaw| flaw.below(format_args!(".{key}")))?;
    }
    Ok(())
}

fn hash_value(value: &RawValue, depth: usize, hash: &mut Sha256) -> Result<(), Flaw> {
    const SURROGATE: &str = "has a string with half of a surrogate pair";
    let text = value.get();
    match kind(value) {
        Kind::Null | Kind::Bool => hash.update(&text[..1]),
        Kind::Number => hash_number(text, hash),
        Kind::String => hash_string(&string(value).ok_or(Flaw::here(SURROGATE))?, hash),
        Kind::Array | Kind::Object if depth == MAX_DEPTH => {
            return Err(Flaw::here(TOO_DEEP));
        }
        Kind::Array => {
            // The parser has read this text before, as a part of the value around it.
            let Elements(elements) = serde_json::from_str(text).map_err(|_| Flaw::here("is not an array"))?;
            tag(b'[', elements.len(), hash);
            for (i, element) in elements.into_iter().enumerate() {
                hash_value(element, depth + 1, hash).map_err(|flaw| flaw.below(format_args!("[{i}]")))?;
            }
        }
        Kind::Object => {
            // The first pass skips names, so half of a surrogate pair in a name shows only here.
            let members = Members::parse(text).map_err(|_| Flaw::here(SURROGATE))?;
            hash_members(&members, depth + 1, hash)?;
        }
    }
    Ok(())
}

fn hash_string(text: &str, hash: &mut Sha256) {
    tag(b'"', text.len(), hash);
    hash.update(text);
}

/// Hashes a kind and a length in front of the content: without them `["a","b"]` and `["ab"]` would be the same.
fn tag(kind: u8, length: usize, hash: &mut Sha256) {
    hash.update([kind]);
    hash.update((length as u64).to_be_bytes());
}

/// Hashes the exact decimal value: sign, digits without outer zeros, power of ten.
fn hash_number(text: &str, hash: &mut Sha256) {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = [whole, fraction].concat();
    let digits = all.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');

    if significant.is_empty() {
        hash_string("0", hash);
    } else if let Ok(exponent) = exponent.parse::<i128>() {
        let power =
            exponent.saturating_add((digits.len() - significant.len()) as i128 - fraction.len() as i128);
        let sign = if negative { "-" } else { "" };
        hash_string(&format!("{sign}{significant}e{power}"), hash);
    } else {
        // The exponent has about forty digits or more. Nobody computes with such a number: hash it as it is written.
        hash_string(text, hash);
    }
    // This comes after the tag of the string, so that "1" and 1 differ.
    hash.update(b"#");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(json: &str) -> Result<[u8; 32], Flaw> {
        let mut sha = Sha256::new();
        hash(&Members::parse(json).expect("an object"), &mut sha)?;
        Ok(sha.finalize().into())
    }

    #[test]
    fn the_same_json_has_the_same_hash() {
        for (a, b) in [
            (
                r#"{"a":1,"b":[true,null]}"#,
                "{ \"b\" : [ true , null ] ,\n\"a\" : 1 }",
            ),
            (r#"{"a":"A\/\n"}"#, r#"{"\u0061":"\u0041/\u000a"}"#),
            (r#"{"a":"😀"}"#, r#"{"a":"\ud83d\ude00"}"#),
            (r#"{"a":1}"#, r#"{"a":1.0}"#),
            (r#"{"a":100}"#, r#"{"a":1E+2}"#),
            (r#"{"a":0.82}"#, r#"{"a":82.0e-2}"#),
            (r#"{"a":-0.0}"#, r#"{"a":0e9}"#),
            (r#"{"a":1e400}"#, r#"{"a":10e399}"#),
        ] {
            assert_eq!(digest(a), digest(b), "{a} {b}");
        }
    }

    #[test]
    fn other_json_has_another_hash() {
        let all = [
            r#"{}"#,
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"{"a":"1e0"}"#,
            r#"{"a":-1}"#,
            r#"{"a":null}"#,
            r#"{"a":true}"#,
            r#"{"a":false}"#,
            r#"{"a":[]}"#,
            r#"{"a":{}}"#,
            r#"{"a":[1,2]}"#,
            r#"{"a":[2,1]}"#,
            r#"{"a":[[1],2]}"#,
            r#"{"a":["1","2"]}"#,
            r#"{"a":["12"]}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":2,"a":1}"#,
            r#"{"a":1e400}"#,
            r#"{"a":2e400}"#,
            r#"{"a":9007199254740993}"#,
            r#"{"a":9007199254740992}"#,
            r#"{"a":0.1}"#,
            r#"{"a":0.1000000000000000055511151231257827}"#,
        ];
        for (i, a) in all.iter().enumerate() {
            for b in &all[i + 1..] {
                assert_ne!(digest(a), digest(b), "{a} {b}");
            }
        }
    }

    #[test]
    fn what_parsers_disagree_about_is_a_flaw_with_a_place() {
        let flaw = digest(r#"{"a":{"b":[0,"\ud800"]}}"#).expect_err("half a pair");
        assert_eq!(flaw.path, ".a.b[1]");
        assert!(digest(r#"{"a":{"\udc00":1}}"#).is_err());
        let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(digest(&deep(MAX_DEPTH - 1)).is_ok());
        assert!(digest(&deep(MAX_DEPTH)).is_err());
        // Deep enough to overflow a stack, were it followed down.
        assert!(digest(&deep(100_000)).is_err());
    }

    #[test]
    fn the_flaw_of_a_deep_value_has_a_place_and_a_very_deep_value_is_not_walked() {
        let place = |levels: usize| {
            let text = format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
            let value = RawValue::from_string(text).expect("JSON");
            check_object(&value).map_err(|flaw| flaw.path.starts_with(".a[0]"))
        };
        assert_eq!(place(MAX_DEPTH - 1), Ok(()));
        assert_eq!(place(MAX_DEPTH), Err(true));
        assert_eq!(place(2 * MAX_DEPTH - 1), Err(true));
        assert_eq!(place(2 * MAX_DEPTH), Err(false));
    }

    #[test]
    fn brackets_in_strings_are_not_nesting() {
        assert!(is_deeper_than(1, "[[]]"));
        assert!(!is_deeper_than(1, r#"["[{\"[","]"]"#));
        assert!(!is_deeper_than(1, "[] "));
        assert!(!is_deeper_than(2, "[[],{},[],{}]"));
    }

    #[test]
    fn null_counts_as_absent_and_the_last_of_a_repeated_member_counts() {
        let members = Members::parse(r#"{"a":1,"b":null,"a":2,"c":3,"c":null}"#).expect("an object");
        assert_eq!(members.get("a").map(RawValue::get), Some("2"));
        assert!(members.get("b").is_none());
        assert!(members.get("c").is_none());
        assert!(members.repeats("a") && !members.repeats("b"));
    }
}
