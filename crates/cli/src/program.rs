//! The name of the program as it was called, for help and messages that a person copies.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::OnceLock;

/// The package's name, which `cargo run` gives to the program that it starts.
const PACKAGE: &str = env!("CARGO_PKG_NAME");

/// The name of the program where nothing else names it.
pub const NAME: &str = "sonotheia";

/// The words that a person types before a command: `cargo sonotheia` behind the alias, else the name of the file that was
/// called.
pub fn name() -> &'static str {
    static CALLED: OnceLock<String> = OnceLock::new();
    CALLED.get_or_init(|| {
        let file = std::env::args_os().next();
        called(file.as_deref(), |name| std::env::var(name).ok())
    })
}

fn called(file: Option<&OsStr>, variable: impl Fn(&str) -> Option<String>) -> String {
    // `cargo run` sets both. Cargo sets the first for every program below it, such as the tests of another package.
    let is_alias = variable("CARGO").is_some_and(|path| !path.is_empty())
        && variable("CARGO_PKG_NAME").is_none_or(|package| package == PACKAGE);
    if is_alias {
        return format!("cargo {NAME}");
    }
    let stem = file.and_then(|file| Path::new(file).file_name()?.to_str());
    let stem = stem.map(|name| name.strip_suffix(".exe").unwrap_or(name));
    stem.filter(|name| !name.is_empty()).unwrap_or(NAME).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_alias_or_the_file() {
        let name = |file: Option<&str>, variables: &[(&str, &str)]| {
            called(file.map(OsStr::new), |name| {
                let (_, value) = variables.iter().find(|(key, _)| *key == name)?;
                Some((*value).to_owned())
            })
        };
        let cargo = ("CARGO", "/usr/bin/cargo");
        for (file, variables, expected) in [
            (Some("sonotheia"), &[][..], "sonotheia"),
            (Some("/usr/local/bin/sonotheia"), &[], "sonotheia"),
            (Some("target/debug/sonotheia.exe"), &[], "sonotheia"),
            (Some("./snth"), &[], "snth"),
            (None, &[], "sonotheia"),
            (
                Some("target/debug/sonotheia"),
                &[cargo, ("CARGO_PKG_NAME", PACKAGE)],
                "cargo sonotheia",
            ),
            (
                Some("sonotheia"),
                &[cargo, ("CARGO_PKG_NAME", "another")],
                "sonotheia",
            ),
            (Some("sonotheia"), &[("CARGO", "")], "sonotheia"),
        ] {
            assert_eq!(name(file, variables), expected, "{file:?}");
        }
    }
}
