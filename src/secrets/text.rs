//! The text of a secret's version: a plain string, or a JSON object with `webhook_secret` (contract, section 5).
//!
//! A slip of the operator must not become the key. So a text that looks like a JSON object, and is not the right one, is
//! unusable: anyone who knows the slip would know the key, and every delivery would get a 401.

use serde::Deserialize;

use crate::signature::EmptySecret;

/// The name of the object's member.
const MEMBER: &str = "webhook_secret";

/// A version that is no usable secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableSecret {
    /// The version holds bytes and no text.
    #[error("it is binary; store a string, or a JSON object with `webhook_secret`")]
    Binary,
    /// The version is empty, or holds blanks only.
    #[error("it is empty; store a string, or a JSON object with `webhook_secret`")]
    Empty,
    /// The text looks like JSON with a secret in it, and no JSON parser reads it as an object.
    #[error(
        "it looks like JSON, but it is not a JSON object; store {{\"webhook_secret\":\"…\"}}, or the plain secret"
    )]
    Malformed,
    /// The JSON object has no `webhook_secret`, has it twice, or has one that is not a string.
    #[error(
        "it is a JSON object without one string `webhook_secret`; store {{\"webhook_secret\":\"…\"}}, or the plain secret"
    )]
    NoWebhookSecret,
}

impl From<EmptySecret> for UnusableSecret {
    fn from(_: EmptySecret) -> Self {
        Self::Empty
    }
}

/// Reads the key from a version's text, which is `None` if the version is binary.
///
/// A plain string is the key exactly as it is, with blanks and line breaks.
///
/// # Errors
/// [`UnusableSecret`].
pub fn key(text: Option<&str>) -> Result<String, UnusableSecret> {
    #[derive(Deserialize)]
    struct Object {
        webhook_secret: String,
    }
    let text = text.ok_or(UnusableSecret::Binary)?;
    let is_object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok();
    let key = match (is_object, looks_like_json(text)) {
        (true, _) => {
            serde_json::from_str::<Object>(text)
                .map_err(|_| UnusableSecret::NoWebhookSecret)?
                .webhook_secret
        }
        (false, true) => return Err(UnusableSecret::Malformed),
        (false, false) => text.to_owned(),
    };
    // Anyone can guess a key of blanks, so it is a slip, too.
    if key.trim().is_empty() {
        return Err(UnusableSecret::Empty);
    }
    Ok(key)
}

/// Returns true if the text begins like a JSON object, perhaps behind blanks, a byte order mark, quotes or a bracket, or
/// if it gives a value to `webhook_secret`, or is that name and nothing else.
fn looks_like_json(text: &str) -> bool {
    let wrapping =
        |c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '"' | '\'' | '`' | '\\' | '[' | '(');
    let is_named = text.match_indices(MEMBER).any(|(at, member)| {
        let behind = text[at + member.len()..].trim_start_matches(wrapping);
        behind.starts_with([':', '='])
    });
    is_named || text.trim_matches(wrapping) == MEMBER || text.trim_start_matches(wrapping).starts_with('{')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_string_is_the_key_exactly_as_it_is() {
        for text in [
            "s",
            " s ",
            "s\n",
            "a{b}c",
            "}{",
            "\"quoted\"",
            "[1]",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "acme_webhook_secret_7f3a",
            "webhook_secret_7f3a=",
            "é",
        ] {
            assert_eq!(key(Some(text)).as_deref(), Ok(text));
        }
    }

    #[test]
    fn an_object_gives_its_member() {
        for text in [
            r#"{"webhook_secret":"s"}"#,
            " \n{ \"other\": [1], \"webhook_secret\" : \"s\" }\n",
            r#"{"webhook_secret":"\u0073"}"#,
        ] {
            assert_eq!(key(Some(text)).as_deref(), Ok("s"), "{text}");
        }
    }

    #[test]
    fn a_text_that_looks_like_an_object_never_becomes_the_key() {
        for text in [
            "\u{feff}{\"webhook_secret\":\"s\"}",
            r#"{"webhook_secret":"s",}"#,
            "{'webhook_secret':'s'}",
            r#""{\"webhook_secret\":\"s\"}""#,
            r#"'{"webhook_secret":"s"}'"#,
            r#"{\"webhook_secret\":\"s\"}"#,
            r#"[{"webhook_secret":"s"}]"#,
            r#"{"webhook_secret":"s""#,
            r#""webhook_secret":"s"}"#,
            "{webhook_secret: s}",
            "webhook_secret=s",
            "webhook_secret",
            "\"webhook_secret\"",
            "export SONOTHEIA_webhook_secret = s",
            "{",
            r#"{"webhook_secret":"s"} {}"#,
        ] {
            assert_eq!(key(Some(text)), Err(UnusableSecret::Malformed), "{text}");
        }
    }

    #[test]
    fn an_object_without_one_string_is_not_usable() {
        for text in [
            "{}",
            r#"{"secret":"s"}"#,
            r#"{"webhook_secret":null}"#,
            r#"{"webhook_secret":7}"#,
            r#"{"webhook_secret":["s"]}"#,
            r#"{"webhook_secret":"s","webhook_secret":"t"}"#,
        ] {
            assert_eq!(key(Some(text)), Err(UnusableSecret::NoWebhookSecret), "{text}");
        }
    }

    #[test]
    fn an_empty_or_binary_version_is_not_usable() {
        for text in [
            "",
            " \n\t",
            r#"{"webhook_secret":""}"#,
            r#"{"webhook_secret":" "}"#,
        ] {
            assert_eq!(key(Some(text)), Err(UnusableSecret::Empty), "{text}");
        }
        assert_eq!(key(None), Err(UnusableSecret::Binary));
    }
}
