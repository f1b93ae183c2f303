//! The checks at the end of a run.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use aws_sdk_dynamodb::types::AttributeValue;
use emulators::BoxError;
use testkit::rejected_key;

use super::run::Run;
use super::tokens::Tokens;
use crate::back_ends::Item;
use crate::environment::{Answer, Environment, Invoked, Trouble};
use crate::lock;
use crate::plan;
use crate::report::Table;

/// The most records that are read back through the function.
const READ_BACK: usize = 200;

/// The most tries for a read.
const TRIES: usize = 20;

/// Bodies by event id.
type Records = HashMap<String, String>;

/// Compares the table with the deliveries. A row's name has the letter of the contract's invariant.
pub fn compare(run: &Run, items: &[Item]) -> Table {
    let (mut accepted, mut rejected) = by_outcome(items);
    let (mut missing, mut altered, mut doubled, mut never_new) = (0, 0, 0, 0);
    for (event, progress) in run.bodies.events.iter().zip(&run.progress) {
        match accepted.remove(&event.id) {
            None => missing += 1,
            Some(body) if body != event.body => altered += 1,
            Some(_) => {}
        }
        let new = progress.answered_new.load(Ordering::SeqCst);
        doubled += u64::from(new > 1);
        never_new += u64::from(new == 0 && progress.unknown.load(Ordering::SeqCst) == 0);
        if progress.confirmed.load(Ordering::SeqCst) == 0 {
            run.violations.note(format!("{} never got a 2xx", event.id));
        }
    }
    let mut answered = lock(&run.rejected).clone();
    answered.sort();
    answered.dedup();
    let is_lost = |body: &String| rejected.remove(&rejected_key(body)).as_ref() != Some(body);
    let lost = answered.into_iter().filter(is_lost).count() as u64;
    // The sender may not have heard that these are rejected.
    let conflicts = run.bodies.conflicts.iter().map(|event| &event.body);
    let signed: Vec<_> = conflicts.chain(&run.bodies.others).collect();
    let unsigned = rejected.values().filter(|body| !signed.contains(body)).count() as u64;

    let mut table = Table::new("the table, compared with the deliveries");
    for (name, count) in [
        ("events missing (A)", missing),
        ("events altered (B)", altered),
        (
            "accepted records of unknown or forged events (D)",
            accepted.len() as u64,
        ),
        ("rejected records of unknown or forged bodies (D)", unsigned),
        ("rejected bodies that are not stored", lost),
        ("events with more than one answer duplicate: false (C)", doubled),
        (
            "events with all answers heard and none duplicate: false (C)",
            never_new,
        ),
    ] {
        table.row(name, count);
        if count > 0 {
            run.violations.note(format!("{count} {name}"));
        }
    }
    table.row("records", items.len());
    table
}

/// The accepted and the other records.
fn by_outcome(items: &[Item]) -> (Records, Records) {
    let text = |item: &Item, name: &str| match item.get(name) {
        Some(AttributeValue::S(text)) => text.clone(),
        _ => String::new(),
    };
    let (mut accepted, mut rejected) = (Records::new(), Records::new());
    for item in items {
        let records = match text(item, "outcome").as_str() {
            "accepted" => &mut accepted,
            _ => &mut rejected,
        };
        records.insert(text(item, "event_id"), text(item, "body"));
    }
    (accepted, rejected)
}

/// Adds the delivery tokens to a table, and checks that each belongs to one delivery.
pub fn tokens(run: &Run, tokens: &Tokens, table: &mut Table) {
    let (count, twice) = tokens.count();
    table.row("delivery tokens in the writes", count);
    table.row("delivery tokens that two deliveries used", twice);
    if twice > 0 {
        run.violations.note(format!(
            "{twice} writes have the delivery token of another delivery"
        ));
    }
}

/// Adds the 503 answers without a failure to a table. The run has noted each as a violation.
pub fn unexplained(run: &Run, table: &mut Table) {
    let count = run.unexplained.load(Ordering::SeqCst);
    table.row("503 answers although nothing failed", count);
}

/// Reads random records back through the function, and returns their number.
pub async fn read_back(run: &Run, environment: &mut Environment) -> Result<usize, BoxError> {
    let events = &run.bodies.events;
    let mut rng = plan::rng(run.seed, 5);
    let count = events.len().min(READ_BACK);
    for _ in 0..count {
        let event = &events[rng.usize(0..events.len())];
        let answer = read(environment, &event.id).await?;
        let data = format!(r#""data":{}"#, event.data);
        if answer.status != 200 || !answer.body.contains(&data) {
            run.violations.note(format!(
                "{} is read back as {}: {}",
                event.id, answer.status, answer.body
            ));
        }
    }
    Ok(count)
}

/// Reads one record. The proxy breaks reads, too, so a 503 is retried.
async fn read(environment: &mut Environment, event_id: &str) -> Result<Answer, BoxError> {
    let mut tries = 1;
    loop {
        let payload = plan::rest_get(&format!("/events/{event_id}"));
        match environment.invoke(payload, Trouble::None).await? {
            Invoked::Answered(answer) if answer.status != 503 || tries == TRIES => return Ok(answer),
            Invoked::Answered(_) | Invoked::Killed => tries += 1,
        }
    }
}
