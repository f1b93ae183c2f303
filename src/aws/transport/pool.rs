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
        is_young && !self.connection.poisoned.is_set()
    }
}

/// The idle connections, the newest last.
///
/// The pool has no limit. A request makes one call at a time, or one call for each shard, so the number of connections follows
/// the number of requests in progress. [`take`](Pool::take) closes the connections that have been idle for [`IDLE`].
///
/// All threads share the pool. A thread may use a connection that another thread opened, and the runtime of that other thread
/// drives it.
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

    /// Keeps a connection whose answer is complete.
    pub fn put(&self, origin: &Origin, connection: Connection, since: SystemTime) {
        self.idle().push(Idle {
            origin: origin.clone(),
            connection,
            since,
        });
    }

    /// Drops the connections to `origin` that have been idle since before `time`.
    pub fn discard(&self, origin: &Origin, time: SystemTime) {
        self.idle()
            .retain(|idle| idle.origin != *origin || idle.since >= time);
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

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    use rustls::RootCertStore;

    use super::super::HttpsClient;
    use super::super::connect::connect;
    use super::*;

    /// A server that only accepts connections.
    struct Server {
        listener: TcpListener,
        origin: Origin,
    }

    impl Server {
        fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
            let address = listener.local_addr().expect("an address");
            let url = format!("http://{address}/").parse().expect("a URL");
            let origin = Origin::of(&url).expect("an origin");
            Self { listener, origin }
        }

        /// A new connection, and the server's side of it.
        async fn connect(&self) -> (Connection, TcpStream) {
            let tls = &HttpsClient::new(RootCertStore::empty()).0.tls;
            let connection = connect(&self.origin, tls, None).await.expect("a connection");
            let (side, _) = self.listener.accept().expect("a connection");
            (connection, side)
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    #[tokio::test]
    async fn a_connection_lives_for_30_s_of_the_wall_clock() {
        // The times are values, and the monotonic clock does not pass them: as after a freeze.
        for (put, take, is_used) in [
            (0, 0, true),
            (0, 29, true),
            (0, 30, false),
            (0, 3600, false),
            (5, 4, false),
        ] {
            let (pool, server) = (Pool::default(), Server::start());
            let (connection, _side) = server.connect().await;
            pool.put(&server.origin, connection, at(put));
            let taken = pool.take(&server.origin, at(take)).await;
            assert_eq!(taken.is_some(), is_used, "put at {put} s, taken at {take} s");
            assert!(pool.idle().is_empty());
        }
    }

    #[tokio::test]
    async fn the_pool_keeps_every_connection_and_gives_the_newest_first() {
        let (pool, server) = (Pool::default(), Server::start());
        let mut sides = Vec::new();
        for n in 0..70 {
            let (connection, side) = server.connect().await;
            pool.put(&server.origin, connection, at(n / 10));
            sides.push(side);
        }
        assert_eq!(pool.idle().len(), 70);
        // Dropping a connection closes it.
        drop(pool.take(&server.origin, at(7)).await.expect("a connection"));
        tokio::time::sleep(Duration::from_millis(50)).await;
        for (n, mut side) in sides.into_iter().enumerate() {
            side.set_nonblocking(true).expect("an open socket");
            let is_closed = matches!(side.read(&mut [0]), Ok(0));
            assert_eq!(is_closed, n == 69, "connection {n}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_was_poisoned_or_closed_is_not_used_again() {
        let (pool, server) = (Pool::default(), Server::start());
        let (connection, _side) = server.connect().await;
        let poisoned = connection.poisoned.clone();
        pool.put(&server.origin, connection, at(0));
        poisoned.set();
        assert!(pool.take(&server.origin, at(0)).await.is_none());

        let (connection, side) = server.connect().await;
        pool.put(&server.origin, connection, at(0));
        drop(side);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(pool.take(&server.origin, at(0)).await.is_none());
    }

    #[tokio::test]
    async fn a_connection_that_got_an_answer_after_the_attempt_began_stays() {
        let (pool, server) = (Pool::default(), Server::start());
        let mut sides = Vec::new();
        for second in [1, 3] {
            let (connection, side) = server.connect().await;
            pool.put(&server.origin, connection, at(second));
            sides.push(side);
        }
        pool.discard(&server.origin, at(2));
        assert!(pool.take(&server.origin, at(3)).await.is_some());
        assert!(pool.take(&server.origin, at(3)).await.is_none());
    }

    #[tokio::test]
    async fn the_connections_of_another_server_stay() {
        let pool = Pool::default();
        let (one, other) = (Server::start(), Server::start());
        let mut sides = Vec::new();
        for server in [&one, &other] {
            let (connection, side) = server.connect().await;
            pool.put(&server.origin, connection, at(0));
            sides.push(side);
        }
        pool.discard(&one.origin, at(1));
        assert!(pool.take(&one.origin, at(1)).await.is_none());
        assert!(pool.take(&other.origin, at(1)).await.is_some());
    }
}
