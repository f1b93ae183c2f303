//! A webhook receiver for the Sonotheia API: every signed event verified, stored once, and readable.
//!
//! Data goes one way. A request reaches the [`http`] router, from Lambda through [`gateway`] or from a
//! socket. [`webhook`] reads the body, has [`secrets`] check its [`signature`], makes an [`event`] of it
//! with what [`json`] reads, and gives it to the [`store`], whose one conditional write dedupes and
//! keeps it in the same breath. What can go wrong on the way is an [`error`], which knows its status;
//! what happened is told by [`telemetry`]. [`results`] reads the store again.
//!
//! [`config`] is read once at start, [`aws`] builds the clients by it on [`https`], and [`app`] holds it all together.

#![forbid(unsafe_code)]

pub mod app;
pub mod aws;
pub mod cause;
pub mod config;
pub mod error;
pub mod event;
pub mod gateway;
pub mod http;
pub mod https;
pub mod json;
#[cfg(feature = "cli")]
pub mod local;
pub mod results;
#[cfg(feature = "cli")]
pub mod samples;
pub mod secrets;
pub mod signature;
pub mod store;
pub mod telemetry;
pub mod timestamp;
pub mod webhook;
