//! Values of the signature header. The receiver accepts 64 hex digits, and nothing else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sonotheia_webhook::signature::Signature;
use sonotheia_webhook_fuzz::{secret, sign};

const BODY: &[u8] = b"{}";

fuzz_target!(|value: &[u8]| {
    let text = String::from_utf8_lossy(value);
    let text = text.trim_matches([' ', '\t', '\n', '\r', '\x0c']);
    let digits = text.strip_prefix("sha256=").unwrap_or(text).to_lowercase();
    let (high, low) = digits.split_at_checked(32).unwrap_or_default();
    let number = |half: &str| {
        u128::from_str_radix(half, 16)
            .ok()
            .filter(|_| !half.starts_with('+'))
    };
    let is_one = digits.len() == 64 && number(high).is_some() && number(low).is_some();

    match Signature::parse(value) {
        Ok(signature) => {
            assert!(is_one, "{text:?} is accepted");
            assert_eq!(signature.to_string(), digits);
            assert_eq!(secret().verify(BODY, &signature), digits == sign(BODY));
        }
        Err(_) => assert!(!is_one, "{text:?} is rejected"),
    }
});
