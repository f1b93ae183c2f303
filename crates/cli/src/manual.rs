//! `completions` and `man`: what the parser knows, for a shell and for a reader.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::Command;
use crate::args::{usage, write};
use crate::failure::Failure;

/// The binary's name where it is installed; `cargo sonotheia` is an alias within this folder.
const NAME: &str = "sonotheia";

/// Print a completion script for a shell
#[derive(Args)]
pub struct Completions {
    shell: Shell,
}

impl Completions {
    /// Prints it.
    pub fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut Command::command().bin_name(NAME),
            NAME,
            &mut script,
        );
        write(&script)
    }
}

/// Print the manual page, or that of one command
#[derive(Args)]
pub struct Man {
    command: Option<String>,
}

impl Man {
    /// Prints it, for `man -l -`.
    pub fn run(self) -> Result<(), Failure> {
        let mut command = Command::command().name(NAME).bin_name(NAME);
        command.build();
        if let Some(name) = &self.command {
            let Some(found) = command.find_subcommand(name) else {
                usage(&format!(
                    "there is no command {name:?}; `cargo sonotheia help` lists them"
                ));
            };
            command = found.clone();
        }
        let mut page = Vec::new();
        clap_mangen::Man::new(command)
            .render(&mut page)
            .map_err(Failure::Output)?;
        write(&page)
    }
}
