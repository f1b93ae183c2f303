//! Properties that hold for every input. Each of them is one function that panics if the receiver breaks it.
//!
//! | Property | Holds for |
//! |---|---|
//! | [`signature_header`], [`signature_check`] | every value of the signature header |
//! | [`timestamp`], [`printed_times_sort`] | every text as a time; every two moments |
//! | [`content_hash`] | every JSON object as the data of an event |
//! | [`event`] | every body |
//! | [`cursor`], [`router`], [`round_trip`] | every cursor, request and signed body, on the production router and an emulator |
//!
//! The same function runs in three ways:
//!
//! - as a test: `cargo test -p properties` tries every input up to a bound (`tests/bounds.rs`), random inputs
//!   (`tests/random.rs`) and the inputs of `fuzz/corpus` (`tests/corpus.rs`);
//! - as a fuzz target: `fuzz/run` compiles the targets of `fuzz/fuzz_targets` with libFuzzer's coverage;
//! - as a proof: `cargo kani -p properties` checks the pure properties for every input of a bounded length
//!   (`src/proofs.rs`). Kani's installer downloads a compiler, so CI does not run it, and these proofs have not run yet.

mod content_hash;
mod cursor;
mod event;
#[cfg(kani)]
mod proofs;
mod receiver;
mod round_trip;
mod router;
mod signature_header;
mod timestamp;

pub use content_hash::content_hash;
pub use cursor::{cursor, cursors};
pub use event::event;
pub use round_trip::round_trip;
pub use router::router;
pub use signature_header::{signature_check, signature_header};
pub use timestamp::{printed_times_sort, timestamp};

/// Returns the hash of the type and the data of an event, or `None` if it is no event. `data` is the text of the object.
pub fn hash_of(data: &str) -> Option<[u8; 32]> {
    let body = format!(r#"{{"id":"id","type":"t","data":{data}}}"#);
    let event = sonotheia_webhook::event::Event::parse(body.as_bytes(), 0.8);
    event.ok().map(|event| event.content_hash)
}
