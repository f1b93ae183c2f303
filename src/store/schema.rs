//! The table's schema: attribute names, keys and indexes (contract, section 4).
//!
//! Only the modules of [`store`](super) name DynamoDB attributes. A test compares this schema with the template's.

pub(super) const EVENT_ID: &str = "event_id";
pub(super) const TYPE: &str = "type";
/// The partition key of an index, so an item without a usable session does not have it.
pub(super) const SESSION_ID: &str = "session_id";
/// The session for the published event: an accepted record always has it, and it may be empty.
pub(super) const SESSION: &str = "session";
pub(super) const OCCURRED_AT: &str = "occurred_at";
pub(super) const RECEIVED_AT: &str = "received_at";
pub(super) const EXPIRES_AT: &str = "expires_at";
pub(super) const OUTCOME: &str = "outcome";
pub(super) const REASON: &str = "reason";
pub(super) const PROBLEMS: &str = "problems";
pub(super) const ALERT: &str = "alert";
pub(super) const BODY: &str = "body";
/// A short name, since DynamoDB counts names in an item's size.
pub(super) const CONTENT_HASH: &str = "hash";
pub(super) const DELIVERY_TOKEN: &str = "delivery_token";
pub(super) const ERASED_AT: &str = "erased_at";
pub(super) const SHARD: &str = "shard";

pub(super) const BY_SESSION: &str = "by_session";
pub(super) const BY_TIME: &str = "by_time";

/// The number of partitions that the index over all records is spread over. DynamoDB gives each partition 1,000 write
/// units a second ("Best practices for designing and using partition keys effectively").
pub const SHARDS: u8 = 16;

/// The value of a shard's partition key.
pub(super) fn shard_name(shard: u8) -> String {
    shard.to_string()
}

/// The table's partition key, a string.
pub const TABLE_KEY: &str = EVENT_ID;

/// The attribute that holds the time, in epoch seconds, from which DynamoDB may delete a record.
pub const TTL_ATTRIBUTE: &str = EXPIRES_AT;

/// An index of the table.
#[derive(Debug)]
pub struct Index {
    /// The index's name.
    pub name: &'static str,
    /// Its partition key, a string.
    pub partition_key: &'static str,
    /// Its sort key, a string.
    pub sort_key: &'static str,
    /// The other attributes that DynamoDB copies into the index. The body is not among them: it is stored once.
    pub includes: &'static [&'static str],
}

/// The table's indexes.
pub const INDEXES: [Index; 2] = [
    Index {
        name: BY_SESSION,
        partition_key: SESSION_ID,
        sort_key: RECEIVED_AT,
        includes: &[EXPIRES_AT],
    },
    Index {
        name: BY_TIME,
        partition_key: SHARD,
        sort_key: RECEIVED_AT,
        includes: &[
            TYPE,
            SESSION_ID,
            OCCURRED_AT,
            EXPIRES_AT,
            OUTCOME,
            REASON,
            PROBLEMS,
            ALERT,
            ERASED_AT,
        ],
    },
];
