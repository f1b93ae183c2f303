//! The lines of `listen`, and the progress of its catching up.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use sonotheia_webhook::timestamp::Timestamp;

use super::application::Answered;
use super::source::Listed;
use crate::args::print;
use crate::failure::Failure;
use crate::show::clean;

/// The lines, and the numbers of the summary.
pub struct Out {
    /// The time of receipt, in milliseconds from the place where the backlog begins.
    bar: ProgressBar,
    begin: Timestamp,
    delivered: u64,
    failed: u64,
    skipped: u64,
}

impl Out {
    pub fn new() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            begin: Timestamp::from_millis(0),
            delivered: 0,
            failed: 0,
            skipped: 0,
        }
    }

    /// Shows a bar on a terminal, from the time of the oldest event to the newest event that is known.
    pub fn catch_up(&mut self, oldest: Timestamp, newest: Timestamp) {
        let until = |time: Timestamp| u64::try_from(time.as_millis() - self.begin.as_millis()).unwrap_or(0);
        if !self.bar.is_hidden() {
            self.bar.set_length(until(newest).max(self.bar.position()));
            return;
        }
        let bar = ProgressBar::new(u64::try_from(newest.as_millis() - oldest.as_millis()).unwrap_or(0));
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent}% of the backlog, at {msg}") {
            bar.set_style(style);
        }
        (self.bar, self.begin) = (bar, oldest);
    }

    /// Takes the bar away.
    pub fn caught_up(&mut self) {
        self.bar.finish_and_clear();
        self.bar = ProgressBar::hidden();
    }

    /// The application has the event.
    pub fn delivered(&mut self, event: &Listed, answer: &Answered) -> Result<(), Failure> {
        self.delivered += 1;
        let passed = event.received_at.as_millis() - self.begin.as_millis();
        self.bar.set_position(u64::try_from(passed).unwrap_or(0));
        self.bar.set_message(event.received_at.to_string());
        self.line(event, answer, "")
    }

    /// The application does not have the event, and gets it again after a pause.
    pub fn failed(
        &mut self,
        event: &Listed,
        answer: &Answered,
        attempt: u32,
        pause: Duration,
    ) -> Result<(), Failure> {
        self.failed += 1;
        let why = match answer {
            Answered::Status(300..=399) => ", a redirect is not followed",
            Answered::Status(_) => "",
            Answered::Nothing(error) => &format!(", {error}"),
        };
        let note = format!("attempt {attempt}{why}; again in {} s", pause.as_secs_f64());
        self.line(event, answer, &note)
    }

    /// The application does not get the event.
    pub fn skipped(&mut self, event: &Listed, why: &str) -> Result<(), Failure> {
        self.skipped += 1;
        self.row(event, "skip", why)
    }

    fn line(&self, event: &Listed, answer: &Answered, note: &str) -> Result<(), Failure> {
        match answer {
            Answered::Status(status) => self.row(event, &status.to_string(), note),
            Answered::Nothing(_) => self.row(event, "---", note),
        }
    }

    fn row(&self, event: &Listed, status: &str, note: &str) -> Result<(), Failure> {
        let row = format!(
            "{}  {status:<4}  {:<24}  {}  {}",
            event.received_at,
            clean(&event.event_type),
            clean(&event.event_id),
            clean(note),
        );
        self.bar.suspend(|| print(&format!("{}\n", row.trim_end())))
    }

    /// The work of this run, for a person.
    pub fn summary(&self) -> String {
        let mut parts = vec![format!("{} delivered", self.delivered)];
        match self.failed {
            0 => {}
            1 => parts.push("1 attempt failed".to_owned()),
            failed => parts.push(format!("{failed} attempts failed")),
        }
        if self.skipped > 0 {
            parts.push(format!("{} skipped", self.skipped));
        }
        parts.join(", ")
    }
}
