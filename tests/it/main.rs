//! The production router and the function's binary on emulators. Each module tests one part of the contract.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

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
