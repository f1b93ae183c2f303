//! The idle connections.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_smithy_types::body::SdkBody;
use hyper::client::conn::http1::SendRequest;

use super::connect::Origin;

/// The longest time that a connection waits for its next request, by the wall clock. The monotonic clock stands still
/// while Lambda freezes the process, and the other side closes its connections during that time.
const IDLE: Duration = Duration::from_secs(30);

/// The most idle connections. A page of all records uses one for each shard, and one environment serves few requests at
/// once.
const MOST: usize = 16;

/// A connection that carries one request at a time.
pub struct Connection {
    /// The side that takes requests. A task drives the other side.
    pub sender: SendRequest<SdkBody>,
    /// Set if no further request may use the connection.
    pub poisoned: Poisoned,
}

/// A mark that the SDK can set after the connection is back in the pool.
#[derive(Clone, Default)]
pub struct Poisoned(Arc<AtomicBool>);

impl Poisoned {
    /// Marks the connection.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct Idle {
    origin: Origin,
    connection: Connection,
    since: SystemTime,
}

impl Idle {
    fn is_usable(&self, now: SystemTime) -> bool {
        // A clock that was set back says nothing about the age of a connection.
        let is_young = now.duration_since(self.since).is_ok_and(|age| age < IDLE);
        is_young && !self.connection.poisoned.is_set() && !self.connection.sender.is_closed()
    }
}

/// The idle connections, the newest last.
#[derive(Default)]
pub struct Pool(Mutex<Vec<Idle>>);

impl Pool {
    /// Takes the newest connection to `origin`, and drops every connection that no request can use.
    pub async fn take(&self, origin: &Origin, now: SystemTime) -> Option<Connection> {
        loop {
            let mut connection = self.pop(origin, now)?;
            // The task of the connection may not know yet that the last answer is complete, or that the server closed
            // the connection.
            if connection.sender.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    fn pop(&self, origin: &Origin, now: SystemTime) -> Option<Connection> {
        let mut idle = self.idle();
        idle.retain(|idle| idle.is_usable(now));
        let newest = idle.iter().rposition(|idle| idle.origin == *origin)?;
        Some(idle.remove(newest).connection)
    }

    /// Keeps a connection whose answer is complete, in place of the oldest one if the pool is full.
    pub fn put(&self, origin: &Origin, connection: Connection, since: SystemTime) {
        let mut idle = self.idle();
        if idle.len() >= MOST {
            idle.remove(0);
        }
        let origin = origin.clone();
        idle.push(Idle {
            origin,
            connection,
            since,
        });
    }

    /// Drops every idle connection to `origin`.
    pub fn discard(&self, origin: &Origin) {
        self.idle().retain(|idle| idle.origin != *origin);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        // No change of the list can panic half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("idle", &self.idle().len()).finish()
    }
}
