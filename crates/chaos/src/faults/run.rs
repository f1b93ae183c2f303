//! The sender of a run: it sends every delivery until it hears of a 2xx, and checks every answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::Value;
use sonotheia_webhook::secrets::cache::{FAILURE_INTERVAL, MISMATCH_INTERVAL};
use tokio::sync::RwLock;

use super::delivery::{Bodies, Kind};
use super::queue::{Next, Queue};
use super::rotation;
use crate::environment::{Answer, Environment, Invoked, Trouble};
use crate::lock;
use crate::plan::{self, Forgery};
use crate::report::Violations;

/// The names of the counted actions.
pub mod count {
    pub const DELIVERIES: &str = "deliveries sent";
    pub const LOST_BEFORE: &str = "deliveries lost on the way to the function";
    pub const KILLED_BEFORE: &str = "processes killed (SIGKILL) during a delivery";
    pub const KILLED_AFTER: &str = "processes killed (SIGKILL) right after an answer";
    pub const FROZEN_CLOSED: &str = "freezes (SIGSTOP) before a delivery, idle connections closed";
    pub const FROZEN_RESET: &str = "freezes before a delivery, idle connections reset";
    pub const FROZEN_ABANDONED: &str = "freezes before a delivery, idle connections never served again";
    pub const FROZEN_DURING: &str = "freezes during a delivery";
    pub const READS: &str = "reads of all shards right before a freeze";
    pub const LOST_AFTER: &str = "answers lost on the way to the sender";
    pub const SECRETS_FAILED: &str = "failures of Secrets Manager for 200 ms";
    pub const ROTATED: &str = "rotations of the secret";
    pub const ACTIONS: [&str; 12] = [
        DELIVERIES,
        LOST_BEFORE,
        KILLED_BEFORE,
        KILLED_AFTER,
        FROZEN_CLOSED,
        FROZEN_RESET,
        FROZEN_ABANDONED,
        FROZEN_DURING,
        READS,
        LOST_AFTER,
        SECRETS_FAILED,
        ROTATED,
    ];
}

/// The sender's knowledge of one event.
#[derive(Default)]
pub struct Progress {
    /// The number of 2xx answers that the sender heard.
    pub confirmed: AtomicU64,
    /// The number of answers with `duplicate: false`.
    pub answered_new: AtomicU64,
    /// The number of deliveries without a verdict: the process was killed, or the answer was 503.
    pub unknown: AtomicU64,
}

/// The state of a run.
pub struct Run {
    pub seed: u64,
    pub bodies: Bodies,
    /// The progress of each event.
    pub progress: Vec<Progress>,
    pub queue: Queue,
    /// The versions of the secret so far. The last one is current.
    pub secrets: RwLock<Vec<String>>,
    /// The version that the sender signs with.
    pub signing: AtomicUsize,
    pub outcomes: Mutex<BTreeMap<&'static str, u64>>,
    pub violations: Violations,
    /// The bodies that were answered with 400 or 409, which means that they are stored.
    pub rejected: Mutex<Vec<String>>,
    /// The time at which Secrets Manager last began to fail.
    pub secrets_failed: Mutex<Option<Instant>>,
    /// The time of the last rotation.
    pub rotated: Mutex<Option<Instant>>,
    /// The number of 503 answers although neither DynamoDB nor Secrets Manager failed.
    pub unexplained: AtomicU64,
    numbers: AtomicU64,
}

/// An environment, and the number of its requests to DynamoDB that a fault failed.
struct Worker {
    environment: Environment,
    failing: Arc<AtomicU64>,
    /// The number of late answers of Secrets Manager, and the time at which the last one was noticed.
    late_secrets: (u64, Option<Instant>),
}

impl Worker {
    /// The number of requests to a service that failed or had a late answer.
    fn failures(&self) -> u64 {
        self.failing.load(Ordering::SeqCst) + self.environment.proxies.slow()
    }

    /// Whether Secrets Manager answered this environment late within the time for which the receiver then asks no more.
    fn secrets_were_late(&mut self) -> bool {
        let late = self.environment.proxies.late_secrets();
        if late > self.late_secrets.0 {
            self.late_secrets = (late, Some(Instant::now()));
        }
        is_recent(self.late_secrets.1, FAILURE_INTERVAL)
    }
}

/// Whether `event` is at most this long ago, with 5 s for a call that began then and ended later.
fn is_recent(event: Option<Instant>, interval: Duration) -> bool {
    event.is_some_and(|event| event.elapsed() <= interval + Duration::from_secs(5))
}

/// Sends deliveries to one environment until the queue is empty. `failing` counts its requests to DynamoDB that a fault
/// failed.
pub async fn work(run: Arc<Run>, environment: Environment, failing: Arc<AtomicU64>) {
    let mut worker = Worker {
        environment,
        failing,
        late_secrets: (0, None),
    };
    loop {
        let number = run.numbers.fetch_add(1, Ordering::SeqCst);
        let mut rng = plan::rng(run.seed ^ (4 << 32), number);
        match run.queue.next(&mut rng) {
            Next::Delivery(kind) => {
                let again = run.deliver(kind, &mut worker, &mut rng).await;
                run.queue.done(again.then_some(kind));
            }
            Next::Wait => tokio::time::sleep(Duration::from_millis(5)).await,
            Next::End => return,
        }
        if run.violations.too_many() {
            return;
        }
    }
}

impl Run {
    /// Plans a run.
    pub fn plan(seed: u64, events: usize, deliveries: usize) -> Self {
        let bodies = Bodies::new(seed, events, deliveries);
        let order = bodies.order(deliveries, &mut plan::rng(seed, 0));
        Self {
            seed,
            progress: bodies.events.iter().map(|_| Progress::default()).collect(),
            bodies,
            queue: Queue::new(order),
            secrets: RwLock::new(vec![rotation::secret(seed, 0)]),
            signing: AtomicUsize::new(0),
            outcomes: Mutex::default(),
            violations: Violations::default(),
            rejected: Mutex::default(),
            secrets_failed: Mutex::default(),
            rotated: Mutex::default(),
            unexplained: AtomicU64::new(0),
            numbers: AtomicU64::new(0),
        }
    }

    /// Counts an action or an answer.
    pub fn count(&self, outcome: &'static str) {
        *lock(&self.outcomes).entry(outcome).or_default() += 1;
    }

    /// Makes one delivery. Returns true if the sender has to retry it.
    async fn deliver(&self, kind: Kind, worker: &mut Worker, rng: &mut Rng) -> bool {
        if let Kind::Conflict(n) = kind
            && self.progress[n].confirmed.load(Ordering::SeqCst) == 0
        {
            // It is a conflict only after the event is stored.
            return true;
        }
        // The lock keeps a rotation from happening between the signature and the answer.
        let secrets = self.secrets.read().await;
        let secret = &secrets[self.version(secrets.len(), rng)];
        let body = self.bodies.body(kind);
        let signatures = self.bodies.signatures(kind, secret, rng);
        let is_event = matches!(kind, Kind::Event(_));
        self.count(count::DELIVERIES);
        if rng.u32(0..100) < 3 {
            self.count(count::LOST_BEFORE);
            return is_event;
        }
        let trouble = Trouble::draw(rng);
        if let Some(name) = trouble.name() {
            self.count(name);
        }
        if matches!(trouble, Trouble::FreezeBefore(..)) && rng.u32(0..3) == 0 {
            self.read_all(worker).await;
        }
        let payload = plan::rest(body, &signatures, rng.bool());
        let is_forged = matches!(kind, Kind::Forged(..));
        let answer = match self.invoke(worker, payload, trouble, is_forged).await {
            Ok(Invoked::Answered(answer)) => answer,
            Ok(Invoked::Killed) => {
                self.count(count::KILLED_BEFORE);
                self.unknown(kind);
                return is_event;
            }
            Err(error) => {
                self.violations.note(error);
                return false;
            }
        };
        if matches!(trouble, Trouble::Kill(_)) {
            self.count(count::KILLED_AFTER);
        }
        let outcome = self.check(kind, &answer);
        self.count(outcome);
        if matches!(answer.status, 400 | 409) {
            lock(&self.rejected).push(body.to_owned());
        }
        let is_heard = rng.u32(0..100) >= 3;
        if !is_heard {
            self.count(count::LOST_AFTER);
        }
        match kind {
            Kind::Event(n) if answer.status == 200 && is_heard => {
                self.progress[n].confirmed.fetch_add(1, Ordering::SeqCst);
                false
            }
            Kind::Forged(..) => false,
            _ => !is_heard || answer.status == 503,
        }
    }

    /// Invokes the function, and counts a 503 answer if nothing failed that can cause it.
    async fn invoke(
        &self,
        worker: &mut Worker,
        payload: String,
        trouble: Trouble,
        is_forged: bool,
    ) -> Result<Invoked, String> {
        let begun = Instant::now();
        let failures = worker.failures();
        let secrets_failed = self.secrets_failed(is_forged);
        let invoked = worker.environment.invoke(payload, trouble).await;
        let nothing_failed = worker.failures() == failures
            && !secrets_failed
            && !self.secrets_failed(is_forged)
            && !worker.secrets_were_late();
        if let Ok(Invoked::Answered(answer)) = &invoked
            && answer.status == 503
            && nothing_failed
        {
            self.unexplained.fetch_add(1, Ordering::SeqCst);
            let (time, body) = (begun.elapsed(), &answer.body);
            self.violations.note(format!(
                "503 after {time:?} although nothing failed ({trouble:?}, forged: {is_forged}): {body}"
            ));
        }
        invoked
    }

    /// Whether a failure of Secrets Manager explains a 503. A receiver asks again soon after a failure. For a mismatch it asks
    /// once in 30 s, so a forgery can get 503 for that long after a failure, or after a rotation that the receiver saw in
    /// part.
    fn secrets_failed(&self, is_forged: bool) -> bool {
        let failed = *lock(&self.secrets_failed);
        let rotated = *lock(&self.rotated);
        let mismatch = [failed, rotated];
        is_recent(failed, FAILURE_INTERVAL)
            || is_forged
                && mismatch
                    .into_iter()
                    .any(|event| is_recent(event, MISMATCH_INTERVAL))
    }

    /// Reads a page of all records. It opens a connection for each shard, far more than a call has attempts.
    async fn read_all(&self, worker: &mut Worker) {
        self.count(count::READS);
        let read = plan::rest_get("/results");
        match self.invoke(worker, read, Trouble::None, false).await {
            Ok(Invoked::Answered(Answer {
                status: 200 | 503, ..
            })) => {}
            Ok(Invoked::Answered(Answer { status, body })) => {
                self.violations.note(format!("{status} for a read: {body}"));
            }
            Ok(Invoked::Killed) => {}
            Err(error) => self.violations.note(error),
        }
    }

    /// The version that signs a delivery: the sender's, or sometimes the one before it, as for a delivery that was signed
    /// before the sender switched.
    fn version(&self, versions: usize, rng: &mut Rng) -> usize {
        let signing = self.signing.load(Ordering::SeqCst);
        let previous_is_valid = signing > 0 && signing + 1 == versions;
        signing - usize::from(previous_is_valid && rng.u32(0..5) == 0)
    }

    fn unknown(&self, kind: Kind) {
        if let Kind::Event(n) = kind {
            self.progress[n].unknown.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Checks that this kind of delivery may get this answer, and returns the answer's name.
    fn check(&self, kind: Kind, answer: &Answer) -> &'static str {
        let json: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        match (kind, answer.status) {
            (Kind::Event(n), 200) => {
                if json["event_id"] != self.bodies.events[n].id.as_str() || json["received"] != true {
                    self.violations
                        .note(format!("an event got the answer of another: {json}"));
                }
                if json["duplicate"] == false {
                    self.progress[n].answered_new.fetch_add(1, Ordering::SeqCst);
                    "200, duplicate: false"
                } else {
                    "200, duplicate: true"
                }
            }
            (Kind::Event(_), 503) => {
                self.unknown(kind);
                "503 for an event"
            }
            (Kind::Forged(..), 401) => "401 for a forgery",
            (Kind::Forged(_, Forgery::AnotherSecret | Forgery::FlippedBit | Forgery::AnotherBody), 503) => {
                "503 for a forgery while Secrets Manager fails"
            }
            (Kind::Conflict(_), 409) => "409 for other data with a known id",
            (Kind::NotAnEvent(_), 400) => "400 for a body that is not an event",
            (Kind::Conflict(_) | Kind::NotAnEvent(_), 503) => "503 for a delivery that is to be rejected",
            (_, status) => {
                self.violations
                    .note(format!("{status} for {}: {json}", kind.name()));
                "wrong answers"
            }
        }
    }
}
