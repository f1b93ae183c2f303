//! Instructions an event, which other load on the machine does not change.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::aws::{Aws, SECRET};
use crate::event::{LARGE, SMALL, body, invocation};
use crate::function::Function;
use crate::runtime_api::Answer;
use crate::{Check, Kind, Make, expect, refused};

/// What goes before the events that are counted: caches and pools fill.
const WARM: usize = 20;
const COUNTED: usize = 100;

/// A row of the table.
pub fn count(kind: Kind, binary: &Path, aws: &Aws, folder: &Path) -> Result<String, Box<dyn Error>> {
    let run = |name: &str, count, make: Make<'_>, check: Check<'_>| -> Result<u64, Box<dyn Error>> {
        aws.clear();
        let file = folder.join(format!("callgrind.{kind:?}.{name}.{count}"));
        let mut valgrind = Command::new("/usr/bin/valgrind");
        valgrind
            .arg("--tool=callgrind")
            .arg(format!("--callgrind-out-file={}", file.display()));
        valgrind.arg(binary).stderr(Stdio::null());
        let function = Function::launch(valgrind, aws)?;
        let mut idle = function.api.idle()?;
        for i in 0..count {
            check(&function.api.invoke(&idle, make(i))?)?;
            idle = function.api.idle()?;
        }
        function.end()?;
        let written = std::fs::read_to_string(&file)?;
        let totals = written.lines().find_map(|line| line.strip_prefix("totals: "));
        Ok(totals.ok_or("callgrind wrote no totals")?.trim().parse()?)
    };
    let an_event = |name, make: Make<'_>, check: Check<'_>| -> Result<String, Box<dyn Error>> {
        let counted = run(name, WARM + COUNTED, make, check)? - run(name, WARM, make, check)?;
        Ok((counted / COUNTED as u64).to_string())
    };
    let taken = |answer: &Answer| expect(answer, kind, false);
    let fresh = |size| move |i: usize| invocation(&body(&format!("event-{i}"), size), SECRET);

    let start = run("start", 0, &fresh(SMALL), &taken)?;
    let new = an_event("new", &fresh(SMALL), &taken)?;
    let large = an_event("large", &fresh(LARGE), &taken)?;
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
