//! `demo`: the whole story of Sonotheia's guide in one terminal, with the real commands.
//!
//! The receiver, the stand-in for Sonotheia's API, the registration and the reconciliation are processes of this program,
//! so that the demo fails where a user's own commands would fail. [`Stage`] runs them, and this file tells the story.

mod stage;
mod story;

use clap::Args;

use crate::failure::Failure;
use stage::Stage;
use story::Story;

/// Play the guide's whole story in one terminal, and fail if an answer is not the expected one
#[derive(Args)]
pub struct Demo {}

impl Demo {
    /// Prints a line for each step.
    ///
    /// # Errors
    /// [`Failure::Demo`] names the step and the answer that was not the expected one.
    pub fn run(self) -> Result<(), Failure> {
        let stage = Stage::new()?;
        Story::new(stage).tell()
    }
}
