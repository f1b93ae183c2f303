//! Two events side by side, with the differences marked.
//!
//! The receiver compares type and data as JSON: the order of members, blanks and spelling do not count. So both sides are
//! written in one form, with sorted members, and compared line by line.

use serde::Serialize;
use serde_json::value::RawValue;
use sonotheia_webhook::event::{Event, Payload};
use sonotheia_webhook::json::{Members, exact_number};

use super::pretty::shortened;

/// The most lines of one side. A longer side is not compared.
const MAX_LINES: usize = 1_000;

/// The most characters of a line.
const MAX_LINE: usize = 400;

/// Equal lines around a difference that are shown.
const CONTEXT: usize = 3;

/// A line of the comparison.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// Both sides have this line.
    Both(String),
    /// The sides differ. A side may have no line here.
    Differ {
        first: Option<String>,
        this: Option<String>,
    },
    /// So many equal lines are left out.
    Skipped(usize),
}

/// Compares type and data of two bodies. `None` if a side is not an event, or is too large to compare.
pub fn compare(first: &[u8], this: &[u8]) -> Option<Vec<Line>> {
    let (first, this) = (lines(first)?, lines(this)?);
    Some(with_context(aligned(&first, &this)))
}

/// A line as it is shown, and the form of it that is compared.
struct Written {
    text: String,
    key: String,
}

/// Type and data as lines, in one form.
fn lines(body: &[u8]) -> Option<Vec<Written>> {
    let event = Event::parse(body, 1.0).ok()?;
    let data = Payload::parse(body).data?;
    let event_type = serde_json::to_string(&event.event_type).ok()?;
    let mut writer = Writer::default();
    writer.line(0, "\"type\": ", &event_type, "", event_type.clone())?;
    writer.value(0, "\"data\": ", data, "")?;
    Some(writer.lines)
}

#[derive(Default)]
struct Writer {
    lines: Vec<Written>,
}

impl Writer {
    /// Adds a line. `None` if there are too many.
    fn line(&mut self, depth: usize, name: &str, value: &str, end: &str, key: String) -> Option<()> {
        let indent = 2 * depth.min(24);
        self.lines.push(Written {
            text: shortened(&format!("{:indent$}{name}{value}{end}", ""), MAX_LINE),
            // A comma more or less is no difference.
            key: format!("{depth} {name}{key}"),
        });
        (self.lines.len() <= MAX_LINES).then_some(())
    }

    /// Adds a value. The receiver accepts no event that is deeper than 128 levels, so the recursion has an end.
    fn value(&mut self, depth: usize, name: &str, value: &RawValue, end: &str) -> Option<()> {
        let text = value.get();
        let (members, brackets): (Vec<(String, &RawValue)>, _) = match text.as_bytes().first()? {
            b'{' => {
                let members = Members::parse(text).ok()?;
                let named = members.sorted().into_iter();
                let named = named
                    .map(|(name, value)| Some((format!("{}: ", serde_json::to_string(name).ok()?), *value)));
                (named.collect::<Option<_>>()?, ["{", "}"])
            }
            b'[' => {
                let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                let unnamed = elements.into_iter().map(|value| (String::new(), value));
                (unnamed.collect(), ["[", "]"])
            }
            b'"' => {
                let string: String = serde_json::from_str(text).ok()?;
                let written = serde_json::to_string(&string).ok()?;
                return self.line(depth, name, &written, end, written.clone());
            }
            _ => return self.line(depth, name, text, end, exact(text)),
        };
        let [open, close] = brackets;
        if members.is_empty() {
            let both = format!("{open}{close}");
            return self.line(depth, name, &both, end, both.clone());
        }
        self.line(depth, name, open, "", open.to_owned())?;
        let last = members.len() - 1;
        for (n, (name, value)) in members.iter().enumerate() {
            self.value(depth + 1, name, value, if n == last { "" } else { "," })?;
        }
        self.line(depth, "", close, end, close.to_owned())
    }
}

/// A number in one form. Other words, such as `true`, stay as they are.
fn exact(text: &str) -> String {
    match text.as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => exact_number(text).into_owned(),
        _ => text.to_owned(),
    }
}

/// Aligns two sides by their longest common sequence of lines.
fn aligned(first: &[Written], this: &[Written]) -> Vec<Line> {
    let same = |a: usize, b: usize| first[a].key == this[b].key;
    // longest[a][b]: the length of the longest common sequence of what follows a and b.
    let width = this.len() + 1;
    let mut longest = vec![0_u16; (first.len() + 1) * width];
    for a in (0..first.len()).rev() {
        for b in (0..this.len()).rev() {
            longest[a * width + b] = if same(a, b) {
                longest[(a + 1) * width + b + 1] + 1
            } else {
                longest[(a + 1) * width + b].max(longest[a * width + b + 1])
            };
        }
    }
    let (mut a, mut b) = (0, 0);
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let mut lines = Vec::new();
    while a < first.len() || b < this.len() {
        let is_same = a < first.len() && b < this.len() && same(a, b);
        if is_same {
            differ(&mut lines, &mut left, &mut right);
            lines.push(Line::Both(this[b].text.clone()));
            (a, b) = (a + 1, b + 1);
        } else if b == this.len()
            || a < first.len() && longest[(a + 1) * width + b] >= longest[a * width + b + 1]
        {
            left.push(first[a].text.clone());
            a += 1;
        } else {
            right.push(this[b].text.clone());
            b += 1;
        }
    }
    differ(&mut lines, &mut left, &mut right);
    lines
}

/// Puts the lines of both sides that differ beside each other.
fn differ(lines: &mut Vec<Line>, left: &mut Vec<String>, right: &mut Vec<String>) {
    let (mut left, mut right) = (left.drain(..), right.drain(..));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return,
            (first, this) => lines.push(Line::Differ { first, this }),
        }
    }
}

/// Leaves out equal lines that are far from every difference.
fn with_context(lines: Vec<Line>) -> Vec<Line> {
    let differing: Vec<usize> = (0..lines.len())
        .filter(|n| matches!(lines[*n], Line::Differ { .. }))
        .collect();
    let is_near = |n: usize| differing.iter().any(|place| place.abs_diff(n) <= CONTEXT);
    let mut shown = Vec::new();
    for (n, line) in lines.into_iter().enumerate() {
        match (shown.last_mut(), is_near(n)) {
            (_, true) => shown.push(line),
            (Some(Line::Skipped(count)), false) => *count += 1,
            (_, false) => shown.push(Line::Skipped(1)),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: &str) -> String {
        format!(r#"{{"id":"e","type":"sar.filed","data":{data}}}"#)
    }

    fn compared(first: &str, this: &str) -> Vec<Line> {
        compare(event(first).as_bytes(), event(this).as_bytes()).expect("two events")
    }

    fn differing(first: &str, this: &str) -> Vec<(String, String)> {
        let lines = compared(first, this).into_iter();
        let trim = |line: Option<String>| line.unwrap_or_default().trim().to_owned();
        lines
            .filter_map(|line| match line {
                Line::Differ { first, this } => Some((trim(first), trim(this))),
                _ => None,
            })
            .collect()
    }

    fn pair(first: &str, this: &str) -> (String, String) {
        (first.to_owned(), this.to_owned())
    }

    #[test]
    fn only_the_members_that_differ_are_marked() {
        assert_eq!(
            differing(
                r#"{"score":0.9,"label":"a","x":[1,2]}"#,
                r#"{"label":"a","score":0.1,"x":[1,2,3],"y":null}"#
            ),
            [
                pair("\"score\": 0.9,", "\"score\": 0.1,"),
                pair("", "3"),
                pair("", "\"y\": null"),
            ]
        );
        assert_eq!(differing(r#"{"a":{"b":1}}"#, r#"{"a":[]}"#).len(), 3);
        assert_eq!(
            differing(r#"{"a":9007199254740993}"#, r#"{"a":9007199254740992}"#).len(),
            1
        );
        assert_eq!(differing(r#"{"a":"1"}"#, r#"{"a":1}"#).len(), 1);
        assert_eq!(
            differing(r#"{"a":1}"#, r#"{"a":2,"a":1}"#),
            [pair("", "\"a\": 2,")]
        );
    }

    #[test]
    fn order_blanks_and_spelling_are_no_differences() {
        for (first, this) in [
            (r#"{"a":1,"b":2}"#, r#"{ "b" : 2, "a" : 1 }"#),
            (r#"{"a":1.50}"#, r#"{"a":15e-1}"#),
            (r#"{"a":0}"#, r#"{"a":-0.0e7}"#),
            (r#"{"a":"A/"}"#, r#"{"\u0061":"\u0041\/"}"#),
        ] {
            assert_eq!(differing(first, this), [], "{first} {this}");
        }
    }

    #[test]
    fn equal_lines_far_from_a_difference_are_left_out() {
        let members = |last: u32| {
            let many: String = (100..140).map(|n| format!("\"m{n}\":1,")).collect();
            format!("{{{many}\"z\":{last}}}")
        };
        let lines = compared(&members(1), &members(2));
        assert_eq!(lines[0], Line::Skipped(39));
        assert_eq!(lines.len(), 1 + CONTEXT + 1 + 1);
    }

    #[test]
    fn a_side_that_is_large_deep_or_no_event_is_bounded() {
        let large = format!("{{\"a\":[{}1]}}", "1,".repeat(100_000));
        assert_eq!(compare(event(&large).as_bytes(), event("{}").as_bytes()), None);
        assert_eq!(compare(b"[]", event("{}").as_bytes()), None);
        let deep = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert!(!differing(&deep(120), "{}").is_empty());
        assert_eq!(
            compare(event(&deep(5_000)).as_bytes(), event("{}").as_bytes()),
            None
        );
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(300_000));
        assert!(differing(&long, "{}")[0].0.len() < 1_000);
    }
}
