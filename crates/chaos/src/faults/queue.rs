//! The order of the deliveries.

use std::collections::VecDeque;
use std::sync::Mutex;

use fastrand::Rng;

use super::delivery::Kind;
use crate::lock;

/// The deliveries that are still to be sent.
pub struct Queue(Mutex<Content>);

struct Content {
    planned: VecDeque<Kind>,
    retries: Vec<Kind>,
    under_way: usize,
}

/// The next step of an environment.
pub enum Next {
    /// It sends this delivery.
    Delivery(Kind),
    /// It waits: a delivery that is under way may need a retry.
    Wait,
    /// It ends.
    End,
}

impl Queue {
    /// A queue with these deliveries.
    pub fn new(planned: Vec<Kind>) -> Self {
        Self(Mutex::new(Content {
            planned: planned.into(),
            retries: Vec::new(),
            under_way: 0,
        }))
    }

    /// Takes a delivery. A retry comes after a random number of other deliveries.
    pub fn next(&self, rng: &mut Rng) -> Next {
        let mut queue = lock(&self.0);
        let retry = !queue.retries.is_empty() && (queue.planned.is_empty() || rng.u32(0..4) == 0);
        let kind = if retry {
            let at = rng.usize(0..queue.retries.len());
            Some(queue.retries.swap_remove(at))
        } else {
            queue.planned.pop_front()
        };
        match kind {
            Some(kind) => {
                queue.under_way += 1;
                Next::Delivery(kind)
            }
            None if queue.under_way > 0 => Next::Wait,
            None => Next::End,
        }
    }

    /// Notes the end of a delivery, and its retry.
    pub fn done(&self, retry: Option<Kind>) {
        let mut queue = lock(&self.0);
        queue.under_way -= 1;
        queue.retries.extend(retry);
    }

    /// The number of planned deliveries that are still to be sent.
    pub fn planned(&self) -> usize {
        lock(&self.0).planned.len()
    }
}
