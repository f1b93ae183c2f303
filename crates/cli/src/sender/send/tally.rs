//! The answers to a run of deliveries, counted, and the summary at its end.

use std::time::{Duration, Instant};

use axum::http::{StatusCode, Uri};
use indicatif::{ProgressBar, ProgressStyle};

use super::post::{Answer, Delivery};
use crate::args::{SecretOrigin, print};
use crate::failure::Failure;
use crate::remote::RemoteError;

/// The most unexpected answers that a long run prints.
const MAX_SHOWN: usize = 10;

/// The answers, counted.
pub struct Tally {
    url: Uri,
    secret: SecretOrigin,
    /// True if the run prints each answer.
    each: bool,
    bar: ProgressBar,
    begun: Instant,
    accepted: usize,
    duplicate: usize,
    rejected: usize,
    lost: usize,
    unexpected: usize,
    /// True if the receiver answered 401 to a good signature.
    is_forged: bool,
    latencies: Vec<Duration>,
}

impl Tally {
    /// No answers yet, of `steps` deliveries. `each` prints each answer, else a bar shows the progress on a terminal.
    pub fn new(url: Uri, secret: SecretOrigin, steps: usize, each: bool) -> Self {
        let bar = if each {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(steps as u64)
        };
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len}, {per_sec}, {eta} left") {
            bar.set_style(style);
        }
        Self {
            url,
            secret,
            each,
            bar,
            begun: Instant::now(),
            accepted: 0,
            duplicate: 0,
            rejected: 0,
            lost: 0,
            unexpected: 0,
            is_forged: false,
            latencies: Vec::with_capacity(steps),
        }
    }

    /// Counts a delivery, and prints it if it is of interest.
    ///
    /// # Errors
    /// [`Failure::Http`] if there is no answer at all so far: the next deliveries would get none either.
    pub fn add(&mut self, delivery: Delivery) -> Result<(), Failure> {
        let as_expected = delivery.is_as_expected();
        match &delivery.answer {
            Ok(Answer { status, receipt }) => {
                match receipt.duplicate {
                    _ if !status.is_success() => self.rejected += 1,
                    Some(true) => self.duplicate += 1,
                    _ => self.accepted += 1,
                }
                // Another part on the way may answer 401 for another reason.
                let is_forged = receipt.code.as_deref() == Some("invalid_signature");
                self.is_forged |= is_forged && *status == StatusCode::UNAUTHORIZED && !as_expected;
                self.latencies.push(delivery.latency);
            }
            Err(_) => self.lost += 1,
        }
        if !as_expected {
            self.unexpected += 1;
        }
        match delivery.answer {
            Err(source) if self.latencies.is_empty() => {
                return Err(Failure::Http {
                    url: self.url.to_string(),
                    source,
                });
            }
            _ if self.each || !as_expected && self.unexpected <= MAX_SHOWN => {
                self.bar.suspend(|| print(&format!("{delivery}\n")))?;
            }
            _ => {}
        }
        self.bar.inc(1);
        Ok(())
    }

    /// Prints the summary.
    ///
    /// # Errors
    /// [`Failure::Unexpected`] if an answer was not the expected answer.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.sum_up()?;
        if self.unexpected > 0 {
            return Err(Failure::Unexpected {
                unexpected: self.unexpected,
                sent: self.sent(),
                forged: self.is_forged.then_some(self.secret),
            });
        }
        Ok(())
    }

    /// Prints the summary of a run that an interrupt ended after a part of `steps` deliveries.
    pub fn interrupted(mut self, steps: usize) -> Result<(), Failure> {
        self.sum_up()?;
        let done = format!(
            "{} of {steps} deliveries have an answer, and the receiver may have stored more",
            self.latencies.len()
        );
        Err(RemoteError::Interrupted { done }.into())
    }

    fn sent(&self) -> usize {
        self.latencies.len() + self.lost
    }

    fn sum_up(&mut self) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        let took = self.begun.elapsed().as_secs_f64();
        let lost = match self.lost {
            0 => String::new(),
            lost => format!(", {lost} without an answer"),
        };
        self.latencies.sort_unstable();
        let [p50, p99] = [50, 99].map(|percent| percentile(&self.latencies, percent).as_secs_f64() * 1000.0);
        let slowest = match self.latencies.len() {
            few @ ..100 => format!(" (the slowest of {few})"),
            _ => String::new(),
        };
        print(&format!(
            "{} sent in {took:.2} s: {} accepted, {} duplicate, {} refused{lost}\n\
             latency p50 {p50:.1} ms, p99 {p99:.1} ms{slowest}\n",
            self.sent(),
            self.accepted,
            self.duplicate,
            self.rejected
        ))
    }
}

/// The smallest measured value that at least so many per cent of the values do not exceed (nearest rank).
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_measured_value() {
        let upto = |n| (1..=n).map(Duration::from_millis).collect::<Vec<_>>();
        let of = |n, percent| percentile(&upto(n), percent).as_millis();
        assert_eq!([of(1, 50), of(1, 99)], [1, 1]);
        assert_eq!([of(8, 50), of(8, 99)], [4, 8]);
        assert_eq!([of(1000, 50), of(1000, 99)], [500, 990]);
    }
}
