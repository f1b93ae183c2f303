//! The report of `erase`, for a person or as JSON.

use serde::Serialize;
use sonotheia_webhook::store::Record;

use crate::args::json;
use crate::show::clean;

/// The result for a record.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It has no payload from now on; without `--apply`, it would have none.
    Erased,
    /// An earlier run erased it.
    AlreadyErased,
    /// It asks for a retention of its own, which is not over.
    Kept,
}

impl Verdict {
    const ALL: [Self; 3] = [Self::Erased, Self::AlreadyErased, Self::Kept];

    fn name(self, applied: bool) -> &'static str {
        match self {
            Self::Erased if applied => "erased",
            Self::Erased => "would be erased",
            Self::AlreadyErased => "already erased",
            Self::Kept => "kept",
        }
    }
}

/// A record of the report.
#[derive(Serialize)]
pub struct Line {
    /// The record's key.
    event_id: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    event_type: Option<String>,
    outcome: &'static str,
    received_at: String,
    pub verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    erased_at: Option<String>,
    /// The end of the retention that the record asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_until: Option<String>,
}

impl Line {
    /// `time` is the time of the erasure, or the time until which the record is kept.
    pub fn new(record: &Record, verdict: Verdict, time: Option<String>) -> Self {
        let (erased_at, kept_until) = match verdict {
            Verdict::Kept => (None, time),
            Verdict::Erased | Verdict::AlreadyErased => (time, None),
        };
        Self {
            event_id: record.event_id.clone(),
            event_type: record.event_type.clone(),
            outcome: record.outcome.as_str(),
            received_at: record.received_at.clone(),
            verdict,
            erased_at,
            kept_until,
        }
    }

    fn row(&self, applied: bool) -> String {
        let time = match (&self.erased_at, &self.kept_until) {
            (_, Some(until)) => format!("until {until}"),
            (Some(at), None) if self.verdict == Verdict::AlreadyErased => format!("at {at}"),
            _ => String::new(),
        };
        let row = format!(
            "{}  {:<8}  {:<24}  {}  {} {time}",
            self.received_at,
            self.outcome,
            self.event_type.as_deref().map_or_else(|| "-".to_owned(), clean),
            clean(&self.event_id),
            self.verdict.name(applied),
        );
        format!("{}\n", row.trim_end())
    }
}

/// The whole report.
pub struct ErasureReport<'a> {
    pub session_id: Option<&'a str>,
    pub event_id: Option<&'a str>,
    pub applied: bool,
    pub rejected_searched: bool,
    pub lines: &'a [Line],
}

impl ErasureReport<'_> {
    /// The report as it is printed.
    pub fn text(&self, as_json: bool) -> String {
        if as_json { self.document() } else { self.page() }
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.lines.iter().filter(|line| line.verdict == verdict).count()
    }

    fn page(&self) -> String {
        let mut text: String = self.lines.iter().map(|line| line.row(self.applied)).collect();
        let counts: Vec<_> = Verdict::ALL
            .into_iter()
            .filter(|verdict| self.count(*verdict) > 0)
            .map(|verdict| format!("{} {}", self.count(verdict), verdict.name(self.applied)))
            .collect();
        match (self.lines.len(), self.session_id) {
            (0, Some(session)) => text.push_str(&format!(
                "No record names session {}. An erased record names no session.\n",
                clean(session)
            )),
            (1, _) => text.push_str(&format!("1 record: {}\n", counts.join(", "))),
            (count, _) => text.push_str(&format!("{count} records: {}\n", counts.join(", "))),
        }
        if !self.rejected_searched {
            text.push_str("The rejected records were not looked through (--skip-rejected).\n");
        }
        if self.count(Verdict::Erased) > 0 {
            text.push_str(if self.applied {
                "Copies live on outside the table: in backups, in the archive, and with the consumers. docs/operations.md says \
                 for how long.\n"
            } else {
                "Nothing was written; --apply erases these records.\n"
            });
        }
        text
    }

    fn document(&self) -> String {
        #[derive(Serialize)]
        struct Document<'a> {
            applied: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            session_id: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            event_id: Option<&'a str>,
            rejected_searched: bool,
            count: usize,
            erased: usize,
            already_erased: usize,
            kept: usize,
            records: &'a [Line],
        }
        let [erased, already_erased, kept] = Verdict::ALL.map(|verdict| self.count(verdict));
        let document = Document {
            applied: self.applied,
            session_id: self.session_id,
            event_id: self.event_id,
            rejected_searched: self.rejected_searched,
            count: self.lines.len(),
            erased,
            already_erased,
            kept,
            records: self.lines,
        };
        json(&document) + "\n"
    }
}
