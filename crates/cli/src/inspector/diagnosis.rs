//! The cause of an invalid signature: another secret, another body, or another form of either.
//!
//! Only the person at this machine learns the cause. The sender's answer does not have it, so it helps no forger.

use axum::http::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sonotheia_webhook::signature::{Secret, Signature};

use crate::failure::Failure;

/// The shortest secret that is looked for inside of other texts. A shorter one would hide ordinary words.
const MIN_HIDDEN: usize = 8;

/// The secret, and the keys that people take for it.
pub struct Keys {
    secret: Secret,
    /// Other keys, and the cause that a signature made with each of them shows.
    others: Vec<(Secret, &'static str)>,
    /// The texts of the secrets, which the page never shows.
    texts: Vec<String>,
}

impl Keys {
    /// The keys of a secret, and of the secret before it.
    ///
    /// # Errors
    /// The secret is empty.
    pub fn new(text: &str, previous: Option<&str>) -> Result<Self, Failure> {
        let mut others = Vec::new();
        let mut other = |key: &[u8], cause| {
            if key != text.as_bytes()
                && let Ok(key) = Secret::new(key)
            {
                others.push((key, cause));
            }
        };
        if let Some(previous) = previous {
            let cause = "The signature was made with the previous secret. On AWS the receiver accepts it while that secret is \
                         AWSPREVIOUS.";
            other(previous.as_bytes(), cause);
        }
        let cause = "The signature was made with the secret and a line break. The sender may read the secret from a file; \
                     remove the line break at its end.";
        other(format!("{text}\n").as_bytes(), cause);
        other(format!("{text}\r\n").as_bytes(), cause);
        let cause = "The signature was made with the secret without the blanks at its ends. Remove these blanks from the \
                     receiver's secret.";
        other(text.trim().as_bytes(), cause);
        let cause = "The signature was made with the secret in quotation marks. Remove them from the sender's secret.";
        other(format!("\"{text}\"").as_bytes(), cause);
        let cause = "The signature was made with the bytes that the secret's hex digits stand for. Use the text itself as the \
                     key.";
        other(&from_hex(text).unwrap_or_default(), cause);
        let cause = "The signature was made with the bytes that the secret stands for in base64. Use the text itself as the key.";
        other(&STANDARD.decode(text).unwrap_or_default(), cause);
        let texts = [Some(text), previous].into_iter().flatten();
        Ok(Self {
            secret: Secret::new(text)?,
            others,
            texts: texts.map(str::to_owned).collect(),
        })
    }

    /// The secret itself.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Returns true if a text holds a secret.
    pub fn is_in(&self, text: &str) -> bool {
        let holds =
            |secret: &String| text == secret || secret.len() >= MIN_HIDDEN && text.contains(secret.as_str());
        self.texts.iter().any(holds)
    }

    /// Finds the cause why the signatures of a body are not valid. `None` if no known cause fits.
    pub fn diagnose(&self, signatures: &[HeaderValue], body: &[u8]) -> Option<String> {
        let [value] = signatures else {
            return Some(if signatures.is_empty() {
                "There is no X-Sonotheia-Signature header.".to_owned()
            } else {
                "There is more than one X-Sonotheia-Signature header.".to_owned()
            });
        };
        let Ok(signature) = Signature::parse(value.as_bytes()) else {
            return Some(
                "The signature is not 64 hex digits, with or without `sha256=` before them.".to_owned(),
            );
        };
        let other = self.others.iter().find(|(key, _)| key.verify(body, &signature));
        if let Some((_, cause)) = other {
            return Some((*cause).to_owned());
        }
        let bodies = other_bodies(body).into_iter();
        let mut signed = bodies.filter(|(body, _)| self.secret.verify(body, &signature));
        signed
            .next()
            .map(|(_, name)| format!("The signature belongs to another body: {name}."))
    }
}

/// A signature in one spelling. `None` if it is malformed.
pub fn normal(value: &[u8]) -> Option<String> {
    Signature::parse(value)
        .ok()
        .map(|signature| signature.to_string())
}

/// The bodies that a sender or a proxy makes of a body when it does not handle the body as bytes.
fn other_bodies(body: &[u8]) -> Vec<(Vec<u8>, &'static str)> {
    let mut bodies = vec![
        (Vec::new(), "an empty body"),
        ([body, b"\n"].concat(), "this body with a line break at its end"),
    ];
    let trimmed = body.trim_ascii();
    if trimmed != body {
        bodies.push((trimmed.to_vec(), "this body without the blanks at its ends"));
    }
    let Ok(text) = std::str::from_utf8(body) else {
        return bodies;
    };
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        let name = "this JSON with other blanks; a program on the way parsed it and wrote it again";
        for separators in [[",", ":"], [", ", ": "]] {
            bodies.push((respaced(text, separators).into_bytes(), name));
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

    fn diagnosed(key: impl AsRef<[u8]>, body: &str) -> Option<String> {
        let keys = Keys::new(TEXT, Some("the old one")).expect("keys");
        let signature = Secret::new(key).expect("a key").sign(body.as_bytes());
        let value = HeaderValue::from_str(&signature.to_string()).expect("ASCII");
        keys.diagnose(&[value], BODY.as_bytes())
    }

    #[test]
    fn a_known_cause_of_an_invalid_signature_is_found() {
        for (key, body, says) in [
            ("the old one", BODY, "previous secret"),
            ("68656c6c6f20776f\n", BODY, "line break"),
            ("hello wo", BODY, "hex digits"),
            ("\"68656c6c6f20776f\"", BODY, "quotation"),
            (TEXT, "", "an empty body"),
            (TEXT, &format!("{BODY}\n"), "line break at its end"),
            (TEXT, r#"{"id":"a, b: \"c\"","data":{}}"#, "other blanks"),
            (TEXT, r#"{"id": "a, b: \"c\"", "data": {}}"#, "other blanks"),
        ] {
            let cause = diagnosed(key, body);
            assert!(
                cause.as_ref().is_some_and(|cause| cause.contains(says)),
                "{says}: {cause:?}"
            );
        }
        assert_eq!(diagnosed("somebody's", BODY), None);
        assert_eq!(diagnosed(TEXT, "another body"), None);
    }

    #[test]
    fn a_missing_repeated_or_malformed_header_is_found() {
        let keys = Keys::new(TEXT, None).expect("keys");
        let value = |text| HeaderValue::from_static(text);
        let cause = |values: &[HeaderValue]| keys.diagnose(values, b"").unwrap_or_default();
        assert!(cause(&[]).contains("no X-Sonotheia-Signature"));
        assert!(cause(&[value("a"), value("a")]).contains("more than one"));
        assert!(cause(&[value("test_signature")]).contains("64 hex digits"));
    }

    #[test]
    fn a_text_that_holds_a_secret_is_recognised() {
        let keys = Keys::new(TEXT, Some("s")).expect("keys");
        assert!(keys.is_in(TEXT) && keys.is_in("Bearer 68656c6c6f20776f") && keys.is_in("s"));
        assert!(!keys.is_in("sha256") && !keys.is_in(&TEXT[1..]));
    }
}
