//! Bodies as the event parser reads them.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| properties::event(input));
