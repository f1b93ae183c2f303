//! The instructions of a start and of an event. Other load on the machine does not change them.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testkit::runtime_api::Answer;

use crate::Kind;
use crate::aws::{Aws, SECRET};
use crate::event::{LARGE, SMALL, body, invocation};
use crate::function::{Environment, Launch};
use crate::report::verdict;
use crate::rounds::{Check, Make, expect, refused};

/// The events before the counted ones. They fill caches and pools.
const WARM: usize = 20;

/// The events that are counted.
const COUNTED: usize = 100;

/// The limits of the receiver: the measured values and 6 %. Two counts of one binary differ by about 1 %, and other processors
/// use other routines of `ring`.
const LIMITS: [(&str, u64); 5] = [
    ("start", 8_550_000),
    ("new event", 1_150_000),
    ("duplicate", 1_300_000),
    ("forged", 400_000),
    ("256 KiB", 60_000_000),
];

/// Counts the instructions of each function, and prints the tables. Returns false if a count of the receiver is over its limit.
pub fn run(functions: &[(Kind, PathBuf)], aws: &Aws, folder: &Path) -> Result<bool, Box<dyn Error>> {
    let names = LIMITS.map(|(name, _)| name);
    println!(
        "| instructions | {} |\n|---|{}",
        names.join(" | "),
        "---:|".repeat(5)
    );
    let mut holds = true;
    let mut limits = String::new();
    for (kind, binary) in functions {
        let counts = Counter {
            kind: *kind,
            binary,
            aws,
            folder,
        }
        .all()?;
        let cells = counts.map(|count| count.map(|count| count.to_string()).unwrap_or_default());
        println!("| {} | {} |", kind.name(), cells.join(" | "));
        if *kind != Kind::Receiver {
            continue;
        }
        for ((name, limit), count) in LIMITS.iter().zip(counts.into_iter().flatten()) {
            holds &= count <= *limit;
            limits += &format!("| {name} | {limit} | {count} | {} |\n", verdict(count <= *limit));
        }
    }
    println!("\n| instructions | limit | counted | |\n|---|---:|---:|---|\n{limits}");
    Ok(holds)
}

struct Counter<'a> {
    kind: Kind,
    binary: &'a Path,
    aws: &'a Aws,
    folder: &'a Path,
}

impl Counter<'_> {
    /// The counts in the order of [`LIMITS`]. Only the receiver knows duplicates and forgeries.
    fn all(&self) -> Result<[Option<u64>; 5], Box<dyn Error>> {
        let accepted = |answer: &Answer| expect(answer, self.kind, false);
        let fresh = |size| move |i: usize| invocation(&body(&format!("event-{i}"), size), SECRET);
        let start = self.run("start", 0, &fresh(SMALL), &accepted)?;
        let new = self.an_event("new", &fresh(SMALL), &accepted)?;
        let large = self.an_event("large", &fresh(LARGE), &accepted)?;
        let (mut duplicate, mut forged) = (None, None);
        if self.kind == Kind::Receiver {
            let known = invocation(&body("known", SMALL), SECRET);
            let answered = |answer: &Answer| {
                expect(answer, self.kind, true).or_else(|_| expect(answer, self.kind, false))
            };
            duplicate = Some(self.an_event("duplicate", &|_| known.clone(), &answered)?);
            let forgery = invocation(&body("forged", SMALL), "not the secret");
            forged = Some(self.an_event("forged", &|_| forgery.clone(), &refused)?);
        }
        Ok([Some(start), Some(new), duplicate, forged, Some(large)])
    }

    /// The instructions of one event.
    fn an_event(&self, name: &str, make: Make<'_>, check: Check<'_>) -> Result<u64, Box<dyn Error>> {
        let warm = self.run(name, WARM, make, check)?;
        Ok((self.run(name, WARM + COUNTED, make, check)? - warm) / COUNTED as u64)
    }

    /// The instructions of a start and `count` events.
    fn run(&self, name: &str, count: usize, make: Make<'_>, check: Check<'_>) -> Result<u64, Box<dyn Error>> {
        self.aws.clear();
        let file = self
            .folder
            .join(format!("callgrind.{:?}.{name}.{count}", self.kind));
        let mut valgrind = Command::new("/usr/bin/valgrind");
        valgrind
            .arg("--tool=callgrind")
            .arg(format!("--callgrind-out-file={}", file.display()));
        valgrind.arg(self.binary).stderr(Stdio::null());
        let mut function = Environment::launch(valgrind, self.aws, &Launch::default())?;
        let mut idle = function.idle()?;
        for i in 0..count {
            check(&function.invoke(idle, make(i))?)?;
            idle = function.idle()?;
        }
        function.end()?;
        let written = std::fs::read_to_string(&file)?;
        let totals = written.lines().find_map(|line| line.strip_prefix("totals: "));
        Ok(totals
            .ok_or("callgrind wrote no total; run `valgrind` on the binary to see why")?
            .trim()
            .parse()?)
    }
}
