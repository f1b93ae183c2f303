//! Tools for tests, chaos, measure and fuzz.

#![forbid(unsafe_code)]

mod log;
mod proxy;
mod receiver;
mod requests;

use tokio::net::TcpListener;

pub use log::Log;
pub use proxy::{Fault, Proxy, REQUEST_ID};
pub use receiver::{Answer, Receiver};
pub use requests::{SECRET, TABLE, at, deepfake, post, sign, signed};

/// A listener on a free loopback port.
pub async fn loopback() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a loopback port")
}
