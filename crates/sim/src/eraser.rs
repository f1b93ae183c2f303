//! An operator who erases records, with the receiver's own code and over a network with faults. The command `erase` calls the
//! same code.

use std::sync::Arc;
use std::time::Duration;

use sonotheia_webhook::store::{Erasure, Store};
use sonotheia_webhook::timestamp::Timestamp;

use crate::environment::operators_table;
use crate::options::Check;
use crate::world::{TABLE, World};

/// The number of times that the operator runs the command for one record.
const TRIES: u32 = 30;

/// The operator.
pub struct Eraser {
    world: Arc<World>,
    store: Store,
}

impl Eraser {
    /// An operator with a client of the table.
    pub fn new(world: Arc<World>) -> Self {
        let store = Store::new(operators_table(&world), TABLE);
        Self { world, store }
    }

    /// Erases a record now and then, for ever.
    pub async fn erase(self) {
        loop {
            let minutes = self.world.rng().u64(20..240);
            tokio::time::sleep(Duration::from_secs(60 * minutes)).await;
            let keys: Vec<_> = self.world.ledger().live.keys().cloned().collect();
            if keys.is_empty() {
                continue;
            }
            let key = &keys[self.world.rng().usize(0..keys.len())];
            if let Some(erasure) = self.until_done(key).await {
                self.check(key, &erasure);
            }
        }
    }

    /// Runs the command until it succeeds. `None` if there is no record, or if the table does not answer.
    async fn until_done(&self, key: &str) -> Option<Erasure> {
        for _ in 0..TRIES {
            let now = Timestamp::from_millis(self.world.clock.now_ms());
            let erasure = match self.store.get(key).await {
                Ok(None) => return None,
                Ok(Some(record)) => self.store.erase(&record, now).await,
                Err(error) => Err(error),
            };
            match erasure {
                Ok(erasure) => return Some(erasure),
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
        None
    }

    fn check(&self, key: &str, erasure: &Erasure) {
        self.world
            .trace(&format!("the operator erases {key}: {erasure:?}"));
        let mut ledger = self.world.ledger();
        ledger.count("erasures");
        let is_right = match (ledger.live.get(key), erasure) {
            (Some(life), Erasure::Erased | Erasure::AlreadyErased(_)) => life.is_erased,
            (Some(_), Erasure::Gone) => false,
            (None, _) => true,
        };
        drop(ledger);
        if !is_right {
            let text = format!("the erasure of {key} says {erasure:?}, which the table does not show");
            self.world.violation(Check::Erasure, None, &text);
        }
    }
}
