//! The arguments of a simulation.

/// The arguments of a simulation.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The seed of all that is random.
    pub seed: u64,
    /// The number of deliveries after which the sender makes no new event.
    pub deliveries: u64,
    /// The planted defect. A run with a defect ends at the first violation.
    pub defect: Option<Defect>,
}

/// A wrong component in place of a right one, between the receiver and its services. The receiver's code stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Defect {
    /// A read finds out whether the event is new, and a write without a condition follows.
    ReadThenWrite,
    /// A claim with the event's key and hash goes before the record.
    ClaimThenStore,
    /// The same, and a delivery that finds a claim gets an error. No claim ends.
    ClaimForever,
    /// The condition accepts an expired record that DynamoDB has not deleted yet.
    OverwriteExpired,
    /// The receiver judges events as if nothing passed between the judgement and the write. (The effect is planted: the
    /// clocks of all environments are late by more than the margin.)
    NoMargin,
    /// The receiver does not recognise its own record. (The effect is planted: the item that a failed condition returns
    /// has another token.)
    LostToken,
    /// The receiver believes a secret for ever. (The effect is planted: a proxy repeats the first answer of Secrets
    /// Manager.)
    StaleSecret,
    /// `expires_at` is a day early in the written item.
    ExpiryOffByADay,
    /// A page after the first one begins one record late. (The effect is planted: the answer to a query with a start key
    /// lacks its first item.)
    SkippingCursor,
    /// The transport ignores that the SDK wants a connection closed after a 5xx answer.
    ReusedConnection,
    /// An erasure deletes the record. (The effect is planted: a deletion takes the place of the update.)
    ErasingDeletes,
}

impl Defect {
    /// All defects.
    pub const ALL: [Self; 11] = [
        Self::ReadThenWrite,
        Self::ClaimThenStore,
        Self::ClaimForever,
        Self::OverwriteExpired,
        Self::NoMargin,
        Self::LostToken,
        Self::StaleSecret,
        Self::ExpiryOffByADay,
        Self::SkippingCursor,
        Self::ReusedConnection,
        Self::ErasingDeletes,
    ];

    /// The checks that must find the defect: one of them is the first violation.
    pub const fn found_by(self) -> &'static [Check] {
        use Check::{A, B, C, Connection, Erasure, Expiry, F, Liveness, Read, Secret};
        match self {
            Self::ReadThenWrite => &[B, C],
            Self::ClaimThenStore => &[A, B],
            Self::ClaimForever => &[Liveness],
            Self::OverwriteExpired => &[B, F],
            Self::NoMargin => &[F],
            Self::LostToken => &[C],
            // The previous version has the id of the current one, so the receiver answers 503: the labels may have moved.
            Self::StaleSecret => &[Secret, Liveness],
            Self::ExpiryOffByADay => &[Expiry, F],
            Self::SkippingCursor => &[Read],
            Self::ReusedConnection => &[Connection],
            Self::ErasingDeletes => &[A, B, Erasure],
        }
    }
}

/// A check of the simulator: an invariant of the contract's section 4, or a promise of its sections 2, 3 and 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Every 2xx implies a stored record.
    A,
    /// An event has at most one accepted record, and nothing but an erasure changes it.
    B,
    /// Exactly one delivery of an event gets `duplicate: false`.
    C,
    /// An unsigned request stores nothing and costs no call to DynamoDB.
    D,
    /// No secret, signature or body is logged.
    E,
    /// An accepted event is never new again.
    F,
    /// Section 2 of the contract allows the answer for this delivery.
    Answer,
    /// The answer comes in time.
    Deadline,
    /// A delivery that met no fault gets no 5xx.
    Liveness,
    /// A signature by the current or the previous secret holds, and an older one does not.
    Secret,
    /// `expires_at` follows section 4.
    Expiry,
    /// The reads show every stored record once.
    Read,
    /// An erasure removes the payload and nothing else.
    Erasure,
    /// No request goes over a connection that gave a 5xx answer.
    Connection,
}
