//! Commands that run the receiver, or its back ends, on this machine.

pub mod back_ends;
pub mod backends;
pub mod demo;
pub mod mock_api;
pub mod serve;
