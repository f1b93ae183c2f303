//! A webhook receiver for the Sonotheia API: it verifies each event, stores it once, and lets applications read it.
//!
//! Data goes one way.
//!
//! 1. A request reaches the [`router`], from Lambda through [`lambda`] or from a socket.
//! 2. [`webhook`] reads the body, and [`secrets`] checks its [`signature`].
//! 3. [`ingest`] makes an [`event`] of the body with the help of [`json`], judges it, and hands it to the [`store`]. One
//!    conditional write dedupes and stores the event.
//! 4. The result becomes an answer or an [`error`], which knows its status. [`telemetry`] writes the log line.
//! 5. [`results`] reads the store.
//!
//! At start, [`config`] reads the environment, [`aws`] builds the clients, and [`app`] holds the parts together. The parts
//! get the time and random bytes from [`sources`].

#![forbid(unsafe_code)]

pub mod app;
pub mod aws;
pub mod cause;
pub mod config;
pub mod deadline;
pub mod error;
pub mod event;
pub mod ingest;
pub mod json;
pub mod lambda;
pub mod results;
pub mod router;
pub mod secrets;
pub mod signature;
pub mod sources;
pub mod store;
pub mod telemetry;
pub mod timestamp;
pub mod webhook;
