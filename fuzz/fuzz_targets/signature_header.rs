//! Values of the signature header.
#![no_main]

libfuzzer_sys::fuzz_target!(|value: &[u8]| {
    properties::signature_header(value);
    properties::signature_check(value);
});
