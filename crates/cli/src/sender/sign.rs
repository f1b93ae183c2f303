//! `sign` and `verify`: make and check a signature by hand.

use std::path::PathBuf;

use clap::Args;
use sonotheia_webhook::signature::Signature;

use crate::args::{SecretArg, print, read};
use crate::failure::Failure;

/// Print the signature of a file's bytes
#[derive(Args)]
pub struct Sign {
    #[command(flatten)]
    key: SecretArg,
    /// The body; standard input without it
    #[arg(default_value = "-")]
    file: PathBuf,
}

impl Sign {
    /// Prints 64 hex digits.
    pub fn run(self) -> Result<(), Failure> {
        let (secret, _) = self.key.secret();
        let signature = secret.sign(&read(&self.file)?);
        print(&format!("{signature}\n"))
    }
}

/// Check a signature of a file's bytes
#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    key: SecretArg,
    /// The value of X-Sonotheia-Signature, with or without `sha256=`
    #[arg(long)]
    signature: String,
    /// The body; standard input without it
    #[arg(default_value = "-")]
    file: PathBuf,
}

impl Verify {
    /// Prints `valid`, or fails.
    pub fn run(self) -> Result<(), Failure> {
        let signature = Signature::parse(self.signature.as_bytes())?;
        let (secret, _) = self.key.secret();
        let body = read(&self.file)?;
        let holds = |body: &[u8]| secret.verify(body, &signature);
        if holds(&body) {
            return print("valid\n");
        }
        // Editors and `echo` add a line break to a body that a person saves.
        let hint = match body.strip_suffix(b"\n") {
            Some(shorter) if holds(shorter) => {
                "; it matches without the line break at the end, which an editor or `echo` may have added"
            }
            _ => "",
        };
        Err(Failure::WrongSignature { hint })
    }
}
