//! The sender: it makes events, signs them, and follows its retry schedule (contract, section 1).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::answer::Delivered;
use crate::condition::TOLERATED_MS;
use crate::delivery::Delivery;
use crate::environment::Answer;
use crate::event::{Kind, SentEvent};
use crate::fleet::Fleet;
use crate::world::{RETENTION_DAYS, World};

/// The seconds before each attempt.
const SCHEDULE: [u64; 6] = [0, 5, 25, 125, 625, 3125];

/// The sender.
pub struct Sender {
    world: Arc<World>,
    fleet: Arc<Fleet>,
    events: AtomicU64,
    deliveries: AtomicU64,
}

impl Sender {
    /// A sender that has made no event.
    pub fn new(world: Arc<World>, fleet: Arc<Fleet>) -> Arc<Self> {
        let (events, deliveries) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self {
            world,
            fleet,
            events,
            deliveries,
        })
    }

    /// The number of events so far.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// The number of deliveries so far.
    pub fn deliveries(&self) -> u64 {
        self.deliveries.load(Ordering::Relaxed)
    }

    /// Makes an event, and delivers it until the receiver accepts or refuses it. Some events come twice at once, and
    /// somebody repeats some of them after days.
    pub async fn send(self: Arc<Self>) {
        let number = self.events.fetch_add(1, Ordering::Relaxed);
        let now_ms = self.world.clock.now_ms();
        let version = self.world.vault.used_by_sender(now_ms);
        let event = SentEvent::new(&mut self.world.rng(), number, now_ms, version);
        let copies = if self.world.chance(150) {
            self.world.rng().usize(2..5)
        } else {
            1
        };
        let copies = (0..copies).map(|_| tokio::spawn(self.clone().follow_schedule(event.clone())));
        for copy in copies.collect::<Vec<_>>() {
            copy.await.expect("no panic");
        }
        if matches!(event.kind, Kind::Event | Kind::WithoutTime) && self.world.chance(200) {
            self.replay(event, now_ms).await;
        }
    }

    async fn follow_schedule(self: Arc<Self>, event: SentEvent) {
        for (attempt, wait) in SCHEDULE.into_iter().enumerate() {
            tokio::time::sleep(Duration::from_secs(wait)).await;
            let jitter = self.world.rng().u64(0..20);
            tokio::time::sleep(Duration::from_millis(jitter)).await;
            if self
                .deliver(&event, attempt)
                .await
                .is_some_and(|status| status < 500)
            {
                return;
            }
        }
        self.world.ledger().count("events that the sender gave up");
    }

    /// Delivers an old event again, about the time at which its record expires or the event gets too old.
    async fn replay(&self, event: SentEvent, sent_ms: i64) {
        let occurred_ms = event.occurred_ms.unwrap_or(sent_ms);
        let days = i64::from(event.retention_days.max(RETENTION_DAYS));
        let expiry_ms = occurred_ms + days * 86_400_000;
        let at_ms = {
            let mut rng = self.world.rng();
            expiry_ms
                + match rng.u32(0..8) {
                    0 => -rng.i64(0..86_400_000),
                    1 => rng.i64(0..86_400_000),
                    // The record has expired, and DynamoDB may not have deleted it.
                    _ if event.occurred_ms.is_none() => rng.i64(1_000..7_200_000),
                    2 | 3 => rng.i64(-12_000..-4_000),
                    _ => rng.i64(-7_000..3_000),
                }
        };
        self.world.clock.sleep_until(at_ms).await;
        if self.world.chance(300) {
            self.world.delete_expired();
        }
        let version = self.world.vault.used_by_sender(self.world.clock.now_ms());
        self.world.ledger().count("replays after days");
        self.deliver(&event.signed_again(version), 0).await;
    }

    /// Makes one delivery. Returns the status, or `None` if the sender heard nothing.
    async fn deliver(&self, event: &SentEvent, attempt: usize) -> Option<u16> {
        let world = &*self.world;
        let number = self.deliveries.fetch_add(1, Ordering::Relaxed) + 1;
        let line = format!(
            "delivery {number} attempt {attempt} {:?} {}",
            event.kind, event.key
        );
        if world.chance(15) {
            world.trace(&format!("{line} is lost on the way there"));
            return None;
        }
        let environment = self.fleet.any();
        let condition = &*environment.condition;
        let (began_ms, offset_ms) = (world.clock.now_ms(), condition.offset_ms());
        let is_late = offset_ms < -TOLERATED_MS;
        let unsigned = event.version.is_none();
        let delivery = Delivery::new(number, began_ms, unsigned, event.retention_days, is_late);
        let answer = environment.request(event.request(number), delivery.clone()).await;
        let took = world.clock.now_ms() - began_ms;
        let Some(answer) = answer else {
            world.trace(&format!(
                "{line} environment {} died after {took} ms",
                condition.number
            ));
            world.ledger().count("deliveries whose process died");
            return None;
        };
        let name = name(&answer);
        world.trace(&format!(
            "{line} environment {} {name} {took} ms",
            condition.number
        ));
        world.ledger().count(name);
        let clock_ms = began_ms + offset_ms;
        Delivered {
            world,
            event,
            delivery: &delivery,
            condition,
            clock_ms,
            answer: &answer,
        }
        .check();
        if world.chance(15) {
            world.ledger().count("answers lost on the way back");
            return None;
        }
        Some(answer.status.as_u16())
    }
}

/// The answer's name in the trace and in the table at the end.
fn name(answer: &Answer) -> &'static str {
    let text = |name: &str| answer.body[name].as_str();
    match (answer.status.as_u16(), text("code")) {
        (200, _) if answer.body["duplicate"] == true => "200 duplicate",
        (200, _) => "200 new",
        (400, Some("event_too_old")) => "400 event_too_old",
        (400, _) => "400 invalid_event",
        (401, _) => "401 invalid_signature",
        (409, _) => "409 event_conflict",
        (413, _) => "413 payload_too_large",
        (503, _) => "503 unavailable",
        _ => "another answer",
    }
}
