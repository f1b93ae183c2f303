//! The newest deliveries, in memory: so many at most, and so many bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::delivery::Delivery;

/// The most deliveries that are kept.
pub const MAX_DELIVERIES: usize = 5_000;

/// The most bytes that the kept deliveries take, about.
const MAX_BYTES: usize = 32 << 20;

/// The newest deliveries, oldest first. Their numbers follow each other without a gap.
pub struct Kept {
    state: Mutex<State>,
    /// The number of the newest delivery.
    newest: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    deliveries: VecDeque<Arc<Delivery>>,
    bytes: usize,
    newest: u64,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            newest: watch::Sender::new(0),
        }
    }
}

impl Kept {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it changes the state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers a delivery from 1 on and publishes the number, both under the lock, so that no two deliveries share a number
    /// and no number is published out of order.
    pub fn push(&self, mut delivery: Delivery) {
        let mut state = self.state();
        state.newest += 1;
        delivery.row.n = Some(state.newest);
        state.bytes += delivery.size();
        state.deliveries.push_back(Arc::new(delivery));
        while state.deliveries.len() > MAX_DELIVERIES || state.bytes > MAX_BYTES {
            let Some(oldest) = state.deliveries.pop_front() else {
                break;
            };
            state.bytes -= oldest.size();
        }
        self.newest.send_replace(state.newest);
    }

    /// Receives the number of each newest delivery.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// The delivery with this number.
    pub fn get(&self, n: u64) -> Option<Arc<Delivery>> {
        let found = self.after(n.checked_sub(1)?)?;
        (found.number() == n).then_some(found)
    }

    /// The oldest delivery whose number is greater.
    pub fn after(&self, n: u64) -> Option<Arc<Delivery>> {
        let state = self.state();
        let oldest = state.deliveries.front()?.number();
        let place = n.saturating_add(1).saturating_sub(oldest);
        state.deliveries.get(usize::try_from(place).ok()?).cloned()
    }

    /// The newest delivery that passes a test.
    pub fn find(&self, test: impl Fn(&Delivery) -> bool) -> Option<Arc<Delivery>> {
        let state = self.state();
        state
            .deliveries
            .iter()
            .rev()
            .find(|delivery| test(delivery))
            .cloned()
    }

    /// All deliveries, oldest first.
    pub fn all(&self) -> Vec<Arc<Delivery>> {
        self.state().deliveries.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    fn delivery(bytes: usize) -> Delivery {
        Delivery {
            body: vec![b'x'; bytes].into(),
            ..Delivery::default()
        }
    }

    #[test]
    fn each_of_many_concurrent_deliveries_has_its_own_number() {
        const THREADS: u64 = 8;
        const EACH: u64 = 20_000;
        let kept = Kept::default();
        let newest = kept.subscribe();
        let start = Barrier::new(THREADS as usize);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    (0..EACH).for_each(|_| kept.push(delivery(1)));
                });
            }
        });
        assert_eq!(*newest.borrow(), THREADS * EACH);
        let numbers: Vec<_> = kept.all().iter().map(|delivery| delivery.number()).collect();
        let oldest = THREADS * EACH - MAX_DELIVERIES as u64 + 1;
        assert_eq!(numbers, (oldest..=THREADS * EACH).collect::<Vec<_>>());
    }

    #[test]
    fn only_so_many_deliveries_and_so_many_bytes_are_kept() {
        let kept = Kept::default();
        for _ in 0..MAX_DELIVERIES + 5 {
            kept.push(delivery(1));
        }
        assert_eq!(kept.all().len(), MAX_DELIVERIES);
        assert_eq!(kept.after(0).map(|delivery| delivery.number()), Some(6));
        assert_eq!(kept.get(6).map(|delivery| delivery.number()), Some(6));
        assert!(kept.get(5).is_none() && kept.get(0).is_none());
        assert!(kept.after(MAX_DELIVERIES as u64 + 5).is_none());
        for _ in 0..200 {
            kept.push(delivery(1 << 20));
        }
        let bytes: usize = kept.all().iter().map(|delivery| delivery.size()).sum();
        assert!((16 << 20..=MAX_BYTES).contains(&bytes), "{bytes}");
    }
}
