//! `send`: what Sonotheia does, done to a receiver of one's own.

mod plan;
mod post;

use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use clap::Args;
use clap::builder::PossibleValuesParser;
use emulators::sample_events::Envelope;
use indicatif::{ProgressBar, ProgressStyle};
use sonotheia_webhook::event::types::known_types;
use sonotheia_webhook::timestamp::Timestamp;

use self::plan::{Step, plan};
use self::post::{Answer, Delivery, Sender, Source};
use crate::address::Address;
use crate::args::random_hex;
use crate::args::{print, read, usage};
use crate::failure::Failure;
use crate::local::running::SecretOption;

/// How many unexpected answers are printed of a run whose answers are not.
const MAX_SHOWN: usize = 10;

/// Sign and post sample events, and check the answers
#[derive(Args)]
pub struct Send {
    /// Types to send; every one without it
    #[arg(value_name = "TYPE", value_parser = PossibleValuesParser::new(known_types()))]
    types: Vec<String>,
    /// The receiver; `/webhook` is added to an address without a path
    #[arg(long, default_value = "http://127.0.0.1:8080/webhook", value_parser = Address::parse)]
    url: Address,
    #[command(flatten)]
    key: SecretOption,
    /// Send this file's bytes as they are, and not samples; `-` is standard input
    #[arg(long, value_name = "BODY", conflicts_with_all = ["types", "envelope", "count", "concurrency", "duplicates", "corrupt", "seed"])]
    file: Option<PathBuf>,
    /// How the samples are wrapped
    #[arg(long, value_enum, default_value_t = Envelope::Guide)]
    envelope: Envelope,
    /// Send so many in all, the types in turn, with a progress bar; one of each type without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: Option<u32>,
    /// Send so many at once
    #[arg(long, value_name = "C", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// So many of them repeat an earlier event
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=100))]
    duplicates: u8,
    /// So many of them have a wrong signature
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=100))]
    corrupt: u8,
    /// Decides which ones repeat or are corrupt
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Send {
    /// Sends, prints, sums up.
    pub fn run(self) -> Result<(), Failure> {
        if self.duplicates + self.corrupt > 100 {
            usage("--duplicates and --corrupt are over 100 per cent together");
        }
        let (source, steps) = match &self.file {
            Some(file) => (Source::File(read(file)?), vec![Step::New]),
            None => {
                let types = match self.types.as_slice() {
                    [] => known_types().map(str::to_owned).collect(),
                    types => types.to_vec(),
                };
                let count = self.count.map_or(types.len(), |count| count as usize);
                let steps = plan(count, self.duplicates, self.corrupt, self.seed);
                let (envelope, time) = (self.envelope, Timestamp::now());
                (
                    Source::Samples {
                        types,
                        envelope,
                        time,
                    },
                    steps,
                )
            }
        };
        let threads = usize::from(self.concurrency).min(steps.len());
        let mut tally = Tally::new(&self, steps.len());
        let secret = self.key.for_receiver(&self.url.webhook())?;
        let sender = Sender::new(
            self.url.webhook(),
            secret,
            source,
            steps,
            random_hex::<8>()?,
            threads,
        );

        let (deliveries, arrivals) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..threads {
                let deliveries = deliveries.clone();
                scope.spawn(|| sender.work(&{ deliveries }));
            }
            drop(deliveries);
            arrivals.into_iter().try_for_each(|delivery| tally.add(delivery))
        })?;
        tally.finish()
    }
}

/// The answers, counted.
struct Tally {
    url: String,
    /// Whether answers are printed one by one.
    each: bool,
    bar: ProgressBar,
    begun: Instant,
    accepted: usize,
    duplicate: usize,
    refused: usize,
    lost: usize,
    unexpected: usize,
    unsigned: bool,
    latencies: Vec<Duration>,
}

impl Tally {
    fn new(send: &Send, steps: usize) -> Self {
        let each = send.count.is_none();
        let bar = if each {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(steps as u64)
        };
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len}, {per_sec}, {eta} left") {
            bar.set_style(style);
        }
        Self {
            url: send.url.webhook().to_string(),
            each,
            bar,
            begun: Instant::now(),
            accepted: 0,
            duplicate: 0,
            refused: 0,
            lost: 0,
            unexpected: 0,
            unsigned: false,
            latencies: Vec::with_capacity(steps),
        }
    }

    fn add(&mut self, delivery: Delivery) -> Result<(), Failure> {
        let as_expected = delivery.is_as_expected();
        match &delivery.answer {
            Ok(Answer { status, told }) => {
                match told.duplicate {
                    _ if !status.is_success() => self.refused += 1,
                    Some(true) => self.duplicate += 1,
                    _ => self.accepted += 1,
                }
                self.unsigned |= *status == StatusCode::UNAUTHORIZED && !as_expected;
                self.latencies.push(delivery.latency);
            }
            Err(_) => self.lost += 1,
        }
        if !as_expected {
            self.unexpected += 1;
        }
        match delivery.answer {
            // Not one answer so far: the others would fare no better.
            Err(source) if self.latencies.is_empty() => Err(Failure::NothingAnswers {
                url: self.url.clone(),
                source: source.into(),
            }),
            _ if self.each || !as_expected && self.unexpected <= MAX_SHOWN => {
                self.bar.suspend(|| print(&format!("{delivery}\n")))
            }
            _ => Ok(()),
        }
        .inspect(|()| self.bar.inc(1))
    }

    fn finish(mut self) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        let took = self.begun.elapsed().as_secs_f64();
        let sent = self.latencies.len() + self.lost;
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
            "{sent} sent in {took:.2} s: {} accepted, {} duplicate, {} refused{lost}\n\
             latency p50 {p50:.1} ms, p99 {p99:.1} ms{slowest}\n",
            self.accepted, self.duplicate, self.refused
        ))?;
        if self.unexpected > 0 {
            return Err(Failure::Unexpected {
                unexpected: self.unexpected,
                sent,
                unsigned: self.unsigned,
            });
        }
        Ok(())
    }
}

/// The smallest one that so many per cent are not above (nearest rank): one that was measured.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_that_was_measured() {
        let upto = |n| (1..=n).map(Duration::from_millis).collect::<Vec<_>>();
        let of = |n, percent| percentile(&upto(n), percent).as_millis();
        assert_eq!([of(1, 50), of(1, 99)], [1, 1]);
        assert_eq!([of(8, 50), of(8, 99)], [4, 8]);
        assert_eq!([of(1000, 50), of(1000, 99)], [500, 990]);
    }
}
