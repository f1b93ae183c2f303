//! Tools for tests, chaos, measure and fuzz.
//!
//! [`Receiver`] is the production router on an embedded DynamoDB. [`Function`] is the function's binary as a process
//! under a [`RuntimeApi`]. A [`Proxy`] stands between either of them and a back end, and breaks requests.

#![forbid(unsafe_code)]

mod fault;
mod function;
pub mod http;
mod log;
mod proxy;
mod receiver;
mod requests;
pub mod runtime_api;

use tokio::net::TcpListener;

pub use fault::{Fault, Faults};
pub use function::{Function, Memory, memory};
pub use log::Log;
pub use proxy::{Ending, Proxy, REQUEST_ID};
pub use receiver::{Answer, Receiver, Reply};
pub use requests::{SECRET, TABLE, at, deepfake, post, rejected_key, sign, signed};
pub use runtime_api::RuntimeApi;

/// A listener on a free loopback port.
pub async fn loopback() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a loopback port")
}
