//! The data of an event.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| properties::content_hash(text));
