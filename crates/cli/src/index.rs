//! Whole lists of records, from the pages of the table's index over time.

use futures_util::{StreamExt, TryStreamExt, stream};
use sonotheia_webhook::store::schema::SHARDS;
use sonotheia_webhook::store::{Filter, Record, Store, StoreError};
use sonotheia_webhook::timestamp::Timestamp;

/// The number of shards that are read at the same time.
const AT_ONCE: usize = 8;

/// The records on a page. DynamoDB counts them before it applies the filter.
const PAGE: u8 = 100;

/// All records that match the filter and have not expired at `now`, oldest first, without their bodies: the pages of each
/// shard to their end.
///
/// # Errors
/// [`StoreError`] if any page cannot be read. The caller then gets no records.
pub async fn all(store: &Store, filter: &Filter, now: Timestamp) -> Result<Vec<Record>, StoreError> {
    let (_, until) = filter.bounds();
    let shards = (0..SHARDS).map(|shard| {
        let until = &until;
        async move {
            let mut records = Vec::new();
            let mut start = None;
            loop {
                let page = store.by_time(shard, filter, until, PAGE, start, now).await?;
                records.extend(page.records);
                start = page.next;
                if start.is_none() {
                    return Ok::<_, StoreError>(records);
                }
            }
        }
    });
    let shards: Vec<_> = stream::iter(shards).buffered(AT_ONCE).try_collect().await?;
    let mut records = shards.concat();
    records.sort_by(|a, b| (&a.received_at, &a.event_id).cmp(&(&b.received_at, &b.event_id)));
    Ok(records)
}
