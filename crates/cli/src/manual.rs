//! `completions` and `man`: the parser's commands and options, for a shell and as manual pages.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::Command;
use crate::args::{usage, write};
use crate::failure::Failure;
use crate::program::{self, NAME};

/// Print a completion script for a shell
#[derive(Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints the script, for the name under which the program is installed.
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

/// Print the manual page, or the page of one command
#[derive(Args)]
pub struct Man {
    /// The command; without it, the page of the whole program
    command: Option<String>,
}

impl Man {
    /// Prints the page, for `man -l -`.
    pub fn run(self) -> Result<(), Failure> {
        let mut command = Command::command().name(NAME).bin_name(NAME);
        command.build();
        if let Some(name) = &self.command {
            let Some(found) = command.find_subcommand(name) else {
                usage(&format!(
                    "there is no command {name:?}; `{} help` lists the commands",
                    program::name()
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
