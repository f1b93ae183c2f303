//! One start of a function, and many events of each kind.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use testkit::runtime_api::{Answer, Idle};

use crate::Kind;
use crate::aws::{Aws, SECRET};
use crate::event::{LARGE, SMALL, body, invocation};
use crate::function::Environment;

/// The events before the measured ones. They fill caches and pools.
const WARM: usize = 50;

/// The cost of one start of a function and of its events.
pub struct Round {
    /// From the start of the process until it asks for its first invocation.
    pub init: Duration,
    /// From the start of the process to the first answer.
    pub cold: Duration,
    /// The processor time of the first event.
    pub first_event_cpu: Duration,
    pub fresh: Phase,
    /// Only of the receiver.
    pub duplicate: Option<Phase>,
    /// Only of the receiver.
    pub forged: Option<Phase>,
    pub large: Phase,
    /// The peak memory before the large events, in bytes.
    pub memory: u64,
    /// The peak memory after the large events, in bytes.
    pub memory_after_large: u64,
    /// The calls of the start and of the first event.
    pub start_calls: Calls,
}

/// The cost of many events of one kind.
pub struct Phase {
    pub latencies: Vec<Duration>,
    /// The processor time of one event.
    pub cpu: Duration,
    pub calls: Calls,
}

/// Makes the n-th invocation.
pub type Make<'a> = &'a dyn Fn(usize) -> String;

/// Checks an answer.
pub type Check<'a> = &'a dyn Fn(&Answer) -> Result<(), String>;

/// The number of calls by operation.
pub type Calls = BTreeMap<String, u64>;

impl Round {
    /// Starts a function, and sends `events` events of each kind.
    pub fn measure(kind: Kind, binary: &Path, aws: &Aws, events: usize) -> Result<Self, Box<dyn Error>> {
        aws.clear();
        aws.take_calls();
        let mut function = Environment::start(binary, aws)?;
        let idle = function.idle()?;
        let (before, init) = (function.cpu()?, idle.since - function.started);
        let first = function.invoke(idle, invocation(&body("first", SMALL), SECRET))?;
        expect(&first, kind, false)?;
        let cold = first.at - function.started;
        let idle = function.idle()?;
        let first_event_cpu = function.cpu()? - before;
        let start_calls = aws.take_calls();

        let mut phases = Phases {
            function,
            aws,
            idle: Some(idle),
        };
        let accepted = |answer: &Answer| expect(answer, kind, false);
        let fresh = |prefix: &'static str, size| {
            move |n: usize| invocation(&body(&format!("{prefix}-{n}"), size), SECRET)
        };
        phases.measure(WARM, &fresh("warm", SMALL), &accepted)?;
        let new = phases.measure(events, &fresh("event", SMALL), &accepted)?;
        let (mut duplicate, mut forged) = (None, None);
        if kind == Kind::Receiver {
            let known = invocation(&body("known", SMALL), SECRET);
            phases.measure(1, &|_| known.clone(), &accepted)?;
            let is_duplicate = |answer: &Answer| expect(answer, kind, true);
            duplicate = Some(phases.measure(events, &|_| known.clone(), &is_duplicate)?);
            let forgery = invocation(&body("forged", SMALL), "not the secret");
            // The first forgery fetches the previous version and looks for a newer one. The others cost no call.
            phases.measure(1, &|_| forgery.clone(), &refused)?;
            forged = Some(phases.measure(events, &|_| forgery.clone(), &refused)?);
        }
        let memory = phases.function.peak_memory()?;
        let large = phases.measure(events.div_ceil(10), &fresh("large", LARGE), &accepted)?;
        Ok(Self {
            init,
            cold,
            first_event_cpu,
            fresh: new,
            duplicate,
            forged,
            large,
            memory,
            memory_after_large: phases.function.peak_memory()?,
            start_calls,
        })
    }
}

/// A function between two events.
struct Phases<'a> {
    // The function is dropped before its poll: a function whose poll gets no answer writes an error.
    function: Environment,
    aws: &'a Aws,
    idle: Option<Idle>,
}

impl Phases<'_> {
    /// Sends `count` events, one after the other.
    fn measure(&mut self, count: usize, make: Make<'_>, check: Check<'_>) -> Result<Phase, Box<dyn Error>> {
        let before = self.function.cpu()?;
        let mut latencies = Vec::with_capacity(count);
        for n in 0..count {
            let idle = match self.idle.take() {
                Some(idle) => idle,
                None => self.function.idle()?,
            };
            let answer = self.function.invoke(idle, make(n))?;
            check(&answer)?;
            latencies.push(answer.latency);
            self.idle = Some(self.function.idle()?);
        }
        Ok(Phase {
            latencies,
            cpu: (self.function.cpu()? - before) / u32::try_from(count)?,
            calls: self.aws.take_calls(),
        })
    }
}

/// Checks that a delivery got 200. The cost of a wrong answer says nothing.
pub fn expect(answer: &Answer, kind: Kind, duplicate: bool) -> Result<(), String> {
    let body = answer.reply["body"].as_str().unwrap_or_default();
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let is_right = answer.reply["statusCode"] == 200
        && body["received"] == true
        && (kind != Kind::Receiver || body["duplicate"] == duplicate);
    match is_right {
        true => Ok(()),
        false => Err(format!("a delivery got {}", answer.reply)),
    }
}

/// Checks that a forgery got 401.
pub fn refused(answer: &Answer) -> Result<(), String> {
    match answer.reply["statusCode"] == 401 {
        true => Ok(()),
        false => Err(format!("a forgery got {}", answer.reply)),
    }
}
