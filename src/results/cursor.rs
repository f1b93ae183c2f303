//! The cursors of the reads, and the merge of all shards into one page.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::query::invalid;
use crate::error::HttpError;
use crate::store::schema::SHARDS;
use crate::store::{Filter, Page, Position, Record};
use crate::timestamp::{Parsed, Timestamp};

/// The progress of a query over all records in one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Start,
    After(Position),
    Done,
}

/// The progress in all shards: a cursor of `GET /results`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shards(pub Vec<Progress>);

impl Shards {
    pub fn start() -> Self {
        Self(vec![Progress::Start; SHARDS.into()])
    }

    /// Checks that the cursor lies within the filter's bounds, since DynamoDB does not start a query outside of them.
    pub fn check(&self, filter: &Filter) -> Result<(), HttpError> {
        let (from, to) = filter.bounds();
        let outside = |progress: &Progress| match progress {
            Progress::After(position) => position.received_at < from || position.received_at > to,
            Progress::Start | Progress::Done => false,
        };
        if self.0.iter().any(outside) {
            return Err(invalid(
                "cursor",
                "belongs to a query with another `from` or `to`",
            ));
        }
        Ok(())
    }
}

/// Merges one page of every shard into one page, newest first.
///
/// A shard with more records may have them right behind the end of its page. So the merged page holds no record that is
/// older than the newest of these ends. It holds the whole page of the shard with that end, so each round makes progress.
pub(super) fn merge(
    mut progress: Vec<Progress>,
    pages: Vec<Page>,
    limit: usize,
) -> (Vec<Record>, Option<Shards>) {
    let ends = pages.iter().filter_map(|page| page.next.as_ref());
    let frontier = ends.map(|end| end.received_at.clone()).max();

    let mut nexts = Vec::with_capacity(pages.len());
    let mut candidates = Vec::new();
    let mut left = Vec::with_capacity(pages.len());
    for (shard, page) in pages.into_iter().enumerate() {
        left.push(page.records.len());
        nexts.push(page.next);
        candidates.extend(page.records.into_iter().map(|record| (shard, record)));
    }
    // The sort is stable: records of one shard with the same time keep the order of the index.
    candidates.sort_by(|(_, a), (_, b)| b.received_at.cmp(&a.received_at));
    let taken = candidates
        .iter()
        .take(limit)
        .take_while(|(_, record)| frontier.as_ref().is_none_or(|end| record.received_at >= *end))
        .count();
    candidates.truncate(taken);

    for (shard, record) in &candidates {
        left[*shard] -= 1;
        progress[*shard] = Progress::After(Position {
            received_at: record.received_at.clone(),
            event_id: record.event_id.clone(),
        });
    }
    for ((progress, next), left) in progress.iter_mut().zip(nexts).zip(left) {
        if left == 0 && *progress != Progress::Done {
            *progress = next.map_or(Progress::Done, Progress::After);
        }
    }
    let done = progress.iter().all(|progress| *progress == Progress::Done);
    let records = candidates.into_iter().map(|(_, record)| record).collect();
    (records, (!done).then_some(Shards(progress)))
}

/// A cursor, as text that only this module reads.
pub(super) trait Cursor: Sized {
    fn pack(&self) -> String;
    fn unpack(text: &str) -> Option<Self>;

    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.pack())
    }

    fn decode(cursor: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        Self::unpack(std::str::from_utf8(&bytes).ok()?)
    }
}

impl Cursor for Position {
    fn pack(&self) -> String {
        format!("{} {}", self.received_at, self.event_id)
    }

    fn unpack(text: &str) -> Option<Self> {
        let (received_at, event_id) = text.split_once(' ')?;
        let time = match Timestamp::parse(received_at)? {
            Parsed::Moment(time) => time,
            Parsed::WithoutOffset(_) => return None,
        };
        // Ids have no control characters, but a cursor over all records has line breaks.
        let ours = time.to_string() == received_at
            && (1..=512).contains(&event_id.len())
            && !event_id.contains(char::is_control);
        ours.then(|| Self {
            received_at: received_at.to_owned(),
            event_id: event_id.to_owned(),
        })
    }
}

/// One line for each shard: empty at the start, `.` at the end.
impl Cursor for Shards {
    fn pack(&self) -> String {
        let line = |progress: &Progress| match progress {
            Progress::Start => String::new(),
            Progress::After(position) => position.pack(),
            Progress::Done => ".".to_owned(),
        };
        let lines: Vec<_> = self.0.iter().map(line).collect();
        lines.join("\n")
    }

    fn unpack(text: &str) -> Option<Self> {
        let progress = |line| match line {
            "" => Some(Progress::Start),
            "." => Some(Progress::Done),
            position => Position::unpack(position).map(Progress::After),
        };
        let shards: Option<Vec<_>> = text.split('\n').map(progress).collect();
        shards
            .filter(|shards| shards.len() == usize::from(SHARDS))
            .map(Self)
    }
}
