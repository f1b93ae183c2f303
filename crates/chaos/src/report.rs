//! Tables, and violations of the contract.

use std::sync::Mutex;

use crate::lock;

/// Names and values under a heading.
pub struct Table {
    heading: &'static str,
    rows: Vec<(String, String)>,
}

impl Table {
    /// A table without rows.
    pub fn new(heading: &'static str) -> Self {
        let rows = Vec::new();
        Self { heading, rows }
    }

    /// Adds a row.
    pub fn row(&mut self, name: &str, value: impl ToString) {
        self.rows.push((name.to_owned(), value.to_string()));
    }

    /// Prints the table.
    pub fn print(&self) {
        println!("\n{}", self.heading);
        for (name, value) in &self.rows {
            println!("  {name:<70} {value:>9}");
        }
    }
}

/// The violations of the contract that the run has found.
#[derive(Default)]
pub struct Violations(Mutex<Vec<String>>);

impl Violations {
    /// The number of violations after which a run ends early.
    const TOO_MANY: usize = 50;
    /// The number of violations that the report shows.
    const SHOWN: usize = 20;
    /// The most characters of a violation that the report shows.
    const WIDTH: usize = 500;

    /// Adds a violation.
    pub fn note(&self, violation: String) {
        lock(&self.0).push(violation);
    }

    /// Whether the run should end early.
    pub fn too_many(&self) -> bool {
        lock(&self.0).len() > Self::TOO_MANY
    }

    /// Prints the violations. Returns true if no promise was broken.
    pub fn print(&self) -> bool {
        let violations = lock(&self.0);
        for violation in violations.iter().take(Self::SHOWN) {
            let short: String = violation.chars().take(Self::WIDTH).collect();
            println!("VIOLATION: {short}");
        }
        println!("\n{} violations", violations.len());
        violations.is_empty()
    }
}
