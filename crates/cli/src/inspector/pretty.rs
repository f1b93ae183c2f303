//! JSON for people, bounded in every way that a sender can choose: depth, members, and the length of strings.

use std::iter::Peekable;
use std::str::Chars;

use serde::Serialize;
use serde::de::IgnoredAny;

/// The most bytes of a text that the page shows.
pub const MAX_TEXT: usize = 64 << 10;

/// The most lines of a text.
const MAX_LINES: usize = 2_000;

/// The depth from which a value stays on one line.
const MAX_DEPTH: usize = 24;

/// The most characters of a string in JSON.
const MAX_STRING: usize = 1_000;

/// A text for the page.
#[derive(Debug, Default, Serialize, PartialEq, Eq)]
pub struct Shown {
    pub text: String,
    pub is_json: bool,
    /// True if a part was left out.
    pub is_cut: bool,
}

/// JSON with line breaks and indents, other text as it is. Numbers and the order of members stay as they are.
pub fn readable(bytes: &[u8]) -> Shown {
    let text = String::from_utf8_lossy(bytes);
    let is_json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
    let mut printer = Printer::default();
    if is_json {
        printer.json(text.chars().peekable());
    } else {
        for c in text.chars() {
            if printer.is_full() {
                break;
            }
            match c {
                '\n' => printer.line(),
                '\t' => printer.out.push(c),
                _ => printer.character(c),
            }
        }
    }
    Shown {
        text: printer.out,
        is_json,
        is_cut: printer.is_cut,
    }
}

/// The beginning of a text, with a mark if there is more.
pub fn shortened(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[derive(Default)]
struct Printer {
    out: String,
    depth: usize,
    lines: usize,
    is_cut: bool,
}

impl Printer {
    fn is_full(&mut self) -> bool {
        let is_full = self.out.len() >= MAX_TEXT || self.lines >= MAX_LINES;
        if is_full && !self.is_cut {
            self.is_cut = true;
            self.out.push_str("\n… (cut; the raw body has the rest)");
        }
        is_full
    }

    fn line(&mut self) {
        self.out.push('\n');
        self.lines += 1;
    }

    /// A line break and an indent. Deep values have none, or the indents would outgrow the text.
    fn indent(&mut self, depth: usize) {
        if depth <= MAX_DEPTH {
            self.line();
            self.out.extend(std::iter::repeat_n(' ', 2 * depth));
        }
    }

    /// A character, made visible if it is a control character or changes the direction of the text after it.
    fn character(&mut self, c: char) {
        let mut utf8 = [0; 4];
        self.out.push_str(&crate::show::clean(c.encode_utf8(&mut utf8)));
    }

    /// Text that is known to be JSON.
    fn json(&mut self, mut text: Peekable<Chars<'_>>) {
        while let Some(c) = text.next() {
            if self.is_full() {
                return;
            }
            match c {
                ' ' | '\n' | '\r' | '\t' => {}
                '{' | '[' => self.open(c, &mut text),
                '}' | ']' => {
                    self.indent(self.depth.saturating_sub(1));
                    self.depth = self.depth.saturating_sub(1);
                    self.out.push(c);
                }
                ',' => {
                    self.out.push(c);
                    self.indent(self.depth);
                }
                ':' => self.out.push_str(": "),
                '"' => self.string(&mut text),
                _ => self.character(c),
            }
        }
    }

    fn open(&mut self, c: char, text: &mut Peekable<Chars<'_>>) {
        self.out.push(c);
        while text.next_if(char::is_ascii_whitespace).is_some() {}
        if let Some(end) = text.next_if(|c| matches!(c, '}' | ']')) {
            self.out.push(end);
        } else {
            self.depth += 1;
            self.indent(self.depth);
        }
    }

    /// A string after its first quotation mark.
    fn string(&mut self, text: &mut Peekable<Chars<'_>>) {
        self.out.push('"');
        let (mut shown, mut hidden, mut is_escaped) = (0, 0, false);
        for c in text.by_ref() {
            if c == '"' && !is_escaped {
                break;
            }
            // An escape and its character stay together.
            if shown < MAX_STRING || is_escaped && hidden == 0 {
                self.character(c);
                shown += 1;
            } else {
                hidden += 1;
            }
            is_escaped = !is_escaped && c == '\\';
        }
        if hidden > 0 {
            self.out.push_str(&format!("… ({hidden} more characters)"));
        }
        self.out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_the_same_json_with_its_digits() {
        let text = r#"{"b":[1.0e3,{"c":"a\"}:,[\\"},{ },[ ]],"a":0.10000000000000000001,"d":null}"#;
        let shown = readable(text.as_bytes());
        assert!(shown.is_json && !shown.is_cut);
        assert!(
            shown.text.contains("\n  \"a\": 0.10000000000000000001,\n"),
            "{}",
            shown.text
        );
        assert!(shown.text.contains("{},\n    []"), "{}", shown.text);
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(read(&shown.text), read(text));
    }

    #[test]
    fn other_text_stays_and_what_would_hide_text_is_visible() {
        let shown = readable("a\tb\nc\u{1b}[2J\u{202e}".as_bytes());
        assert_eq!(shown.text, "a\tb\nc\\u{1b}[2J\\u{202e}");
        assert!(!shown.is_json);
        assert!(readable(b"\xff\xfe").text.contains('\u{fffd}'));
        assert!(
            readable("{\"a\":\"\u{202e}\"}".as_bytes())
                .text
                .contains("\\u{202e}")
        );
    }

    #[test]
    fn every_shape_of_a_large_body_stays_small() {
        let deep = |open: &str, close: &str, n: usize| open.repeat(n) + "1" + &close.repeat(n);
        let many = |n: usize| {
            (0..n)
                .map(|n| format!("\"m{n}\":{n}"))
                .collect::<Vec<_>>()
                .join(",")
        };
        for body in [
            "[".repeat(64 << 10),
            deep("[", "]", 170_000),
            deep("{\"a\":", "}", 58_000),
            deep("[[],", "]", 80_000),
            format!("{{{}}}", many(25_000)),
            format!("[{}1]", "1,".repeat(170_000)),
            format!("[{}1]", "[],".repeat(110_000)),
            format!("{{\"a\":\"{}\"}}", "x".repeat(350_000)),
            format!("{{\"a\":\"{}\"}}", "\\u0001".repeat(58_000)),
            format!("{{\"{}\":1}}", "\\\"".repeat(170_000)),
            "\u{7}".repeat(350_000),
            "\n".repeat(350_000),
            "\u{202e}".repeat(110_000),
        ] {
            let begun = std::time::Instant::now();
            let shown = readable(body.as_bytes());
            let start: String = body.chars().take(20).collect();
            assert!(
                shown.text.len() < MAX_TEXT + 4_000,
                "{start}: {}",
                shown.text.len()
            );
            assert!(shown.text.lines().count() <= MAX_LINES + 2, "{start}");
            assert!(begun.elapsed().as_secs() < 5, "{start}");
        }
    }

    #[test]
    fn a_long_string_says_how_much_is_missing_and_keeps_its_escapes_whole() {
        let body = format!("[\"{}\",2]", "\\n".repeat(2_000));
        let shown = readable(body.as_bytes());
        assert!(
            shown.text.contains("\\n… (3000 more characters)\",\n  2\n"),
            "{}",
            shown.text
        );
    }
}
