//! Commands that run the receiver, or its back ends, on this machine.

pub mod backends;
mod config;
mod data;
mod deliveries;
pub mod demo;
mod dynamodb;
mod embedded;
mod front;
pub mod guard;
pub mod health;
mod kept_secret;
mod log;
pub mod mock_api;
mod on_table;
pub mod ports;
pub mod private;
pub mod running;
pub mod serve;
mod server;

pub use kept_secret::KeptSecretError;
