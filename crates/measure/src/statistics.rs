//! Medians and percentiles of durations.

use std::time::Duration;

/// A percentile in microseconds. `part` is the share of durations that are shorter: 0.5 for the median, 0.99 for the 99th
/// percentile. NaN if there are no durations.
pub fn percentile(durations: impl IntoIterator<Item = Duration>, part: f64) -> f64 {
    let mut sorted: Vec<_> = durations.into_iter().collect();
    sorted.sort_unstable();
    let at = (sorted.len().saturating_sub(1) as f64 * part).round() as usize;
    sorted
        .get(at)
        .map_or(f64::NAN, |duration| duration.as_secs_f64() * 1e6)
}

/// The median in microseconds.
pub fn median(durations: impl IntoIterator<Item = Duration>) -> f64 {
    percentile(durations, 0.5)
}
