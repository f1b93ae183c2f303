//! The real router on real emulators. One binary; a module a promise.
#![expect(
    clippy::unwrap_used,
    reason = "a test that can't go on should stop where it stands"
)]

mod configuration;
mod contract;
mod cost;
mod faults;
mod gateway;
mod infrastructure;
mod json_suite;
mod lambda;
mod policies;
mod properties;
mod reads;
mod reads_edges;
mod rotation;
mod signature;
mod telemetry;
mod template;
