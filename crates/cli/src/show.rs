//! Records for people, and text from outside in a form that a terminal shows safely: without control characters, and of a
//! bounded size.

use std::fmt::{self, Write};

use serde::Deserialize;
use sonotheia_webhook::event::Problem;

/// The members of a result that a line shows.
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
    /// The columns: time of receipt, outcome, type, id, session, note.
    fn columns(&self) -> [String; 6] {
        let text = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), short);
        [
            short(&self.received_at),
            short(&self.outcome),
            text(&self.event_type),
            short(&self.event_id),
            text(&self.session_id),
            self.note(),
        ]
    }

    fn note(&self) -> String {
        let alert = self.alert.as_ref().map(|alert| format!("ALERT {}", short(alert)));
        let reason = self.reason.as_deref().map(short);
        let problems = match self.problems.as_slice() {
            [] => None,
            [Problem { path, message }] => Some(short(&format!("{path} {message}"))),
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

/// The largest width of a column. A longer value, such as a rejected record's key, moves the rest of its line.
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

/// The most characters of a value in a line. Ids have at most 256 bytes.
const MAX_VALUE: usize = 300;

/// The mark at the end of a shortened text.
pub const CUT: &str = "… (shortened)";

/// Text from outside, with the characters that a terminal would act upon as escapes.
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

/// At most the first `most` characters of text from outside, as [`clean`] shows them.
pub fn clip(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => clean(&text[..end]) + CUT,
        None => clean(text),
    }
}

fn short(text: &str) -> String {
    clip(text, MAX_VALUE)
}

/// The same JSON with the characters that a terminal would act upon as JSON's own escapes. JSON text has such characters in
/// strings only.
pub fn safe_json(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut safe, c| {
            push_json(&mut safe, c);
            safe
        })
}

fn push_json(text: &mut String, c: char) {
    if is_unseen(c) && !c.is_ascii_whitespace() {
        // Writing to a String does not fail. All these characters have four digits.
        let _ = write!(text, "\\u{:04x}", u32::from(c));
    } else {
        text.push(c);
    }
}

/// Control characters, and characters that end a line, have no width or change the direction of the text behind them.
fn is_unseen(c: char) -> bool {
    let is_format = matches!(
        c,
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    );
    is_format || c.is_control()
}

/// JSON text with line breaks and indents; numbers and the order of members stay as they are. Values below
/// [`MAX_DEPTH`] stay on one line, and the text ends with [`CUT`] after [`MAX_PRETTY`] bytes: with an indent on each level,
/// a deep value of 64 KB would take 2 GB.
///
/// The text must be JSON. Other text comes out as text that is not JSON either.
pub struct Pretty<'a>(pub &'a str);

/// The levels of JSON that get lines of their own.
const MAX_DEPTH: usize = 32;

/// The most bytes of pretty JSON.
const MAX_PRETTY: usize = 1 << 17;

impl fmt::Display for Pretty<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bounded = Bounded {
            f,
            left: MAX_PRETTY,
            is_full: false,
        };
        match write_pretty(self.0, &mut bounded) {
            Err(_) if bounded.is_full => f.write_str(CUT),
            done => done,
        }
    }
}

/// A writer that fails after a number of bytes.
struct Bounded<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    left: usize,
    is_full: bool,
}

impl Write for Bounded<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match self.left.checked_sub(text.len()) {
            Some(left) => self.left = left,
            None => {
                self.is_full = true;
                return Err(fmt::Error);
            }
        }
        self.f.write_str(text)
    }
}

fn write_pretty(text: &str, out: &mut Bounded<'_, '_>) -> fmt::Result {
    let mut depth: usize = 0;
    let mut in_string = false;
    let mut escaped = false;
    let mut character = String::new();
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        if in_string {
            character.clear();
            push_json(&mut character, c);
            out.write_str(&character)?;
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            ' ' | '\n' | '\r' | '\t' => {}
            '{' | '[' => {
                out.write_char(c)?;
                while characters.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(end) = characters.next_if(|c| matches!(c, '}' | ']')) {
                    out.write_char(end)?;
                } else {
                    depth += 1;
                    new_line(out, depth, depth)?;
                }
            }
            '}' | ']' => {
                new_line(out, depth, depth.saturating_sub(1))?;
                depth = depth.saturating_sub(1);
                out.write_char(c)?;
            }
            ',' => {
                out.write_char(c)?;
                new_line(out, depth, depth)?;
            }
            ':' => out.write_str(": ")?,
            _ => {
                in_string = c == '"';
                out.write_char(c)?;
            }
        }
    }
    Ok(())
}

/// Begins a line in a value of this depth.
fn new_line(out: &mut Bounded<'_, '_>, depth: usize, indent: usize) -> fmt::Result {
    if depth > MAX_DEPTH {
        return Ok(());
    }
    write!(out, "\n{:1$}", "", 2 * indent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_a_terminal_would_act_upon_become_visible() {
        assert_eq!(clean("a\u{1b}[31mb\u{202e}c\n"), "a\\u{1b}[31mb\\u{202e}c\\u{a}");
        assert_eq!(clean("a\u{9b}31m\u{2028}\u{7f}"), "a\\u{9b}31m\\u{2028}\\u{7f}");
        assert_eq!(clean("é 漢 ok"), "é 漢 ok");
        assert_eq!(clip("é\u{1b}b", 2), format!("é\\u{{1b}}{CUT}"));
        assert_eq!(clip("é\u{1b}b", 3), "é\\u{1b}b");
    }

    #[test]
    fn json_with_escapes_is_the_same_json() {
        let text = "{\"a\":\n \"\u{9b}31m\u{202e}\u{7f}é\"}";
        let safe = safe_json(text);
        assert_eq!(safe, "{\"a\":\n \"\\u009b31m\\u202e\\u007fé\"}");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(read(&safe), read(text));
        assert_eq!(read(&Pretty(text).to_string()), read(text));
    }

    #[test]
    fn pretty_json_has_a_bounded_depth_and_size() {
        let deep = format!("{}1{}", "[".repeat(120), "]".repeat(120));
        let pretty = Pretty(&deep).to_string();
        assert_eq!(pretty.lines().count(), 1 + 2 * MAX_DEPTH);
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(read(&pretty), read(&deep));
        for text in [
            "[".repeat(1 << 18),
            format!("{}{}", "[".repeat(30), "1,".repeat(1 << 17)),
            format!("[\"{}\"]", "\u{9b}".repeat(1 << 17)),
        ] {
            let pretty = Pretty(&text).to_string();
            assert!(pretty.len() <= MAX_PRETTY + CUT.len(), "{}", pretty.len());
            assert!(pretty.ends_with(CUT));
        }
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
