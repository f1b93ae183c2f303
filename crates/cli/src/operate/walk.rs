//! The way of `redrive` and `erase` through the records that they found.

use emulators::BoxError;
use futures_util::future::select;
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};

use crate::interrupt::Stop;

/// The number of records at the same time.
pub const AT_ONCE: usize = 8;

/// Does the work for each record, until the end, an error, or an interrupt. No further work begins then, and the work that
/// has begun ends, so that `lines` has a line for every write. Work without a line is left out.
///
/// # Errors
///
/// The first error of the work.
pub async fn each<R, L, F>(
    records: Vec<R>,
    work: impl FnMut(R) -> F,
    stop: Stop,
    lines: &mut Vec<L>,
) -> Result<(), BoxError>
where
    F: Future<Output = Result<Option<L>, BoxError>>,
{
    let (fail, failed) = tokio::sync::oneshot::channel::<()>();
    let mut fail = Some(fail);
    let bar = ProgressBar::new(records.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len}, {per_sec}, {eta} left") {
        bar.set_style(style);
    }
    let mut results = stream::iter(records)
        .take_until(select(stop, failed))
        .map(work)
        .buffered(AT_ONCE);
    let mut done = Ok(());
    while let Some(result) = results.next().await {
        bar.inc(1);
        match result {
            Ok(line) => lines.extend(line),
            Err(error) => {
                drop(fail.take());
                done = done.and(Err(error));
            }
        }
    }
    bar.finish_and_clear();
    done
}
