//! The kinds of deliveries, and the plan of a run.

use fastrand::Rng;
use sonotheia_webhook::timestamp::Timestamp;

use crate::plan::{self, Forgery, MARK, PlannedEvent};

/// A kind of delivery, with its number in [`Bodies`].
#[derive(Clone, Copy)]
pub enum Kind {
    /// An event.
    Event(usize),
    /// A body that somebody without the secret has signed.
    Forged(usize, Forgery),
    /// An event's id with other data.
    Conflict(usize),
    /// A signed body that is not an event.
    NotAnEvent(usize),
}

/// The bodies of all deliveries.
pub struct Bodies {
    /// The events.
    pub events: Vec<PlannedEvent>,
    /// The events in forgeries.
    pub forged: Vec<PlannedEvent>,
    /// The conflicts: the n-th has the id of the n-th event.
    pub conflicts: Vec<PlannedEvent>,
    /// The bodies that are not events.
    pub others: Vec<String>,
}

impl Kind {
    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event(_) => "an event",
            Self::Forged(..) => "a forgery",
            Self::Conflict(_) => "other data with a known id",
            Self::NotAnEvent(_) => "a body that is not an event",
        }
    }
}

impl Bodies {
    /// The bodies for this many events and planned deliveries.
    pub fn new(seed: u64, events: usize, deliveries: usize) -> Self {
        let now = Timestamp::now();
        let many = |prefix: &str, count: usize, stream: u64| -> Vec<_> {
            let event = |n| {
                let id = format!("{prefix}-{n}");
                PlannedEvent::new(id, &mut plan::rng(seed ^ (stream << 32), n as u64), now)
            };
            (0..count).map(event).collect()
        };
        let other = |n| match n % 4 {
            0 => format!(r#"{{"id":"other-{n}","data":{{"mark":"{MARK}"}}}}"#),
            1 => format!(r#"{{"id":"other-{n}","type":"t","data":{{"v":01}}}}"#),
            2 => format!(r#"["{MARK}",{n}]"#),
            _ => format!(r#"{{"id":"other-{n}","type":"t","data":{{"v":"\ud800{n}"}}}}"#),
        };
        Self {
            events: many("event", events, 1),
            forged: many("forged", deliveries / 10, 2),
            conflicts: many("event", (deliveries / 100).min(events), 3),
            others: (0..deliveries / 100).map(other).collect(),
        }
    }

    /// The body of a delivery.
    pub fn body(&self, kind: Kind) -> &str {
        match kind {
            Kind::Event(n) => &self.events[n].body,
            Kind::Forged(n, _) => &self.forged[n].body,
            Kind::Conflict(n) => &self.conflicts[n].body,
            Kind::NotAnEvent(n) => &self.others[n],
        }
    }

    /// The signature headers of a delivery.
    pub fn signatures(&self, kind: Kind, secret: &str, rng: &mut Rng) -> Vec<String> {
        let body = self.body(kind);
        match kind {
            Kind::Forged(n, forgery) => {
                let genuine = &self.events[n % self.events.len()].body;
                forgery.signatures(secret, body, genuine, rng)
            }
            Kind::Event(_) | Kind::Conflict(_) | Kind::NotAnEvent(_) => vec![plan::sign(secret, body)],
        }
    }

    /// The order of `deliveries` deliveries: every event at least once, the other bodies once, and duplicates.
    pub fn order(&self, deliveries: usize, rng: &mut Rng) -> Vec<Kind> {
        let events = self.events.len();
        let mut planned: Vec<_> = (0..events).map(Kind::Event).collect();
        let forgery = |n| Kind::Forged(n, Forgery::ALL[n % Forgery::ALL.len()]);
        planned.extend((0..self.forged.len()).map(forgery));
        planned.extend((0..self.conflicts.len()).map(Kind::Conflict));
        planned.extend((0..self.others.len()).map(Kind::NotAnEvent));
        let duplicates = deliveries.saturating_sub(planned.len());
        planned.extend((0..duplicates).map(|_| Kind::Event(rng.usize(0..events))));
        rng.shuffle(&mut planned);
        // After a third of the events, the same event comes again.
        for n in 1..planned.len() {
            if let (Kind::Event(before), Kind::Event(_)) = (planned[n - 1], planned[n])
                && n > events
                && rng.u32(0..3) == 0
            {
                planned[n] = Kind::Event(before);
            }
        }
        // The loop may have replaced the only delivery of an event.
        let mut is_planned = vec![false; events];
        for kind in &planned {
            if let Kind::Event(n) = kind {
                is_planned[*n] = true;
            }
        }
        let left_out = (0..events).filter(|n| !is_planned[*n]);
        planned.extend(left_out.map(Kind::Event));
        planned
    }
}
