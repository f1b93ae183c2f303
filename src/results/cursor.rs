//! The cursors of the reads, and the merge of all shards into one page.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::event::MAX_NAME_BYTES;
use crate::store::schema::SHARDS;
use crate::store::{Filter, Page, Position, Record};
use crate::timestamp::{Parsed, Timestamp};

/// The progress of a query over all records in one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    Start,
    After(Position),
    Done,
}

/// A cursor of `GET /results`: the progress in all shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shards {
    /// The newest time of receipt that the next page may show. Otherwise a record that reaches the index late could be
    /// newer than the first page.
    pub until: String,
    progress: Vec<Progress>,
}

impl Shards {
    /// The cursor of the first page.
    pub fn start(filter: &Filter) -> Self {
        let (_, until) = filter.bounds();
        let progress = vec![Progress::Start; SHARDS.into()];
        Self { until, progress }
    }

    /// True if the cursor lies within the filter's bounds. DynamoDB does not start a query outside of them.
    pub fn is_within(&self, filter: &Filter) -> bool {
        let (from, to) = filter.bounds();
        let times = self.progress.iter().filter_map(|progress| match progress {
            Progress::After(position) => Some(&position.received_at),
            Progress::Start | Progress::Done => None,
        });
        times
            .chain([&self.until])
            .all(|time| (&from..=&to).contains(&time))
    }

    /// The shards that may have more records, each with the place where its next page starts.
    pub fn open(&self) -> impl Iterator<Item = (u8, Option<Position>)> {
        (0..SHARDS)
            .zip(&self.progress)
            .filter_map(|(shard, progress)| match progress {
                Progress::Start => Some((shard, None)),
                // The shard showed this record before, so the bound of time replaces the position.
                Progress::After(position) if position.received_at > self.until => Some((shard, None)),
                Progress::After(position) => Some((shard, Some(position.clone()))),
                Progress::Done => None,
            })
    }
}

/// Merges one page of every open shard into one page, newest first, of at most `limit` records that `fits` accepts.
///
/// A shard with more records may have them right behind the end of its page. So the merged page holds no record that is
/// older than the newest of these ends. It holds the whole page of the shard with that end, so each round makes progress.
pub(super) fn merge(
    cursor: Shards,
    pages: Vec<(u8, Page)>,
    limit: usize,
    mut fits: impl FnMut(&Record) -> bool,
) -> (Vec<Record>, Option<Shards>) {
    let Shards {
        mut until,
        mut progress,
    } = cursor;
    let ends = pages.iter().filter_map(|(_, page)| page.next.as_ref());
    let frontier = ends.map(|end| end.received_at.clone()).max();

    let mut candidates: Vec<(u8, Record)> = Vec::new();
    // The records of each shard that the merged page does not hold yet, and the end of the shard's page.
    let mut left: Vec<(u8, usize, Option<Position>)> = Vec::with_capacity(pages.len());
    for (shard, page) in pages {
        left.push((shard, page.records.len(), page.next));
        candidates.extend(page.records.into_iter().map(|record| (shard, record)));
    }
    // The sort is stable: records of one shard with the same time keep the order of the index.
    candidates.sort_by(|(_, a), (_, b)| b.received_at.cmp(&a.received_at));
    let taken = candidates
        .iter()
        .take(limit)
        .take_while(|(_, record)| frontier.as_ref().is_none_or(|end| record.received_at >= *end))
        .take_while(|(_, record)| fits(record))
        .count();
    candidates.truncate(taken);

    for (shard, record) in &candidates {
        if let Some((_, left, _)) = left.iter_mut().find(|(of, ..)| of == shard) {
            *left -= 1;
        }
        progress[usize::from(*shard)] = Progress::After(Position {
            received_at: record.received_at.clone(),
            event_id: record.event_id.clone(),
        });
        until.clone_from(&record.received_at);
    }
    // A page without records has looked at everything down to this end. Without the new bound, a shard that keeps its start
    // would show records that came after the first page.
    if let (true, Some(end)) = (candidates.is_empty(), frontier) {
        until = end;
    }
    for (shard, left, next) in left {
        if left == 0 {
            progress[usize::from(shard)] = next.map_or(Progress::Done, Progress::After);
        }
    }
    let done = progress.iter().all(|progress| *progress == Progress::Done);
    let records = candidates.into_iter().map(|(_, record)| record).collect();
    (records, (!done).then_some(Shards { until, progress }))
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
        // Ids have no control characters, but a cursor over all records has line breaks.
        let ours = stored_time(received_at).is_some()
            && (1..=MAX_NAME_BYTES).contains(&event_id.len())
            && !event_id.contains(char::is_control);
        ours.then(|| Self {
            received_at: received_at.to_owned(),
            event_id: event_id.to_owned(),
        })
    }
}

/// The bound of time, then one line for each shard: empty at the start, `.` at the end.
impl Cursor for Shards {
    fn pack(&self) -> String {
        let line = |progress: &Progress| match progress {
            Progress::Start => String::new(),
            Progress::After(position) => position.pack(),
            Progress::Done => ".".to_owned(),
        };
        let lines: Vec<_> = self.progress.iter().map(line).collect();
        format!("{}\n{}", self.until, lines.join("\n"))
    }

    fn unpack(text: &str) -> Option<Self> {
        let progress = |line| match line {
            "" => Some(Progress::Start),
            "." => Some(Progress::Done),
            position => Position::unpack(position).map(Progress::After),
        };
        let (until, shards) = text.split_once('\n')?;
        let until = stored_time(until)?.to_owned();
        let progress: Vec<_> = shards.split('\n').map(progress).collect::<Option<_>>()?;
        (progress.len() == usize::from(SHARDS)).then_some(Self { until, progress })
    }
}

/// A time as records store it.
fn stored_time(text: &str) -> Option<&str> {
    match Timestamp::parse(text)? {
        Parsed::Moment(time) if time.to_string() == text => Some(text),
        _ => None,
    }
}
