//! `faults`: deliveries, duplicates and forgeries through the release binary while everything under and
//! around it breaks; then the table is read back and held against what was sent.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use clap::Args;
use emulators::{BoxError, Fault as SecretsFault};
use fastrand::Rng;
use sha2::{Digest, Sha256};
use sonotheia_webhook::timestamp::Timestamp;
use tokio::sync::RwLock;

use crate::back_ends::{BackEnds, Item};
use crate::environment::{Answer, Environment, Function, Invoked, Log};
use crate::plan::{self, Event, Forgery, MARK};
use crate::report::{Table, Violations};

/// `SECRET_CACHE_SECONDS`; the sender switches that long after a new version was put, and some more.
const CACHE_SECONDS: u32 = 1;
const ROTATIONS: usize = 3;

// What is counted besides answers.
const DELIVERIES: &str = "deliveries sent";
const LOST_BEFORE: &str = "lost on the way to the function";
const KILLED_BEFORE: &str = "killed (SIGKILL) with the delivery under way";
const KILLED_AFTER: &str = "killed (SIGKILL) right after the answer";
const LOST_AFTER: &str = "answer lost on the way to the sender";
const SECRETS_FAILED: &str = "times Secrets Manager failed for 200 ms";
const ROTATED: &str = "rotations of the secret";

/// Break everything, and look whether anything was lost, doubled, altered or let in
#[derive(Args)]
pub struct Faults {
    /// Different events
    #[arg(long, default_value_t = 400)]
    events: usize,
    /// Deliveries that are planned: events, duplicates, forgeries and all; what gets no 2xx comes on top
    #[arg(long, default_value_t = 2000)]
    deliveries: usize,
    /// What everything follows from, but for the order in which the machine runs it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Environments of the function at a time
    #[arg(long, default_value_t = 8)]
    environments: usize,
}

#[derive(Clone, Copy)]
enum Kind {
    Event(usize),
    Forged(usize, Forgery),
    /// The id of an event, with other data.
    Conflict(usize),
    /// Signed, but not an event.
    NotAnEvent(usize),
}

/// An event's way through the run.
#[derive(Default)]
struct Fate {
    taken: AtomicU64,
    answered_new: AtomicU64,
    /// Deliveries whose outcome nobody heard: killed, or 503.
    unheard: AtomicU64,
}

struct Run {
    seed: u64,
    events: Vec<Event>,
    fates: Vec<Fate>,
    forged: Vec<Event>,
    conflicts: Vec<Event>,
    others: Vec<String>,
    queue: Mutex<Queue>,
    /// The versions of the secret that were put; the last one is current.
    secrets: RwLock<Vec<String>>,
    /// The version that the sender signs with.
    signing: AtomicUsize,
    numbers: AtomicU64,
    outcomes: Mutex<BTreeMap<&'static str, u64>>,
    violations: Violations,
    /// Bodies that were answered 400 or 409, which says that they are kept.
    kept: Mutex<Vec<String>>,
}

struct Queue {
    planned: VecDeque<Kind>,
    again: Vec<Kind>,
    at_work: usize,
}

impl Faults {
    pub async fn run(self, binary: std::path::PathBuf) -> Result<bool, BoxError> {
        let begun = Instant::now();
        let run = Arc::new(self.plan());
        let first = run.secrets.read().await[0].clone();
        let back_ends = Arc::new(BackEnds::start(&first, Some(self.seed)).await?);
        let function = Arc::new(Function {
            binary,
            variables: back_ends.variables(CACHE_SECONDS),
            unspeakable: (0..=ROTATIONS)
                .map(|version| secret(self.seed, version))
                .chain([MARK.to_owned()])
                .collect(),
            log: Log::default(),
            processes: Mutex::default(),
        });

        let keeper = tokio::spawn(rotate_and_break(run.clone(), back_ends.clone()));
        let mut workers = Vec::new();
        for name in 0..self.environments {
            let environment = Environment::new(function.clone(), name);
            workers.push(tokio::spawn(work(run.clone(), environment)));
        }
        for worker in workers {
            worker.await?;
        }
        keeper.abort();
        back_ends.secrets_manager.break_with(None);
        let sent_for = begun.elapsed();

        let items = back_ends.items().await?;
        let findings = run.compare(&items);
        let read_back = run.read_back(&function).await?;
        let leaks = function.log.leaks.load(Ordering::Relaxed);
        if leaks > 0 {
            run.violations
                .note(format!("E: {leaks} lines of the log hold a secret or a body"));
        }

        println!(
            "faults: seed {}, {} events, {} environments, {:.0} s",
            self.seed,
            self.events,
            self.environments,
            sent_for.as_secs_f64()
        );
        let mut outcomes = lock(&run.outcomes).clone();
        let mut table = Table::new("what was done");
        for name in [
            DELIVERIES,
            LOST_BEFORE,
            KILLED_BEFORE,
            KILLED_AFTER,
            LOST_AFTER,
            SECRETS_FAILED,
            ROTATED,
        ] {
            table.row(name, outcomes.remove(name).unwrap_or_default());
        }
        table.print();
        let mut table = Table::new("what the function answered");
        for (name, count) in outcomes {
            table.row(name, count);
        }
        table.print();
        let mut table = Table::new("what DynamoDB's proxy did to requests");
        for (fault, count) in back_ends.counts.by_fault() {
            table.row(fault.name(), count);
        }
        table.print();
        findings.print();
        let mut table = Table::new("and");
        table.row(
            "records read back through the function, data compared to the byte",
            read_back,
        );
        table.row(
            "log lines searched for secrets and bodies",
            function.log.lines.load(Ordering::Relaxed),
        );
        table.print();
        Ok(run.violations.print())
    }

    fn plan(&self) -> Run {
        let now = Timestamp::now();
        let mut rng = plan::rng(self.seed, 0);
        let make = |prefix: &str, n: usize, stream: u64| {
            let id = format!("{prefix}-{n}");
            Event::new(id, &mut plan::rng(self.seed ^ stream, n as u64), now)
        };
        let events: Vec<_> = (0..self.events).map(|n| make("event", n, 1 << 32)).collect();
        let spare = self.deliveries.saturating_sub(self.events);
        let forged: Vec<_> = (0..self.deliveries / 10)
            .map(|n| make("forged", n, 2 << 32))
            .collect();
        let conflicts: Vec<_> = (0..(self.deliveries / 100).min(self.events))
            .map(|n| make("event", n, 3 << 32))
            .collect();
        let others: Vec<_> = (0..self.deliveries / 100)
            .map(|n| match n % 4 {
                0 => format!(r#"{{"id":"other-{n}","data":{{"mark":"{MARK}"}}}}"#),
                1 => format!(r#"{{"id":"other-{n}","type":"t","data":{{"v":01}}}}"#),
                2 => format!(r#"["{MARK}",{n}]"#),
                _ => format!(r#"{{"id":"other-{n}","type":"t","data":{{"v":"\ud800{n}"}}}}"#),
            })
            .collect();

        let mut planned: Vec<_> = (0..self.events).map(Kind::Event).collect();
        let duplicates = spare.saturating_sub(forged.len() + conflicts.len() + others.len());
        planned.extend((0..duplicates).map(|_| Kind::Event(rng.usize(0..self.events))));
        planned.extend((0..forged.len()).map(|n| Kind::Forged(n, Forgery::ALL[n % Forgery::ALL.len()])));
        planned.extend((0..conflicts.len()).map(Kind::Conflict));
        planned.extend((0..others.len()).map(Kind::NotAnEvent));
        rng.shuffle(&mut planned);
        // A third of the deliveries come with another one of the same event right behind.
        for n in 1..planned.len() {
            if let (Kind::Event(before), Kind::Event(_)) = (planned[n - 1], planned[n])
                && n > self.events
                && rng.u32(0..3) == 0
            {
                planned[n] = Kind::Event(before);
            }
        }
        // What that replaced may have been an event's only delivery.
        let mut is_planned = vec![false; self.events];
        for kind in &planned {
            if let Kind::Event(n) = kind {
                is_planned[*n] = true;
            }
        }
        let left_out = is_planned.iter().enumerate().filter(|(_, planned)| !**planned);
        planned.extend(left_out.map(|(n, _)| Kind::Event(n)));

        Run {
            seed: self.seed,
            fates: events.iter().map(|_| Fate::default()).collect(),
            events,
            forged,
            conflicts,
            others,
            queue: Mutex::new(Queue {
                planned: planned.into(),
                again: Vec::new(),
                at_work: 0,
            }),
            secrets: RwLock::new(vec![secret(self.seed, 0)]),
            signing: AtomicUsize::new(0),
            numbers: AtomicU64::new(0),
            outcomes: Mutex::default(),
            violations: Violations::default(),
            kept: Mutex::default(),
        }
    }
}

fn secret(seed: u64, version: usize) -> String {
    format!("secret-{seed}-of-version-{version}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One environment's share of the deliveries.
async fn work(run: Arc<Run>, mut environment: Environment) {
    loop {
        let number = run.numbers.fetch_add(1, Ordering::SeqCst);
        let mut rng = plan::rng(run.seed ^ (4 << 32), number);
        match run.next(&mut rng) {
            Next::Delivery(kind) => {
                let again = run.deliver(kind, &mut environment, &mut rng).await;
                run.done(again.then_some(kind));
            }
            // What is at work elsewhere may have to be sent again.
            Next::Wait => tokio::time::sleep(Duration::from_millis(5)).await,
            Next::End => return,
        }
        if run.violations.too_many() {
            return;
        }
    }
}

enum Next {
    Delivery(Kind),
    Wait,
    End,
}

impl Run {
    fn next(&self, rng: &mut Rng) -> Next {
        let mut queue = lock(&self.queue);
        let retry = !queue.again.is_empty() && (queue.planned.is_empty() || rng.u32(0..4) == 0);
        let kind = if retry {
            let at = rng.usize(0..queue.again.len());
            Some(queue.again.swap_remove(at))
        } else {
            queue.planned.pop_front()
        };
        match kind {
            Some(kind) => {
                queue.at_work += 1;
                Next::Delivery(kind)
            }
            None if queue.at_work > 0 => Next::Wait,
            None => Next::End,
        }
    }

    fn done(&self, again: Option<Kind>) {
        let mut queue = lock(&self.queue);
        queue.at_work -= 1;
        queue.again.extend(again);
    }

    /// The share of the planned deliveries that is still to come, 0 to 1.
    fn left(&self, of: usize) -> f64 {
        lock(&self.queue).planned.len() as f64 / of as f64
    }

    fn count(&self, outcome: &'static str) {
        *lock(&self.outcomes).entry(outcome).or_default() += 1;
    }

    /// One delivery; says whether it has to be sent again.
    async fn deliver(&self, kind: Kind, environment: &mut Environment, rng: &mut Rng) -> bool {
        if let Kind::Conflict(n) = kind
            && self.fates[n].taken.load(Ordering::SeqCst) == 0
        {
            // Before the event itself was taken, this would be the event.
            return true;
        }
        // No rotation between signature and answer.
        let secrets = self.secrets.read().await;
        let signing = self.signing.load(Ordering::SeqCst);
        let may_use_previous = signing > 0 && signing + 1 == secrets.len();
        let version = signing - usize::from(may_use_previous && rng.u32(0..5) == 0);
        let secret = &secrets[version];
        let (body, signatures) = match kind {
            Kind::Event(n) => (
                &self.events[n].body,
                vec![plan::sign(secret, &self.events[n].body)],
            ),
            Kind::Conflict(n) => (
                &self.conflicts[n].body,
                vec![plan::sign(secret, &self.conflicts[n].body)],
            ),
            Kind::NotAnEvent(n) => (&self.others[n], vec![plan::sign(secret, &self.others[n])]),
            Kind::Forged(n, forgery) => {
                let body = &self.forged[n].body;
                let genuine = &self.events[n % self.events.len()].body;
                (body, forgery.signatures(secret, body, genuine, rng))
            }
        };
        self.count(DELIVERIES);
        if rng.u32(0..100) < 3 {
            self.count(LOST_BEFORE);
            return matches!(kind, Kind::Event(_));
        }
        let kill_after = (rng.u32(0..100) < 2).then(|| Duration::from_micros(rng.u64(0..20_000)));
        let payload = plan::rest(body, &signatures, rng.bool());
        let answer = match environment.invoke(payload, kill_after).await {
            Ok(Invoked::Answered(answer)) => answer,
            Ok(Invoked::Killed) => {
                self.count(KILLED_BEFORE);
                if let Kind::Event(n) = kind {
                    self.fates[n].unheard.fetch_add(1, Ordering::SeqCst);
                }
                return matches!(kind, Kind::Event(_));
            }
            Err(why) => {
                self.violations.note(why);
                return false;
            }
        };
        if kill_after.is_some() {
            self.count(KILLED_AFTER);
        }
        self.judge(kind, body, &answer);
        let heard = rng.u32(0..100) >= 3;
        if !heard {
            self.count(LOST_AFTER);
        }
        match kind {
            Kind::Event(n) if answer.status == 200 && heard => {
                self.fates[n].taken.fetch_add(1, Ordering::SeqCst);
                false
            }
            Kind::Forged(..) => false,
            _ => !heard || answer.status == 503,
        }
    }

    /// Whether the answer is one that this kind of delivery may get.
    fn judge(&self, kind: Kind, body: &str, answer: &Answer) {
        let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let outcome = match (kind, answer.status) {
            (Kind::Event(n), 200) => {
                if json["event_id"] != self.events[n].id.as_str() || json["received"] != true {
                    self.violations
                        .note(format!("an answer for another event: {json}"));
                }
                if json["duplicate"] == false {
                    self.fates[n].answered_new.fetch_add(1, Ordering::SeqCst);
                    "200, duplicate: false"
                } else {
                    "200, duplicate: true"
                }
            }
            (Kind::Event(n), 503) => {
                self.fates[n].unheard.fetch_add(1, Ordering::SeqCst);
                "503 for an event"
            }
            (Kind::Forged(..), 401) => "401 for a forgery",
            (Kind::Forged(_, Forgery::AnotherSecret | Forgery::FlippedBit | Forgery::AnotherBody), 503) => {
                "503 for a forgery, the secret being out of reach"
            }
            (Kind::Conflict(_), 409) => "409 for other data under a known id",
            (Kind::NotAnEvent(_), 400) => "400 for what is not an event",
            (Kind::Conflict(_) | Kind::NotAnEvent(_), 503) => "503 for what is to be refused",
            (_, status) => {
                self.violations
                    .note(format!("{status} for {}: {json}", name(kind)));
                "an answer that must not be"
            }
        };
        if matches!(answer.status, 400 | 409) {
            lock(&self.kept).push(body.to_owned());
        }
        self.count(outcome);
    }

    /// Holds the table against what was sent.
    fn compare(&self, items: &[Item]) -> Table {
        let text = |item: &Item, name: &str| match item.get(name) {
            Some(AttributeValue::S(text)) => text.clone(),
            _ => String::new(),
        };
        let mut accepted = HashMap::new();
        let mut rejected = HashMap::new();
        for item in items {
            let by_outcome = match text(item, "outcome").as_str() {
                "accepted" => &mut accepted,
                _ => &mut rejected,
            };
            by_outcome.insert(text(item, "event_id"), text(item, "body"));
        }
        let (mut missing, mut altered, mut doubled, mut untold) = (0, 0, 0, 0);
        for (event, fate) in self.events.iter().zip(&self.fates) {
            match accepted.remove(&event.id) {
                None => missing += 1,
                Some(body) if body != event.body => altered += 1,
                Some(_) => {}
            }
            let new = fate.answered_new.load(Ordering::SeqCst);
            doubled += u64::from(new > 1);
            untold += u64::from(new == 0 && fate.unheard.load(Ordering::SeqCst) == 0);
            if fate.taken.load(Ordering::SeqCst) == 0 {
                self.violations.note(format!("{} never got a 2xx", event.id));
            }
        }
        let foreign = accepted.len();
        let mut lost = 0;
        let mut kept: Vec<_> = lock(&self.kept).clone();
        kept.sort();
        kept.dedup();
        for body in kept {
            lost += u64::from(rejected.remove(&rejected_key(&body)).as_ref() != Some(&body));
        }
        // A refusal that nobody heard of may have been kept all the same.
        let signed: Vec<_> = self
            .conflicts
            .iter()
            .map(|event| &event.body)
            .chain(&self.others)
            .collect();
        let unsigned = rejected.values().filter(|body| !signed.contains(body)).count();

        let mut table = Table::new("the table, held against what was sent");
        let mut row = |name: &str, count: u64| {
            table.row(name, count);
            if count > 0 {
                self.violations.note(format!("{count} {name}"));
            }
        };
        row("events missing (A)", missing);
        row("events altered (B)", altered);
        row(
            "accepted records that were never sent, or forged (D)",
            foreign as u64,
        );
        row(
            "rejected records that were never sent, or forged (D)",
            unsigned as u64,
        );
        row("refused bodies that were not kept", lost);
        row("events answered duplicate: false more than once (C)", doubled);
        row(
            "events heard in full and never answered duplicate: false (C)",
            untold,
        );
        table.row("records", items.len() as u64);
        table
    }

    /// Reads some records back by the function itself.
    async fn read_back(&self, function: &Arc<Function>) -> Result<u64, BoxError> {
        let mut environment = Environment::new(function.clone(), 99);
        let mut rng = plan::rng(self.seed, 5);
        let mut read = 0;
        for _ in 0..self.events.len().min(200) {
            let event = &self.events[rng.usize(0..self.events.len())];
            // The proxy goes on breaking things.
            for _ in 0..20 {
                let payload = plan::rest_get(&format!("/events/{}", event.id));
                let Invoked::Answered(answer) = environment.invoke(payload, None).await? else {
                    continue;
                };
                if answer.status == 503 {
                    continue;
                }
                read += 1;
                let data = format!(r#""data":{}"#, event.data);
                if answer.status != 200 || !answer.body.contains(&data) {
                    self.violations
                        .note(format!("{} is read back as {}", event.id, answer.body));
                }
                break;
            }
        }
        Ok(read)
    }
}

const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Event(_) => "an event",
        Kind::Forged(..) => "a forgery",
        Kind::Conflict(_) => "other data under a known id",
        Kind::NotAnEvent(_) => "what is not an event",
    }
}

fn rejected_key(body: &str) -> String {
    let digest = Sha256::digest(body);
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("rejected:sha256:{digits}")
}

/// Rotates the secret as the run goes on, with the sender switching as the README says, and breaks
/// Secrets Manager for a moment now and then.
async fn rotate_and_break(run: Arc<Run>, back_ends: Arc<BackEnds>) {
    let all = lock(&run.queue).planned.len();
    let mut rng = plan::rng(run.seed, 6);
    let mut next_break = 0.95;
    for version in 1..=ROTATIONS {
        let at = 1.0 - version as f64 / (ROTATIONS + 1) as f64;
        while run.left(all) > at {
            if run.left(all) < next_break {
                next_break -= 0.05;
                let faults = [SecretsFault::InternalError, SecretsFault::Throttling];
                back_ends
                    .secrets_manager
                    .break_with(Some(faults[rng.usize(0..faults.len())]));
                tokio::time::sleep(Duration::from_millis(200)).await;
                back_ends.secrets_manager.break_with(None);
                run.count(SECRETS_FAILED);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let new = secret(run.seed, version);
        {
            let mut secrets = run.secrets.write().await;
            if let Err(error) = back_ends.rotate(&new).await {
                run.violations
                    .note(format!("the secret can't be rotated: {error}"));
                return;
            }
            secrets.push(new);
        }
        run.count(ROTATED);
        tokio::time::sleep(Duration::from_secs(u64::from(CACHE_SECONDS)) + Duration::from_millis(50)).await;
        let _no_delivery_is_under_way = run.secrets.write().await;
        run.signing.store(version, Ordering::SeqCst);
    }
}
