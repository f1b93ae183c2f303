//! Ids by their beginning: a person types `evt_12` for `evt_1234567890`.

use std::collections::BTreeSet;

use super::listing::{Pages, Query};
use super::reads::Reader;
use crate::args::note;
use crate::failure::Failure;
use crate::remote::RemoteError;
use crate::show::{Row, clean};

/// The number of records, newest first, that a prefix is looked for in. The receiver has no such query, so a command reads
/// the list of all records.
const LOOKED_AT: usize = 2_000;

/// The most ids that an error lists.
const LISTED: usize = 5;

/// Finds the only id that begins with `prefix`. `None` if no id does.
///
/// # Errors
/// [`RemoteError::Ambiguous`], or the list's.
pub async fn find(
    reader: &Reader,
    prefix: &str,
    id_of: fn(&Row) -> Option<&str>,
) -> Result<Option<String>, Failure> {
    let all = Query::default();
    let mut pages = Pages::new(reader, &all, LOOKED_AT);
    let mut ids = BTreeSet::new();
    while let Some(found) = pages.next().await? {
        let of_page = found.iter().filter_map(|found| id_of(&found.row));
        ids.extend(of_page.filter(|id| id.starts_with(prefix)).map(str::to_owned));
        if ids.len() >= LISTED {
            break;
        }
    }
    if ids.len() < 2 {
        let id = ids.pop_first();
        if let Some(id) = &id {
            note(&format!("{} is the beginning of {}.", clean(prefix), clean(id)));
        }
        return Ok(id);
    }
    Err(RemoteError::Ambiguous {
        prefix: clean(prefix),
        ids: ids.iter().take(LISTED).map(|id| clean(id)).collect(),
    }
    .into())
}
