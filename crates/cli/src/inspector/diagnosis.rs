//! What a signature that was refused may be of. Told to the person at this machine, never to the sender:
//! whoever forges learns nothing from an answer.

use axum::http::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sonotheia_webhook::signature::{Secret, Signature};

use crate::failure::Failure;

/// The secret, and what it is mistaken for.
pub struct Keys {
    secret: Secret,
    /// Other keys, and what it means that a signature is theirs.
    others: Vec<(Secret, &'static str)>,
}

impl Keys {
    /// Keys for a secret and perhaps the one before.
    pub fn new(text: &str, previous: Option<&str>) -> Result<Self, Failure> {
        let mut others = Vec::new();
        let mut other = |key: &[u8], means| {
            if key != text.as_bytes()
                && let Ok(key) = Secret::new(key)
            {
                others.push((key, means));
            }
        };
        if let Some(previous) = previous {
            let means =
                "It is valid for the previous secret. On AWS it would be accepted while that is AWSPREVIOUS.";
            other(previous.as_bytes(), means);
        }
        let means =
            "It was made with the secret and a line break at its end: the sender reads it from a file.";
        other(format!("{text}\n").as_bytes(), means);
        other(format!("{text}\r\n").as_bytes(), means);
        let means =
            "It was made with the secret less the blanks at its ends: those of the receiver's are too many.";
        other(text.trim().as_bytes(), means);
        let means = "It was made with the secret in quotation marks.";
        other(format!("\"{text}\"").as_bytes(), means);
        let means = "It was made with the bytes that the secret's hex digits stand for; its text is the key.";
        other(&from_hex(text).unwrap_or_default(), means);
        let means = "It was made with the bytes that the secret stands for in base64; its text is the key.";
        other(&STANDARD.decode(text).unwrap_or_default(), means);
        Ok(Self {
            secret: Secret::new(text)?,
            others,
        })
    }

    /// The secret itself.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// What is wrong with the signatures of a body that was refused; none where that can't be told.
    pub fn other_secret(&self, signatures: &[HeaderValue], body: &[u8]) -> Option<String> {
        let [value] = signatures else {
            return Some(if signatures.is_empty() {
                "There is no X-Sonotheia-Signature header.".to_owned()
            } else {
                "There is more than one X-Sonotheia-Signature header.".to_owned()
            });
        };
        let Ok(signature) = Signature::parse(value.as_bytes()) else {
            return Some(
                "The signature is not 64 hex digits, with or without `sha256=` in front.".to_owned(),
            );
        };
        let other = self.others.iter().find(|(key, _)| key.verify(body, &signature));
        if let Some((_, means)) = other {
            return Some((*means).to_owned());
        }
        let of = other_bodies(body);
        let of = of
            .into_iter()
            .find(|(body, _)| self.secret.verify(body, &signature));
        of.map(|(_, means)| format!("It is the signature of a different body: {means}."))
    }
}

/// A signature that can be read, in one spelling.
pub fn normal(value: &[u8]) -> Option<String> {
    Signature::parse(value)
        .ok()
        .map(|signature| signature.to_string())
}

/// What becomes of a body on the way, when it is not handled as bytes.
fn other_bodies(body: &[u8]) -> Vec<(Vec<u8>, &'static str)> {
    let mut bodies = vec![
        (Vec::new(), "an empty one"),
        ([body, b"\n"].concat(), "this one with a line break at its end"),
    ];
    let trimmed = body.trim_ascii();
    if trimmed != body {
        bodies.push((trimmed.to_vec(), "this one without the blanks at its ends"));
    }
    let Ok(text) = std::str::from_utf8(body) else {
        return bodies;
    };
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        let means = "this JSON with other blanks; it was parsed and written anew on the way";
        for separators in [[",", ":"], [", ", ": "]] {
            bodies.push((respaced(text, separators).into_bytes(), means));
        }
    }
    bodies
}

/// JSON with these separators and no other blanks.
fn respaced(text: &str, [comma, colon]: [&str; 2]) -> String {
    let mut respaced = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        if in_string {
            respaced.push(c);
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            ' ' | '\t' | '\n' | '\r' => {}
            ',' => respaced.push_str(comma),
            ':' => respaced.push_str(colon),
            _ => {
                in_string = c == '"';
                respaced.push(c);
            }
        }
    }
    respaced
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "68656c6c6f20776f";
    const BODY: &str = r#"{ "id": "a, b: \"c\"", "data": {} }"#;

    fn told(key: impl AsRef<[u8]>, body: &str) -> Option<String> {
        let keys = Keys::new(TEXT, Some("the old one")).expect("keys");
        let signature = Secret::new(key).expect("a key").sign(body.as_bytes());
        let value = HeaderValue::from_str(&signature.to_string()).expect("ASCII");
        keys.other_secret(&[value], BODY.as_bytes())
    }

    #[test]
    fn what_a_signature_is_of_is_told_where_it_can_be() {
        for (key, body, says) in [
            ("the old one", BODY, "previous secret"),
            ("68656c6c6f20776f\n", BODY, "line break"),
            ("hello wo", BODY, "hex digits"),
            ("\"68656c6c6f20776f\"", BODY, "quotation"),
            (TEXT, "", "an empty one"),
            (TEXT, &format!("{BODY}\n"), "line break at its end"),
            (TEXT, r#"{"id":"a, b: \"c\"","data":{}}"#, "other blanks"),
            (TEXT, r#"{"id": "a, b: \"c\"", "data": {}}"#, "other blanks"),
        ] {
            let told = told(key, body);
            assert!(
                told.as_ref().is_some_and(|told| told.contains(says)),
                "{says}: {told:?}"
            );
        }
        assert_eq!(told("somebody's", BODY), None);
        assert_eq!(told(TEXT, "another body"), None);
    }

    #[test]
    fn a_header_that_is_missing_repeated_or_malformed_is_told() {
        let keys = Keys::new(TEXT, None).expect("keys");
        let value = |text| HeaderValue::from_static(text);
        let told = |values: &[HeaderValue]| keys.other_secret(values, b"").unwrap_or_default();
        assert!(told(&[]).contains("no X-Sonotheia-Signature"));
        assert!(told(&[value("a"), value("a")]).contains("more than one"));
        assert!(told(&[value("test_signature")]).contains("64 hex digits"));
    }
}
