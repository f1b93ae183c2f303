//! Arguments and output that several commands share.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
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

/// Ends with status 2, for arguments that don't go together in a way that their parser can't know.
pub fn usage(text: &str) -> ! {
    clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{text}\n")).exit()
}

/// A value of our own types as JSON text.
pub fn json(value: &impl Serialize) -> String {
    // Their maps have string keys, and their numbers are finite: there is nothing that can't be written.
    serde_json::to_string(value).unwrap_or_default()
}

/// A word to a person beside the output. Where standard error is closed, nobody misses it.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes text to standard output.
pub fn print(text: &str) -> Result<(), Failure> {
    write(text.as_bytes())
}

/// Writes to standard output, at once: whoever waits for a line through a pipe gets it now.
pub fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(Failure::Output)
}

/// Random bytes as hex digits.
pub fn random_hex<const BYTES: usize>() -> Result<String, Failure> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}

/// Reads a region, which becomes a part of a host's name.
pub fn region(text: &str) -> Result<String, &'static str> {
    let is_region = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_region {
        Ok(text.to_owned())
    } else {
        Err("is not a region like eu-central-1")
    }
}
