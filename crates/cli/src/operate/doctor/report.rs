//! The report of `doctor`, for a person or as JSON.

use std::error::Error;

use serde::Serialize;

use crate::args::json;
use crate::failure::Failure;
use crate::show::clean;

/// The result of a check.
pub enum Found {
    /// All is well.
    Fine(String),
    /// A fault, and how to mend it.
    Wrong { what: String, mend: String },
    /// The check was tried, and gave no result.
    Unknown(String),
    /// The check was not tried for lack of an option.
    Skipped { why: &'static str, option: &'static str },
    /// There is nothing to check here.
    NotHere(String),
}

impl Found {
    /// A check that needs an option.
    pub fn skipped(why: &'static str, option: &'static str) -> Self {
        Self::Skipped { why, option }
    }

    /// The mark of a line, and the status in JSON.
    fn status(&self) -> (&'static str, &'static str) {
        match self {
            Self::Fine(_) => ("ok", "ok"),
            Self::Wrong { .. } => ("WRONG", "wrong"),
            Self::Unknown(_) => ("?", "unknown"),
            Self::Skipped { .. } => ("skip", "skipped"),
            Self::NotHere(_) => ("-", "not_applicable"),
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Fine(what) | Self::Wrong { what, .. } | Self::Unknown(what) | Self::NotHere(what) => {
                what.clone()
            }
            Self::Skipped { why, option } => format!("{why}: give {option}"),
        }
    }

    fn mend(&self) -> Option<&str> {
        match self {
            Self::Wrong { mend, .. } => Some(mend),
            _ => None,
        }
    }
}

/// A fault, and how to mend it.
pub fn wrong(what: impl Into<String>, mend: impl Into<String>) -> Found {
    Found::Wrong {
        what: what.into(),
        mend: mend.into(),
    }
}

/// The results, in the order of the checks.
#[derive(Default)]
pub struct Report {
    checks: Vec<(&'static str, Found)>,
    notes: Vec<&'static str>,
}

impl Report {
    pub fn add(&mut self, name: &'static str, found: Found) {
        self.checks.push((name, found));
    }

    /// Adds a text that belongs to no check.
    pub fn note(&mut self, text: &'static str) {
        self.notes.push(text);
    }

    pub fn len(&self) -> usize {
        self.checks.len()
    }

    pub fn count(&self, is: fn(&Found) -> bool) -> usize {
        self.checks.iter().filter(|(_, found)| is(found)).count()
    }

    /// The options that skipped checks need, each once.
    pub fn missing_options(&self) -> Vec<&'static str> {
        let mut options = Vec::new();
        for (_, found) in &self.checks {
            if let Found::Skipped { option, .. } = found
                && !options.contains(option)
            {
                options.push(*option);
            }
        }
        options
    }

    /// The report for a person.
    pub fn lines(&self) -> String {
        let mut text = String::new();
        for (name, found) in &self.checks {
            let (mark, _) = found.status();
            text.push_str(&format!("{mark:<5}  {name:<13}  {}\n", clean(&found.message())));
            if let Some(mend) = found.mend() {
                text.push_str(&format!("{:22}mend: {}\n", "", clean(mend)));
            }
        }
        for note in &self.notes {
            text.push_str(&format!("note   {note}\n"));
        }
        let counts = [
            (self.count(|found| matches!(found, Found::Fine(_))), "ok"),
            (self.count(|found| matches!(found, Found::Wrong { .. })), "wrong"),
            (
                self.count(|found| matches!(found, Found::Skipped { .. })),
                "skipped",
            ),
            (
                self.count(|found| matches!(found, Found::Unknown(_))),
                "could not be checked",
            ),
            (
                self.count(|found| matches!(found, Found::NotHere(_))),
                "not applicable",
            ),
        ];
        // The first two always show, so that a script finds them.
        let shown = counts
            .iter()
            .enumerate()
            .filter(|(i, (count, _))| *i < 2 || *count > 0);
        let shown: Vec<_> = shown
            .map(|(_, (count, name))| format!("{count} {name}"))
            .collect();
        text.push_str(&format!("{} checks: {}\n", self.len(), shown.join(", ")));
        text
    }

    /// The report as one JSON document.
    pub fn document(&self) -> String {
        #[derive(Serialize)]
        struct Check<'a> {
            name: &'a str,
            status: &'a str,
            message: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            mend: Option<&'a str>,
        }
        #[derive(Serialize)]
        struct Document<'a> {
            checks: Vec<Check<'a>>,
            notes: &'a [&'static str],
        }
        let checks = self.checks.iter().map(|(name, found)| Check {
            name,
            status: found.status().1,
            message: found.message(),
            mend: found.mend(),
        });
        let document = Document {
            checks: checks.collect(),
            notes: &self.notes,
        };
        json(&document) + "\n"
    }
}

/// A failure with its causes, on one line.
pub fn with_causes(failure: &Failure) -> String {
    let mut text = failure.to_string();
    let mut cause = failure.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
