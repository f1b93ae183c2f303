//! Tools for tests, chaos, measure and fuzz.

#![forbid(unsafe_code)]

mod receiver;

pub use receiver::*;
