//! A page of a session: as many records as fit into one answer.

use serde_json::value::RawValue;

use super::shown::{self, MAX_ANSWER, cost};
use crate::error::HttpError;
use crate::store::{Position, Store};

/// The number of records in the first call. Four items are 1.6 MB at most, which DynamoDB returns in time.
const FIRST_ROUND: usize = 4;

/// The largest number of records in one call. The index does not know their sizes, and small records may stand before large
/// ones, so the size of the records so far is no bound: eight items are 3.2 MB at most, and an attempt has 1.2 s.
const LARGEST_ROUND: usize = 8;

/// The pause before the next call, if DynamoDB processed no key of the last one.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// The records of a page.
#[derive(Default)]
pub(super) struct SessionPage {
    /// The records as JSON.
    pub results: Vec<Box<RawValue>>,
    /// The place of the last record, if the page ended before the last place.
    pub cut: Option<Position>,
}

/// Reads the records at `places` in rounds, until the page is full.
///
/// # Errors
/// [`HttpError`] if the table does not answer. The deadline of the request ends the wait for unprocessed keys.
pub(super) async fn read(store: &Store, places: &[Position]) -> Result<SessionPage, HttpError> {
    let mut page = SessionPage::default();
    let (mut used, mut done, mut round) = (0, 0, FIRST_ROUND);
    while done < places.len() {
        let asked = &places[done..places.len().min(done + round)];
        let mut records = store.records(asked).await?;
        let processed = asked
            .iter()
            .take_while(|place| !records.is_unprocessed(&place.event_id))
            .count();
        for place in &asked[..processed] {
            if let Some(record) = records.take(&place.event_id) {
                let result = shown::fitted(&record, false)?;
                used += cost(&result);
                if used > MAX_ANSWER && !page.results.is_empty() {
                    page.cut = places.get(done - 1).cloned();
                    return Ok(page);
                }
                page.results.push(raw(result)?);
            }
            done += 1;
        }
        if processed == 0 {
            tokio::time::sleep(PAUSE).await;
        }
        round = next_round(used, page.results.len());
    }
    Ok(page)
}

/// The number of records that fill the rest of the page if they are as large as the records so far, within the bound of one
/// call.
fn next_round(used: usize, count: usize) -> usize {
    match used.checked_div(count) {
        None => FIRST_ROUND,
        Some(average) => (MAX_ANSWER.saturating_sub(used) / average.max(1)).clamp(1, LARGEST_ROUND),
    }
}

fn raw(json: String) -> Result<Box<RawValue>, HttpError> {
    RawValue::from_string(json).map_err(|error| HttpError::Internal(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_round_asks_for_the_records_that_fill_the_page() {
        assert_eq!(next_round(0, 0), FIRST_ROUND);
        // Room for three more records of this size, for none, and for more than one call may ask for.
        assert_eq!(next_round(MAX_ANSWER * 2 / 5, 2), 3);
        assert_eq!(next_round(MAX_ANSWER, 3), 1);
        assert_eq!(next_round(1000, 1), LARGEST_ROUND);
    }
}
