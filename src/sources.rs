//! The time and the random bytes that the receiver uses, passed in as values.
//!
//! The function uses [`Sources::system`]. A simulator passes a clock and a generator of its own, and then the receiver
//! does the same for the same input. The monotonic time is tokio's, which a simulator can stop; the SDK's clients get
//! their time from the same wall clock through their own settings.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::timestamp::Timestamp;

type Wall = dyn Fn() -> SystemTime + Send + Sync;
type Random = dyn Fn(&mut [u8; 16]) -> Result<(), getrandom::Error> + Send + Sync;

/// The wall clock, and the generator of random bytes. Clones share both.
#[derive(Clone)]
pub struct Sources {
    wall: Arc<Wall>,
    random: Arc<Random>,
}

impl Sources {
    /// The clock and the random bytes of the operating system.
    pub fn system() -> Self {
        Self::new(SystemTime::now, |bytes| getrandom::fill(bytes))
    }

    /// A wall clock, and a function that fills its argument with random bytes.
    pub fn new(
        wall: impl Fn() -> SystemTime + Send + Sync + 'static,
        random: impl Fn(&mut [u8; 16]) -> Result<(), getrandom::Error> + Send + Sync + 'static,
    ) -> Self {
        let (wall, random) = (Arc::new(wall), Arc::new(random));
        Self { wall, random }
    }

    /// Reads the wall clock.
    pub fn now(&self) -> Timestamp {
        (self.wall)().into()
    }

    /// Makes 16 random bytes.
    ///
    /// # Errors
    /// The operating system has no random bytes.
    pub fn random(&self) -> Result<[u8; 16], getrandom::Error> {
        let mut bytes = [0; 16];
        (self.random)(&mut bytes)?;
        Ok(bytes)
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}
