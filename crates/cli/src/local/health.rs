//! `health`: asks a receiver whether it runs. An image that has no other program uses it as its health check.

use std::time::Duration;

use axum::http::Uri;
use clap::Args;
use serde::Deserialize;

use super::ports;
use crate::address::{self, Address};
use crate::args::print;
use crate::client::{self, Answer};
use crate::failure::Failure;
use crate::remote::RemoteError;

/// How long the receiver may take.
const TIMEOUT: Duration = Duration::from_secs(4);

/// The longest answer that is read, in bytes.
const MAX_BYTES: u64 = 4096;

/// Ask a receiver whether it runs; status 0 if it does
#[derive(Args)]
pub struct Health {
    /// The receiver; without it, the `serve` on this machine, at the port in PORT or 8080
    #[arg(long, value_parser = Address::parse)]
    url: Option<Address>,
}

/// The body of the answer.
#[derive(Deserialize)]
struct Body {
    status: String,
    version: String,
}

impl Health {
    /// Asks, and prints the receiver's version.
    pub fn run(self) -> Result<(), Failure> {
        let base = match &self.url {
            Some(url) => url.base().clone(),
            None => Uri::try_from(format!("http://127.0.0.1:{}", ports::port(None)?)).unwrap_or_default(),
        };
        let url = address::join(&base, "/health");
        client::check(&url)?;
        let config = client::config(&url).timeout_global(Some(TIMEOUT)).build();
        let answer = Answer::read(&url, config.new_agent().get(&url).call(), MAX_BYTES)?;
        let from = url.to_string();
        match (answer.status, serde_json::from_slice::<Body>(&answer.body)) {
            (200, Ok(body)) if body.status == "ok" => {
                let version: String = body.version.chars().take(40).collect();
                print(&format!(
                    "{from} is a receiver of version {}\n",
                    crate::show::clean(&version)
                ))
            }
            (200, _) => Err(RemoteError::NotOurs.into()),
            (status, _) => Err(RemoteError::Answered {
                from,
                status,
                message: None,
            }
            .into()),
        }
    }
}
