//! The instructions of an event. Other load on the machine does not change them.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Kind;
use crate::aws::{Aws, SECRET};
use crate::event::{LARGE, SMALL, body, invocation};
use crate::function::Environment;
use crate::rounds::{Check, Make, expect, refused};
use testkit::runtime_api::Answer;

/// The events before the counted ones. They fill caches and pools.
const WARM: usize = 20;

/// The events that are counted.
const COUNTED: usize = 100;

/// Counts the instructions of a function, and returns its row of the table.
pub fn count(kind: Kind, binary: &Path, aws: &Aws, folder: &Path) -> Result<String, Box<dyn Error>> {
    let run = |name: &str, count, make: Make<'_>, check: Check<'_>| -> Result<u64, Box<dyn Error>> {
        aws.clear();
        let file = folder.join(format!("callgrind.{kind:?}.{name}.{count}"));
        let mut valgrind = Command::new("/usr/bin/valgrind");
        valgrind
            .arg("--tool=callgrind")
            .arg(format!("--callgrind-out-file={}", file.display()));
        valgrind.arg(binary).stderr(Stdio::null());
        let mut function = Environment::launch(valgrind, aws)?;
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
    };
    let an_event = |name, make: Make<'_>, check: Check<'_>| -> Result<String, Box<dyn Error>> {
        let counted = run(name, WARM + COUNTED, make, check)? - run(name, WARM, make, check)?;
        Ok((counted / COUNTED as u64).to_string())
    };
    let accepted = |answer: &Answer| expect(answer, kind, false);
    let fresh = |size| move |i: usize| invocation(&body(&format!("event-{i}"), size), SECRET);

    let start = run("start", 0, &fresh(SMALL), &accepted)?;
    let new = an_event("new", &fresh(SMALL), &accepted)?;
    let large = an_event("large", &fresh(LARGE), &accepted)?;
    let (mut duplicate, mut forged) = (String::new(), String::new());
    if kind == Kind::Receiver {
        let known = invocation(&body("known", SMALL), SECRET);
        let answered = |answer: &Answer| expect(answer, kind, true).or_else(|_| expect(answer, kind, false));
        duplicate = an_event("duplicate", &|_| known.clone(), &answered)?;
        let forgery = invocation(&body("forged", SMALL), "not the secret");
        forged = an_event("forged", &|_| forgery.clone(), &refused)?;
    }
    Ok(format!(
        "| {} | {start} | {new} | {duplicate} | {forged} | {large} |",
        kind.name()
    ))
}
