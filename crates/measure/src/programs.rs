//! Builds the programs that are measured.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Kind;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The receiver's binary: `given`, or else a release build.
pub fn receiver(given: Option<&Path>) -> Result<PathBuf, Box<dyn Error>> {
    if let Some(binary) = given {
        return Ok(binary.to_owned());
    }
    cargo_build(&["--release", "--bin", "sonotheia-webhook"])?;
    Ok(folder("release").join("sonotheia-webhook"))
}

/// The two functions that the receiver is compared with.
pub fn peers() -> Result<Vec<(Kind, PathBuf)>, Box<dyn Error>> {
    cargo_build(&["--release", "--package", "peers"])?;
    let built = folder("release");
    Ok(vec![
        (Kind::Floor, built.join("floor")),
        (Kind::PutItem, built.join("put_item")),
    ])
}

/// The command line.
pub fn sonotheia() -> Result<PathBuf, Box<dyn Error>> {
    cargo_build(&["--profile", "light", "--package", "sonotheia-cli"])?;
    Ok(folder("light").join("sonotheia"))
}

fn cargo_build(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let arguments = [&["build", "--locked"], arguments].concat();
    eprintln!(
        "cargo {}; the first build takes some minutes",
        arguments.join(" ")
    );
    let mut cargo = Command::new(env!("CARGO"));
    match cargo.current_dir(ROOT).args(arguments).status()?.success() {
        true => Ok(()),
        false => Err("cargo could not build a program; its message is above".into()),
    }
}

/// The folder of cargo's builds with this profile.
fn folder(profile: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    // Cargo runs in the root, so a relative path begins there.
    Path::new(ROOT).join(target).join(profile)
}
