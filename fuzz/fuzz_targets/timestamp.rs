//! Times as text.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| properties::timestamp(text));
