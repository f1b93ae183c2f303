//! The events a second of one environment that gets many invocations at once (Lambda Managed Instances).
//!
//! Two processors must serve nearly twice as many events as one. Each thread of the function gets a fixed share of a processor,
//! so that the driver and the stand-ins, which run on the same processors, have the rest.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use testkit::runtime_api::Answer;

use crate::Kind;
use crate::aws::{Aws, SECRET};
use crate::cpu_quota::CpuQuota;
use crate::event::{SMALL, body, invocation};
use crate::function::{Environment, Launch, processors};
use crate::rounds::expect;

/// The invocations that the function has at the same time.
const AT_ONCE: usize = 64;

/// The share of a processor that each thread gets.
const SHARE: f64 = 0.2;
const PERIOD_US: u32 = 10_000;

/// Measures with one and with two processors in turn, `events` events each, and prints the medians.
pub fn run(binary: &Path, aws: &Aws, rounds: u16, events: u16) -> Result<(), Box<dyn Error>> {
    if processors() < 2 {
        return Err("this machine has one processor; the measurement needs two".into());
    }
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for (n, rates) in (1..).zip(&mut rates) {
            rates.push(rate(binary, aws, n, round, usize::from(events))?);
        }
    }
    let [one, two] = rates.map(|mut rates| {
        rates.sort_unstable_by(f64::total_cmp);
        rates[rates.len() / 2]
    });
    println!("| processors, {SHARE} of each | events a second | ratio |\n|---:|---:|---:|");
    println!("| 1 | {one:.0} | 1.00 |\n| 2 | {two:.0} | {:.2} |", two / one);
    Ok(())
}

/// The events a second with `count` processors.
fn rate(binary: &Path, aws: &Aws, count: usize, round: u16, events: usize) -> Result<f64, Box<dyn Error>> {
    aws.clear();
    let quota = |n: usize| CpuQuota::new(&format!("{round}-{count}-{n}"), SHARE, PERIOD_US);
    let quotas: Vec<_> = (0..count).map(quota).collect::<Result<_, _>>()?;
    let at_once = AT_ONCE.to_string();
    let launch = Launch {
        processors: processors() - count..processors(),
        variables: &[("AWS_LAMBDA_MAX_CONCURRENCY", &at_once)],
        quota: None,
    };
    let mut function = Environment::launch(Command::new(binary), aws, &launch)?;
    let accepted = |answer: &Answer| expect(answer, Kind::Receiver, false);
    let payloads = |prefix: &str, count| -> Vec<_> {
        (0..count)
            .map(|n| invocation(&body(&format!("{prefix}-{n}"), SMALL), SECRET))
            .collect()
    };
    // The first events open the connections.
    function.invoke_all(payloads("warm", AT_ONCE * 4), AT_ONCE, &accepted)?;
    let threads = function.threads()?;
    if threads.len() != count {
        return Err(format!(
            "{count} processors, and {} threads answer invocations",
            threads.len()
        )
        .into());
    }
    for (thread, quota) in threads.into_iter().zip(&quotas) {
        quota.add(thread)?;
    }
    let events = payloads("event", events);
    let count = events.len();
    let time = function.invoke_all(events, AT_ONCE, &accepted)?;
    Ok(count as f64 / time.as_secs_f64())
}
