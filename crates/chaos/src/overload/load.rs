//! The load: deliveries at a fixed rate, and the checks of their answers.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use sonotheia_webhook::timestamp::Timestamp;
use tokio::sync::{Mutex as AsyncMutex, mpsc};

use super::serve::Connection;
use crate::environment::{Answer, Environment, Invoked, Trouble};
use crate::lock;
use crate::plan::{self, Forgery, PlannedEvent};
use crate::report::{Table, Violations};

/// The number of deliveries that may wait for a target. Further deliveries are refused, as Lambda does at its limit of
/// concurrency. The real sender retries them.
const WAITING: usize = 64;

/// A receiver of deliveries.
pub enum Target {
    /// An environment of the function.
    Lambda(Box<Environment>),
    /// A connection to the local server.
    Local(Connection),
}

/// A target that one delivery at a time uses.
pub type SharedTarget = Arc<AsyncMutex<Target>>;

/// A kind of delivery.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An event that comes for the first time.
    New,
    /// An event that was answered with 200 before.
    Duplicate,
    /// A delivery with a wrong signature.
    Forged,
}

struct Delivery {
    kind: Kind,
    /// The number of the event or of the forgery.
    n: usize,
    offered: Instant,
}

/// The load of one run, and its results.
pub struct Load {
    /// The signing secret.
    pub secret: String,
    seed: u64,
    now: Timestamp,
    /// The right answers for each [`Kind`].
    answered: [AtomicU64; 3],
    refused: AtomicU64,
    unavailable: AtomicU64,
    /// The events that were answered with 200, for duplicates.
    stored: Mutex<Vec<usize>>,
    latencies: Mutex<Vec<Duration>>,
    violations: Arc<Violations>,
}

/// Makes targets that the workers can use.
pub fn targets(targets: impl Iterator<Item = Target>) -> Vec<SharedTarget> {
    targets.map(|target| Arc::new(AsyncMutex::new(target))).collect()
}

impl Load {
    /// A load with results of zero.
    pub fn new(seed: u64, violations: &Arc<Violations>) -> Arc<Self> {
        Arc::new(Self {
            secret: format!("secret-{seed}-under-load"),
            seed,
            now: Timestamp::now(),
            answered: Default::default(),
            refused: AtomicU64::new(0),
            unavailable: AtomicU64::new(0),
            stored: Mutex::default(),
            latencies: Mutex::default(),
            violations: violations.clone(),
        })
    }

    /// Sends `rate` deliveries a second, whatever happens to them. `new_percent` of them are new events, a fifth are
    /// forgeries, and the rest are duplicates; without new events, all are forgeries.
    pub async fn offer(
        self: &Arc<Self>,
        targets: &[SharedTarget],
        new_percent: u32,
        rate: u32,
        seconds: u32,
    ) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let receiver = Arc::new(AsyncMutex::new(receiver));
        let worker =
            |target: &SharedTarget| tokio::spawn(work(self.clone(), target.clone(), receiver.clone()));
        let workers: Vec<_> = targets.iter().map(worker).collect();
        let mut every = tokio::time::interval(Duration::from_secs(1) / rate);
        let next_new = AtomicUsize::new(0);
        for number in 0..u64::from(rate) * u64::from(seconds) {
            every.tick().await;
            let Some((kind, n)) = self.choose(number, new_percent, &next_new) else {
                continue;
            };
            let offered = Instant::now();
            if sender.try_send(Delivery { kind, n, offered }).is_err() {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        drop(sender);
        for worker in workers {
            let _ = worker.await;
        }
    }

    /// The kind of a delivery and the number of its event. `None` for a duplicate before any event is stored.
    fn choose(&self, number: u64, new_percent: u32, next_new: &AtomicUsize) -> Option<(Kind, usize)> {
        let mut rng = plan::rng(self.seed ^ (7 << 32), number);
        match rng.u32(0..100) {
            n if n < new_percent => Some((Kind::New, next_new.fetch_add(1, Ordering::Relaxed))),
            n if n < 80 && new_percent > 0 => {
                let stored = lock(&self.stored);
                rng.choice(stored.iter()).map(|n| (Kind::Duplicate, *n))
            }
            _ => Some((Kind::Forged, number as usize)),
        }
    }

    async fn deliver(&self, delivery: &Delivery, target: &mut Target) -> Result<(), String> {
        let (prefix, stream) = match delivery.kind {
            Kind::Forged => ("forged", 9),
            Kind::New | Kind::Duplicate => ("event", 8),
        };
        let mut rng = plan::rng(self.seed ^ (stream << 32), delivery.n as u64);
        let event = PlannedEvent::new(format!("{prefix}-{}", delivery.n), &mut rng, self.now);
        let signatures = match delivery.kind {
            Kind::Forged => {
                let forgery = Forgery::ALL[delivery.n % Forgery::ALL.len()];
                forgery.signatures(&self.secret, &event.body, "{}", &mut rng)
            }
            Kind::New | Kind::Duplicate => vec![plan::sign(&self.secret, &event.body)],
        };
        let answer = target.send(&event.body, &signatures).await?;
        let json: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        if answer.status == 503 && delivery.kind != Kind::Forged {
            self.unavailable.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let is_received = |duplicate: bool| {
            answer.status == 200 && json["duplicate"] == duplicate && json["event_id"] == event.id
        };
        let is_right = match delivery.kind {
            Kind::New => is_received(false),
            Kind::Duplicate => is_received(true),
            Kind::Forged => answer.status == 401 && json["code"] == "invalid_signature",
        };
        if !is_right {
            return Err(format!("{} got {}: {}", event.id, answer.status, answer.body));
        }
        if delivery.kind == Kind::New {
            lock(&self.stored).push(delivery.n);
        }
        self.answered[delivery.kind as usize].fetch_add(1, Ordering::Relaxed);
        lock(&self.latencies).push(delivery.offered.elapsed());
        Ok(())
    }

    /// The number of right answers for a kind of delivery.
    pub fn answered(&self, kind: Kind) -> u64 {
        self.answered[kind as usize].load(Ordering::Relaxed)
    }

    /// Adds the results to a table.
    pub fn rows(&self, table: &mut Table) {
        table.row("new events, 200 duplicate: false", self.answered(Kind::New));
        table.row("duplicates, 200 duplicate: true", self.answered(Kind::Duplicate));
        table.row("forgeries, 401", self.answered(Kind::Forged));
        table.row("503", self.unavailable.load(Ordering::Relaxed));
        table.row(
            "refused because everything was busy",
            self.refused.load(Ordering::Relaxed),
        );
        let mut latencies = lock(&self.latencies).clone();
        latencies.sort();
        for (name, percent) in [("p50", 50), ("p99", 99)] {
            if let Some(latency) = latencies.get(latencies.len() * percent / 100) {
                let milliseconds = format!("{:.1} ms", latency.as_secs_f64() * 1000.0);
                table.row(
                    &format!("latency with the time in the queue, {name}"),
                    milliseconds,
                );
            }
        }
    }
}

/// Sends deliveries to one target until the load ends.
async fn work(load: Arc<Load>, target: SharedTarget, deliveries: Arc<AsyncMutex<mpsc::Receiver<Delivery>>>) {
    loop {
        let Some(delivery) = deliveries.lock().await.recv().await else {
            return;
        };
        let mut target = target.lock().await;
        if let Err(error) = load.deliver(&delivery, &mut target).await {
            load.violations.note(error);
        }
        if load.violations.too_many() {
            return;
        }
    }
}

impl Target {
    async fn send(&mut self, body: &str, signatures: &[String]) -> Result<Answer, String> {
        match self {
            Self::Lambda(environment) => {
                let payload = plan::rest(body, signatures, false);
                match environment.invoke(payload, Trouble::None).await? {
                    Invoked::Answered(answer) => Ok(answer),
                    Invoked::Killed => Err("an environment was killed".to_owned()),
                }
            }
            Self::Local(connection) => {
                let answer = connection.send(body, signatures).await;
                answer.map_err(|error| format!("the local server did not answer: {error}"))
            }
        }
    }
}
