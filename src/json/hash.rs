//! The hash of a JSON value, by which the receiver tells a redelivery from a conflict.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{Elements, Kind, Members, kind, string};

/// The deepest nesting of arrays and objects (contract, section 2).
pub const MAX_DEPTH: usize = 128;

const TOO_DEEP: &str = "is nested deeper than 128 levels";

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

fn hash_members(members: &Members<'_>, depth: usize, hash: &mut Sha256) -> Result<(), Flaw> {
    let members = members.sorted();
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

/// Hashes the exact value of a number.
fn hash_number(text: &str, hash: &mut Sha256) {
    hash_string(&exact_number(text), hash);
    // This comes after the tag of the string, so that "1" and 1 differ.
    hash.update(b"#");
}

/// Writes a JSON number in one form for all spellings of its exact decimal value: sign, digits without outer zeros, power of
/// ten. `1.50` and `15e-1` are `15e-1`.
///
/// A number whose exponent has about forty digits or more stays as it is written, since nobody computes with such a number.
pub fn exact_number(text: &str) -> Cow<'_, str> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = [whole, fraction].concat();
    let digits = all.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return "0".into();
    }
    let shift = (digits.len() - significant.len()) as i128 - fraction.len() as i128;
    let exponent = exponent.parse::<i128>().ok();
    match exponent.and_then(|exponent| exponent.checked_add(shift)) {
        Some(power) => format!("{sign}{significant}e{power}").into(),
        None => text.into(),
    }
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
            r#"{"a":1e170141183460469231731687303715884105727}"#,
            r#"{"a":10e170141183460469231731687303715884105727}"#,
            r#"{"a":1e-170141183460469231731687303715884105728}"#,
            r#"{"a":0.1e-170141183460469231731687303715884105728}"#,
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
}
