//! `demo`: the whole story of Sonotheia's guide in one terminal, with the real commands.
//!
//! The receiver, the stand-in for Sonotheia's API, the registration and the reconciliation are processes of this program,
//! so that the demo fails where a user's own commands would fail. [`Stage`] runs them, and this file tells the story.

mod stage;
mod story;

use std::pin::pin;
use std::time::Duration;

use clap::Args;

use crate::failure::Failure;
use crate::interrupt;
use crate::remote::RemoteError;
use stage::{Processes, Stage};
use story::Story;

/// The time that the story has to end after an interrupt.
const GRACE: Duration = Duration::from_secs(5);

/// Play the guide's whole story in one terminal, and fail if an answer is not the expected one
#[derive(Args)]
pub struct Demo {}

impl Demo {
    /// Prints a line for each step.
    ///
    /// # Errors
    /// [`Failure::Demo`] names the step and the answer that was not the expected one.
    pub fn run(self) -> Result<(), Failure> {
        interrupt::run(async {
            let stop = interrupt::stop()?;
            let processes = Processes::default();
            let of_story = processes.clone();
            let mut story = pin!(interrupt::blocking(move || {
                Story::new(Stage::new(of_story)?).tell()
            }));
            tokio::select! {
                told = &mut story => return told,
                () = stop => processes.kill(),
            }
            // The story ends at its next step, and removes its files.
            let _ = tokio::time::timeout(GRACE, story).await;
            let done = "the demo did not come to its end; run it again".to_owned();
            Err(RemoteError::Interrupted { done }.into())
        })
    }
}
