//! The report of `reconcile`, for a person or as JSON.

use std::collections::HashSet;

use serde::Serialize;
use sonotheia_webhook::timestamp::Timestamp;

use crate::args::json;
use crate::operate::api_list::Page;
use crate::operate::api_list::item::Wrapping;
use crate::show::clean;

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The table does not have it. With `--apply` it is stored.
    Missing,
    /// The table has it.
    Present,
    /// It cannot be stored.
    Refused,
}

/// An event of the report.
#[derive(Serialize)]
pub struct Line {
    /// The event's id, or the record's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    pub verdict: Verdict,
    /// The reason why it cannot be stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The work so far.
#[derive(Default)]
pub struct Progress {
    pub lines: Vec<Line>,
    /// The keys that a dry run would have stored.
    pub missing: HashSet<String>,
    /// The shape of the list, for a person: the list, the items, the next page.
    list: Option<String>,
    wrapping: Option<Wrapping>,
    next: Option<String>,
    pub is_complete: bool,
}

/// The progress of a run with its options.
pub struct Report<'a> {
    pub applied: bool,
    pub since: Timestamp,
    pub progress: &'a Progress,
}

impl Report<'_> {
    /// One JSON document.
    pub fn json(&self) -> String {
        #[derive(Serialize)]
        struct Reconciled<'a> {
            applied: bool,
            complete: bool,
            since: String,
            shape: String,
            count: usize,
            missing: usize,
            present: usize,
            refused: usize,
            events: &'a [Line],
        }
        let progress = self.progress;
        let report = Reconciled {
            applied: self.applied,
            complete: progress.is_complete,
            since: self.since.to_string(),
            shape: progress.shape(),
            count: progress.lines.len(),
            missing: progress.count(Verdict::Missing),
            present: progress.count(Verdict::Present),
            refused: progress.count(Verdict::Refused),
            events: &progress.lines,
        };
        json(&report) + "\n"
    }

    /// A line for each event that is missing or refused, and a summary.
    pub fn text(&self) -> String {
        let progress = self.progress;
        let mut text = format!("Sonotheia's list: {}\n", progress.shape());
        // The summary counts the events that the table has; they get no line.
        for line in progress
            .lines
            .iter()
            .filter(|line| line.verdict != Verdict::Present)
        {
            text.push_str(&self.row(line));
            text.push('\n');
        }
        let stored = if self.applied {
            "were missing and are stored"
        } else {
            "missing"
        };
        let missing = progress.count(Verdict::Missing);
        text.push_str(&format!(
            "{} undelivered since {}: {missing} {stored}, {} here already, {} refused\n",
            progress.lines.len(),
            self.since,
            progress.count(Verdict::Present),
            progress.count(Verdict::Refused),
        ));
        if !self.applied && missing > 0 {
            text.push_str("Nothing was written; --apply stores the missing events.\n");
        }
        text
    }

    fn row(&self, line: &Line) -> String {
        let verdict = match line.verdict {
            Verdict::Missing if self.applied => "stored",
            Verdict::Missing => "missing",
            Verdict::Present => "present",
            Verdict::Refused => "refused",
        };
        let name = |name: &Option<String>| name.as_deref().map_or_else(|| "-".to_owned(), clean);
        let (event_type, event_id) = (name(&line.event_type), name(&line.event_id));
        let why = line.message.as_deref().map(clean).unwrap_or_default();
        let row = format!("{verdict:<8}  {event_type:<24}  {event_id}  {why}");
        row.trim_end().to_owned()
    }
}

impl Progress {
    pub fn count(&self, verdict: Verdict) -> usize {
        self.lines.iter().filter(|line| line.verdict == verdict).count()
    }

    /// Notes the shape of a page. All pages have the same shape.
    pub fn note(&mut self, page: &Page) -> Result<(), String> {
        let list = self.list.get_or_insert_with(|| page.list.clone());
        if *list != page.list {
            return Err(format!("it has {}, and an earlier page had {list}", page.list));
        }
        if let (Some(was), Some(is)) = (self.wrapping, page.wrapping)
            && was != is
        {
            return Err(format!(
                "{}, and on an earlier page, {}",
                is.describe(),
                was.describe()
            ));
        }
        self.wrapping = self.wrapping.or(page.wrapping);
        self.next.get_or_insert_with(|| page.next.describe());
        Ok(())
    }

    fn shape(&self) -> String {
        let wrapping = self.wrapping.map(Wrapping::describe);
        let parts = [self.list.clone(), wrapping, self.next.clone()];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}
