//! Records as people read them, and text from outside made fit for a terminal.

use std::fmt::{self, Write};

use serde::Deserialize;
use sonotheia_webhook::event::Problem;

/// A result of the receiver's reads: what a line shows of it.
#[derive(Debug, Deserialize)]
pub struct Row {
    pub event_id: String,
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    pub session_id: Option<String>,
    pub occurred_at: Option<String>,
    pub received_at: String,
    pub expires_at: String,
    pub outcome: String,
    pub reason: Option<String>,
    #[serde(default)]
    pub problems: Vec<Problem>,
    pub alert: Option<String>,
}

impl Row {
    /// The columns: time of receipt, outcome, type, id, session, what a person should see.
    fn columns(&self) -> [String; 6] {
        let text = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), clean);
        [
            clean(&self.received_at),
            clean(&self.outcome),
            text(&self.event_type),
            clean(&self.event_id),
            text(&self.session_id),
            self.note(),
        ]
    }

    fn note(&self) -> String {
        let alert = self.alert.as_ref().map(|alert| format!("ALERT {}", clean(alert)));
        let reason = self.reason.as_deref().map(clean);
        let problems = match self.problems.as_slice() {
            [] => None,
            [Problem { path, message }] => Some(clean(&format!("{path} {message}"))),
            many => Some(format!("{} problems", many.len())),
        };
        [alert, reason, problems]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(", ")
    }
}

const HEADS: [&str; 6] = ["RECEIVED", "OUTCOME", "TYPE", "EVENT ID", "SESSION", "NOTE"];

/// The widest that a column gets. What is longer, such as a rejected record's key, moves the rest of its line.
const MAX_WIDTH: usize = 40;

/// Lines of columns; a column is as wide as its widest value so far.
pub struct Table {
    widths: [usize; 6],
}

impl Table {
    /// A table whose columns are wide enough for these.
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Self {
        let mut table = Self {
            widths: HEADS.map(|head| head.chars().count()),
        };
        for row in rows {
            table.widen(&row.columns());
        }
        table
    }

    fn widen(&mut self, columns: &[String; 6]) {
        for (width, column) in self.widths.iter_mut().zip(columns) {
            let wide = column.chars().count();
            if wide <= MAX_WIDTH {
                *width = (*width).max(wide);
            }
        }
    }

    /// The headings' line.
    pub fn head(&self) -> String {
        self.line(&HEADS.map(str::to_owned))
    }

    /// A record's line.
    pub fn row(&mut self, row: &Row) -> String {
        let columns = row.columns();
        self.widen(&columns);
        self.line(&columns)
    }

    fn line(&self, columns: &[String; 6]) -> String {
        let mut line = String::new();
        for (column, width) in columns.iter().zip(self.widths) {
            // Writing to a String does not fail.
            let _ = write!(line, "{column:<width$}  ");
        }
        format!("{}\n", line.trim_end())
    }
}

/// Text from outside, with what a terminal would act upon made visible.
pub fn clean(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut clean, c| {
            if is_unseen(c) {
                clean.extend(c.escape_unicode());
            } else {
                clean.push(c);
            }
            clean
        })
}

/// Control characters, and those that change the direction of what follows.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// JSON text with line breaks and indents; numbers and the order of members stay as they are.
///
/// For text that was parsed before: what is not JSON comes out as something that is not JSON either.
pub struct Pretty<'a>(pub &'a str);

impl fmt::Display for Pretty<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut depth: usize = 0;
        let mut in_string = false;
        let mut escaped = false;
        let mut characters = self.0.chars().peekable();
        while let Some(c) = characters.next() {
            if in_string {
                f.write_str(&clean(c.encode_utf8(&mut [0; 4])))?;
                in_string = escaped || c != '"';
                escaped = !escaped && c == '\\';
                continue;
            }
            let indent = |f: &mut fmt::Formatter<'_>, depth: usize| write!(f, "\n{:1$}", "", 2 * depth);
            match c {
                ' ' | '\n' | '\r' | '\t' => {}
                '{' | '[' => {
                    f.write_char(c)?;
                    while characters.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                    if let Some(end) = characters.next_if(|c| matches!(c, '}' | ']')) {
                        f.write_char(end)?;
                    } else {
                        depth += 1;
                        indent(f, depth)?;
                    }
                }
                '}' | ']' => {
                    depth = depth.saturating_sub(1);
                    indent(f, depth)?;
                    f.write_char(c)?;
                }
                ',' => {
                    f.write_char(c)?;
                    indent(f, depth)?;
                }
                ':' => f.write_str(": ")?,
                _ => {
                    in_string = c == '"';
                    f.write_char(c)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_upon_is_made_visible() {
        assert_eq!(clean("a\u{1b}[31mb\u{202e}c\n"), "a\\u{1b}[31mb\\u{202e}c\\u{a}");
        assert_eq!(clean("é 漢 ok"), "é 漢 ok");
    }

    #[test]
    fn pretty_json_is_the_same_json_with_its_digits() {
        let text = r#"{"b":[1.0e3,{"c":"a\"}:,[\\"},{ },[ ]],"a":0.10000000000000000001,"d":null}"#;
        let pretty = Pretty(text).to_string();
        assert!(
            pretty.contains("\n  \"a\": 0.10000000000000000001,\n"),
            "{pretty}"
        );
        assert!(pretty.contains("{},\n    []"), "{pretty}");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(read(&pretty), read(text));
    }
}
