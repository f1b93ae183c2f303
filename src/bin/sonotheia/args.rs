//! Arguments and output that several commands share.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use clap::Args;
use sonotheia_webhook::signature::Secret;

use crate::failure::Failure;

/// The signing secret.
#[derive(Args)]
pub struct SecretArg {
    /// The secret that sender and receiver share
    #[arg(long, env = "SONOTHEIA_WEBHOOK_SECRET", hide_env_values = true, value_parser = |text: &str| Secret::new(text))]
    pub secret: Secret,
}

/// Reads a file, or standard input where it is `-`.
pub fn read(file: &PathBuf) -> Result<Vec<u8>, Failure> {
    let bytes = if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    bytes.map_err(|source| Failure::Read {
        file: file.clone(),
        source,
    })
}

/// Writes to standard output, at once: whoever waits for a line through a pipe gets it now.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Failure::Output)
}
