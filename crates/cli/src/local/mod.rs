//! Commands that run the receiver, or its back ends, on this machine.

pub mod back_ends;
pub mod backends;
pub mod serve;
