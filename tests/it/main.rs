//! The production router and the function's binary on emulators. Each module tests one part of the contract.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

mod body_rules;
mod configuration;
mod contract;
mod cost;
mod erasure;
mod examples;
mod faults;
mod figures;
mod fronts;
mod golden;
mod infrastructure;
mod json_suite;
mod lambda;
mod policies;
mod properties;
mod reads;
mod reads_bounds;
mod reads_edges;
mod reads_query;
mod rotation;
mod signature;
mod sockets;
mod start;
mod store;
mod telemetry;
mod template;
mod transport;
