//! Values of the signature header.

use sonotheia_webhook::signature::Signature;

use crate::receiver::{secret, sign};

const BODY: &[u8] = b"{}";

/// The receiver reads 64 hex digits with or without `sha256=` and outer blanks, and nothing else. Pure.
pub fn signature_header(value: &[u8]) {
    match (Signature::parse(value), digits(value)) {
        (Ok(signature), Some(digits)) => assert_eq!(signature.to_string(), digits),
        (Err(_), None) => {}
        (Ok(_), None) => panic!("{} is accepted", value.escape_ascii()),
        (Err(_), Some(_)) => panic!("{} is rejected", value.escape_ascii()),
    }
}

/// A signature that the receiver reads is right if it has the digits of the body's signature, and only then.
pub fn signature_check(value: &[u8]) {
    if let Ok(signature) = Signature::parse(value) {
        let is_right = digits(value).is_some_and(|digits| digits == sign(BODY));
        assert_eq!(secret().verify(BODY, &signature), is_right);
    }
}

/// The hex digits of a header's value, in lower case, by the words of the contract.
fn digits(value: &[u8]) -> Option<String> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0c');
    let start = value.iter().position(|byte| !is_blank(byte))?;
    let end = value.iter().rposition(|byte| !is_blank(byte))?;
    let mut rest = &value[start..=end];
    if rest.len() == "sha256=".len() + 64 && rest.starts_with(b"sha256=") {
        rest = &rest["sha256=".len()..];
    }
    let is_one = rest.len() == 64 && rest.iter().all(u8::is_ascii_hexdigit);
    is_one.then(|| {
        rest.iter()
            .map(|byte| char::from(byte.to_ascii_lowercase()))
            .collect()
    })
}
