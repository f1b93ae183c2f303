//! Runs the tests of the workspace's other crates, so that `cargo test` at the root tests everything.
//!
//! The root package is the only default member: Cargo unifies the features of all default members, so those of the
//! command line would reach the function's binary. Arguments (a test's name, `--list`) go on to the other crates' tests.

use std::process::{Command, ExitCode};

/// The package whose tests `cargo test` runs anyway.
const ROOT: &str = env!("CARGO_PKG_NAME");

fn main() -> ExitCode {
    let status = Command::new(env!("CARGO"))
        .args(["test", "--workspace", "--exclude", ROOT, "--"])
        .args(std::env::args_os().skip(1))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo could not be started to test the other crates: {error}");
            ExitCode::FAILURE
        }
    }
}
