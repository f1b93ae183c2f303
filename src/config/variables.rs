//! Reads variables, and collects all their faults.

use std::ffi::OsString;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

/// Reads variables, and collects their faults. An empty variable counts as unset.
pub(super) struct Variables<L> {
    lookup: L,
    faults: Vec<Fault>,
}

impl<L: Fn(&str) -> Option<OsString>> Variables<L> {
    /// Reads through `lookup`, which returns `None` for a variable that is not set.
    pub fn new(lookup: L) -> Self {
        let faults = Vec::new();
        Self { lookup, faults }
    }

    /// Notes a fault.
    pub fn fault(&mut self, variable: &'static str, fault: impl Into<String>) {
        let fault = fault.into();
        self.faults.push(Fault { variable, fault });
    }

    /// True if the variable has a fault already.
    pub fn has_fault(&self, variable: &str) -> bool {
        self.faults.iter().any(|fault| fault.variable == variable)
    }

    /// Reads a text. A text of blanks is a fault.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        match (self.lookup)(name)?.into_string() {
            Ok(value) if value.is_empty() => {}
            Ok(value) if value.trim().is_empty() => {
                self.fault(name, "has only blanks; unset it, or give it a value")
            }
            Ok(value) => return Some(value),
            Err(_) => self.fault(name, "is not UTF-8"),
        }
        None
    }

    /// Reads a name: a text without blanks, line breaks and other control characters.
    pub fn name(&mut self, name: &'static str) -> Option<String> {
        let value = self.text(name)?;
        if value.contains(|c: char| c.is_whitespace() || c.is_control()) {
            self.fault(
                name,
                "has a blank, a line break or a control character; it may have been pasted with one",
            );
            return None;
        }
        Some(value)
    }

    /// Reads a name that must be there. `meaning` says what the variable is for.
    pub fn required(&mut self, name: &'static str, meaning: &str) -> Option<String> {
        let value = self.name(name);
        if value.is_none() && !self.has_fault(name) {
            self.fault(name, format!("is not set; {meaning}"));
        }
        value
    }

    /// Reads one of these words, in any case and without blanks around it. The SDK ignores other values of some variables.
    pub fn one_of(&mut self, name: &'static str, words: &[&'static str]) -> Option<&'static str> {
        let value = self.text(name)?;
        let word = words
            .iter()
            .find(|word| value.eq_ignore_ascii_case(word))
            .copied();
        if word.is_none() {
            let fault = format!("is not one of {}, without blanks around it", words.join(", "));
            self.fault(name, fault);
        }
        word
    }

    /// Returns the value, if no variable has a fault.
    pub fn finish<T>(self, value: T) -> Result<T, Faults> {
        if self.faults.is_empty() {
            Ok(value)
        } else {
            Err(Faults(self.faults))
        }
    }

    /// All faults so far.
    pub fn into_faults(self) -> Faults {
        Faults(self.faults)
    }

    /// Adds the faults of other variables.
    pub fn extend(&mut self, Faults(faults): Faults) {
        self.faults.extend(faults);
    }

    /// True if the variable is set, and empty.
    pub fn is_empty(&self, name: &str) -> bool {
        (self.lookup)(name).is_some_and(|value| value.is_empty())
    }

    /// Reads the path of a file.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        (self.lookup)(name)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    }

    /// Reads a number in a range.
    pub fn number<T>(&mut self, name: &'static str, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + fmt::Display,
    {
        let value = self.text(name)?;
        let number = value.trim().parse().ok().filter(|n| range.contains(n));
        if number.is_none() {
            self.fault(
                name,
                format!("is not a number from {} to {}", range.start(), range.end()),
            );
        }
        number
    }
}

/// A variable, and its fault. The text does not repeat the value, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The variable's name.
    pub variable: &'static str,
    /// The fault, to be read after the name.
    pub fault: String,
}

/// All faults of the configuration, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Fault { variable, fault }) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{variable} {fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
