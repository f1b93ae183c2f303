//! The parts that a whole simulation shares: time, randomness, services, the trace, and the checks.

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use crate::clock::TrueClock;
use crate::delivery::Delivery;
use crate::ledger::Ledger;
use crate::options::{Check, Defect, Options};
use crate::table::Table;
use crate::vault::Vault;

/// The name of the table.
pub const TABLE: &str = "events";

/// `RETENTION_DAYS` of the simulated receivers. It is short, so that many records expire.
pub const RETENTION_DAYS: u32 = 2;

/// A text that every payload holds and that no log line may hold.
pub const PAYLOAD_MARK: &str = "voice-of-a-caller";

/// The world of one simulation.
pub struct World {
    /// The arguments.
    pub options: Options,
    /// The true time.
    pub clock: TrueClock,
    /// DynamoDB.
    pub table: Table,
    /// Secrets Manager.
    pub vault: Vault,
    rng: Mutex<fastrand::Rng>,
    ledger: Mutex<Ledger>,
    trace: Mutex<Trace>,
    /// The share of broken calls to each service, in thousandths.
    weather: Mutex<[u32; 2]>,
}

struct Trace {
    out: Box<dyn Write + Send>,
    hash: Sha256,
}

impl World {
    /// An empty world that writes its trace to `out`.
    pub fn new(options: Options, out: Box<dyn Write + Send>) -> Arc<Self> {
        // The SDK draws the pauses between its attempts from this generator.
        fastrand::seed(options.seed);
        let clock = TrueClock::start();
        Arc::new(Self {
            options,
            clock,
            table: Table::new(clock),
            vault: Vault::default(),
            rng: Mutex::new(fastrand::Rng::with_seed(options.seed)),
            ledger: Mutex::default(),
            trace: Mutex::new(Trace {
                out,
                hash: Sha256::new(),
            }),
            weather: Mutex::new([0, 0]),
        })
    }

    /// The generator of everything that the simulation decides.
    pub fn rng(&self) -> MutexGuard<'_, fastrand::Rng> {
        lock(&self.rng)
    }

    /// Returns true in `thousandths` of 1000 calls.
    pub fn chance(&self, thousandths: u32) -> bool {
        self.rng().u32(0..1000) < thousandths
    }

    /// The history of the table, and the violations.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// True if this defect is planted.
    pub fn has(&self, defect: Defect) -> bool {
        self.options.defect == Some(defect)
    }

    /// Notes a violation.
    pub fn violation(&self, check: Check, delivery: Option<&Delivery>, text: &str) {
        let number = delivery.map_or(String::new(), |delivery| {
            format!("delivery {}: ", delivery.number)
        });
        let text = format!("{number}{text}");
        self.trace(&format!("VIOLATION {check:?} {text}"));
        let at = self.clock.now();
        self.ledger().violations.push((check, format!("{at} {text}")));
    }

    /// Writes a line of the trace.
    pub fn trace(&self, line: &str) {
        let line = format!("{:>12} {line}\n", self.clock.elapsed_ms());
        let mut trace = lock(&self.trace);
        trace.hash.update(&line);
        trace
            .out
            .write_all(line.as_bytes())
            .expect("the trace can be written");
    }

    /// The hash of the trace so far, in hex.
    pub fn trace_hash(&self) -> String {
        let mut trace = lock(&self.trace);
        trace.out.flush().expect("the trace can be written");
        hex::encode(trace.hash.clone().finalize())
    }

    /// Lets DynamoDB delete the expired records, and compares the table with its history.
    pub fn delete_expired(&self) {
        let deleted = self.table.delete_expired();
        let items = self.table.items(TABLE);
        self.trace(&format!(
            "DynamoDB deletes {deleted} expired records, {} stay",
            items.len()
        ));
        let found = self.ledger().audit(&items, self.clock.now_ms());
        for (check, text) in found {
            self.violation(check, None, &text);
        }
    }

    /// Sets the share of broken calls to DynamoDB and to Secrets Manager, in thousandths.
    pub fn set_weather(&self, weather: [u32; 2]) {
        *lock(&self.weather) = weather;
    }

    /// The share of broken calls to a service, in thousandths: 0 is DynamoDB, 1 is Secrets Manager.
    pub fn weather(&self, service: usize) -> u32 {
        lock(&self.weather)[service]
    }
}

/// Locks a mutex of this single thread.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
