//! Runs the tests of the workspace's other crates, so that `cargo test` at the root tests everything.
//!
//! The root package is the only default member: Cargo unifies the features of all default members, so the features of the
//! command line would reach the function's binary. The other crates get this program's arguments (a test's name, `--list`)
//! and its profile.

use std::path::Path;
use std::process::{Command, ExitCode};

/// The package whose tests `cargo test` has run already.
const ROOT: &str = env!("CARGO_PKG_NAME");

/// The folder of the profiles `dev` and `test`.
const DEBUG: &str = "debug";

fn main() -> ExitCode {
    let mut cargo = Command::new(env!("CARGO"));
    // Cargo sets these variables for this program. They are inputs of some build scripts, so cargo would build `ring` and
    // every crate above it again, here and in the next run.
    for (name, _) in std::env::vars_os() {
        let is_cargos = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(is_cargos) {
            cargo.env_remove(name);
        }
    }
    cargo.args(["test", "--workspace", "--exclude", ROOT]);
    let program = std::env::current_exe().ok();
    if let Some(profile) = program.as_deref().and_then(profile) {
        cargo.args(["--profile", profile]);
    }
    let status = cargo
        .arg("--")
        .args(std::env::args_os().skip(1))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo cannot be started, so the other crates are not tested: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The profile of a test program, by its path `…/PROFILE/deps/PROGRAM`. `None` for the default profile.
fn profile(program: &Path) -> Option<&str> {
    let folder = program.parent()?.parent()?.file_name()?.to_str()?;
    (folder != DEBUG).then_some(folder)
}
