//! Tables, and what must not have happened.

use std::sync::{Mutex, PoisonError};

/// Names and counts under a heading.
pub struct Table {
    heading: &'static str,
    rows: Vec<(String, String)>,
}

impl Table {
    pub fn new(heading: &'static str) -> Self {
        let rows = Vec::new();
        Self { heading, rows }
    }

    pub fn row(&mut self, name: &str, value: impl ToString) {
        self.rows.push((name.to_owned(), value.to_string()));
    }

    pub fn print(&self) {
        println!("\n{}", self.heading);
        for (name, value) in &self.rows {
            println!("  {name:<70} {value:>9}");
        }
    }
}

/// What must not happen, as it was seen.
#[derive(Default)]
pub struct Violations(Mutex<Vec<String>>);

impl Violations {
    pub fn note(&self, violation: String) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(violation);
    }

    /// Whether it is of no use to go on.
    pub fn too_many(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() > 50
    }

    /// Prints them, and says whether there are none.
    pub fn print(&self) -> bool {
        let violations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for violation in violations.iter().take(20) {
            let short: String = violation.chars().take(500).collect();
            println!("VIOLATION: {short}");
        }
        println!("\n{} violations", violations.len());
        violations.is_empty()
    }
}
