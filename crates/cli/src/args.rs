//! Arguments and output that several commands share.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use sonotheia_webhook::signature::Secret;

use crate::failure::Failure;

const SECRET: &str = "SONOTHEIA_WEBHOOK_SECRET";

/// The signing secret.
#[derive(Args)]
pub struct SecretArg {
    /// The secret that sender and receiver share [env: SONOTHEIA_WEBHOOK_SECRET]
    #[arg(long, value_name = "TEXT", value_parser = |text: &str| Secret::new(text))]
    secret: Option<Secret>,
}

/// The place that a secret came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretOrigin {
    /// The option `--secret`.
    Option,
    /// The variable `SONOTHEIA_WEBHOOK_SECRET`.
    Variable,
    /// The `serve` of the same user on this machine.
    Serve,
}

impl std::fmt::Display for SecretOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Option => "--secret",
            Self::Variable => SECRET,
            Self::Serve => "the `serve` at this address",
        })
    }
}

impl SecretArg {
    /// The secret that was typed, or else the variable's. Ends with status 2 if there is no secret, or an empty secret.
    pub fn secret(self) -> (Secret, SecretOrigin) {
        if let Some(secret) = self.secret {
            return (secret, SecretOrigin::Option);
        }
        let Some(text) = std::env::var_os(SECRET).filter(|text| !text.is_empty()) else {
            usage(&format!(
                "no secret was given; use --secret TEXT, or set {SECRET}"
            ));
        };
        match Secret::new(text.as_encoded_bytes()) {
            Ok(secret) => (secret, SecretOrigin::Variable),
            Err(error) => usage(&format!("{SECRET}: {error}")),
        }
    }
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

/// Ends with status 2, for arguments that their parser cannot judge.
pub fn usage(text: &str) -> ! {
    clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{text}\n")).exit()
}

/// A value of this program's own types as JSON text.
pub fn json(value: &impl Serialize) -> String {
    // Their maps have string keys and their numbers are finite, so that this does not fail.
    serde_json::to_string(value).unwrap_or_default()
}

/// Writes a line for a person to standard error. If standard error is closed, nobody reads the line.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes text to standard output.
pub fn print(text: &str) -> Result<(), Failure> {
    write(text.as_bytes())
}

/// Writes to standard output, and flushes it: a reader that waits for a line through a pipe gets the line now.
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

/// Reads a region. A region becomes a part of a host's name.
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
