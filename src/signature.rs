//! HMAC-SHA256 over the raw body (contract, section 1; RFC 2104, FIPS 198-1). This module knows no HTTP, no AWS and no
//! clock.
//!
//! ```
//! use sonotheia_webhook::signature::{Secret, Signature};
//!
//! let secret = Secret::new("a shared secret")?;
//! let header = secret.sign(b"{}").to_string();
//! assert!(secret.verify(b"{}", &Signature::parse(header.as_bytes())?));
//! assert!(!secret.verify(b"{ }", &Signature::parse(header.as_bytes())?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// A signing secret, ready to sign and verify.
///
/// It keeps only the keyed state of the HMAC, so nobody can get the secret's text back, and `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Secret(Hmac<Sha256>);

/// The secret is empty, so that anyone could sign with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signing secret is empty")]
pub struct EmptySecret;

impl Secret {
    /// Keys the HMAC with the bytes of `key`, exactly as they are. For a secret that is text, these are its UTF-8 bytes.
    ///
    /// # Errors
    /// [`EmptySecret`] if `key` is empty.
    pub fn new(key: impl AsRef<[u8]>) -> Result<Self, EmptySecret> {
        let key = key.as_ref();
        if key.is_empty() {
            return Err(EmptySecret);
        }
        Hmac::new_from_slice(key).map(Self).map_err(|_| EmptySecret)
    }

    /// Signs `body`.
    pub fn sign(&self, body: &[u8]) -> Signature {
        Signature(self.0.clone().chain_update(body).finalize().into_bytes().into())
    }

    /// Returns true if `signature` is this secret's signature of `body`. The comparison takes constant time: it does not
    /// show how many bytes are right.
    pub fn verify(&self, body: &[u8], signature: &Signature) -> bool {
        self.sign(body).0.ct_eq(&signature.0).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// 32 bytes that claim to be an HMAC-SHA256. `Display` writes 64 lower-case hex digits.
#[derive(Clone, Copy)]
pub struct Signature([u8; 32]);

/// The header's value is not a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signature has 64 hex digits, with or without `sha256=` in front")]
pub struct MalformedSignature;

impl Signature {
    /// Reads the value of a header: 64 hex digits of any case, one optional `sha256=` in front, and blanks around it.
    ///
    /// # Errors
    /// [`MalformedSignature`] for anything else.
    pub fn parse(value: &[u8]) -> Result<Self, MalformedSignature> {
        let value = value.trim_ascii();
        let digits = value.strip_prefix(b"sha256=").unwrap_or(value);
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| MalformedSignature)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_may_have_a_prefix_any_case_and_outer_blanks() {
        let secret = Secret::new("secret").expect("not empty");
        let bare = secret.sign(b"body").to_string();
        for value in [
            bare.clone(),
            bare.to_uppercase(),
            format!("sha256={bare}"),
            format!(" \tsha256={bare} "),
        ] {
            let parsed = Signature::parse(value.as_bytes()).expect(&value);
            assert!(secret.verify(b"body", &parsed), "{value}");
        }
    }

    #[test]
    fn anything_but_64_hex_digits_is_malformed() {
        let bare = "0".repeat(64);
        for value in [
            String::new(),
            bare[1..].to_owned(),
            format!("{bare}0"),
            format!("sha256=sha256={bare}"),
            format!("sha256= {bare}"),
            format!("sha1={bare}"),
            format!("{bare},{bare}"),
            format!("+{}", &bare[1..]),
            format!("{}g", &bare[1..]),
            format!("\u{ff10}{}", &bare[3..]),
        ] {
            assert!(Signature::parse(value.as_bytes()).is_err(), "{value}");
        }
    }

    #[test]
    fn an_empty_secret_is_an_error() {
        assert!(Secret::new("").is_err());
    }

    #[test]
    fn debug_shows_neither_secret_nor_signature() {
        let secret = Secret::new("hunter2").expect("not empty");
        assert_eq!(format!("{secret:?}"), "Secret(redacted)");
        assert_eq!(format!("{:?}", secret.sign(b"")), "Signature(redacted)");
    }
}
