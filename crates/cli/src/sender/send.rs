//! `send`: signs and posts deliveries to a receiver as Sonotheia does, and checks the answers.

mod plan;
mod post;
mod tally;

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;

use clap::Args;
use emulators::sample_events::Envelope;
use sonotheia_webhook::event::types::known_types;
use sonotheia_webhook::timestamp::Timestamp;

use self::plan::{Step, plan};
use self::post::{Delivery, Sender, Source};
use self::tally::Tally;
use crate::address::Address;
use crate::args::{random_hex, read, usage};
use crate::failure::Failure;
use crate::local::running::SecretOption;
use crate::{client, event_type, interrupt};

/// Sign and post sample events, and check the answers
#[derive(Args)]
pub struct Send {
    /// Types to send; without a type, all known types
    #[arg(value_name = "TYPE", value_parser = event_type::Known)]
    types: Vec<String>,
    /// The receiver; `/webhook` is added to an address without a path
    #[arg(long, default_value = "http://127.0.0.1:8080/webhook", value_parser = Address::parse)]
    url: Address,
    #[command(flatten)]
    key: SecretOption,
    /// Send the bytes of this file as they are, instead of samples; `-` is standard input
    #[arg(long, value_name = "BODY", conflicts_with_all = ["types", "envelope", "count", "concurrency", "duplicates", "corrupt", "seed"])]
    file: Option<PathBuf>,
    /// The envelope of the samples
    #[arg(long, value_enum, default_value_t = Envelope::Guide)]
    envelope: Envelope,
    /// The number of deliveries, which take the types in turn; without it, one event of each type
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: Option<u32>,
    /// The number of deliveries at the same time
    #[arg(long, value_name = "C", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// The share of deliveries that repeat an earlier event
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=100))]
    duplicates: u8,
    /// The share of deliveries with a wrong signature
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=100))]
    corrupt: u8,
    /// Decides which deliveries repeat an event or have a wrong signature
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// An answer, or the interrupt that ends the run.
enum Arrival {
    Delivery(Box<Delivery>),
    Stop,
}

impl Send {
    /// Sends the deliveries, prints the answers, and sums up. An interrupt sums up, too.
    pub fn run(self) -> Result<(), Failure> {
        if self.duplicates + self.corrupt > 100 {
            usage("--duplicates and --corrupt are over 100 per cent together");
        }
        let url = self.url.webhook();
        client::check(&url)?;
        let (source, steps) = self.source()?;
        let count = steps.len();
        let threads = usize::from(self.concurrency).min(count);
        let (secret, origin) = self.key.for_receiver(&url)?;
        let mut tally = Tally::new(url.clone(), origin, count, self.count.is_none());
        let sender = Sender::new(url, secret, source, steps, random_hex::<8>()?, threads);

        let (send, arrivals) = mpsc::channel();
        watch(send.clone())?;
        let sender = Arc::new(sender);
        for _ in 0..threads {
            let (sender, send) = (sender.clone(), send.clone());
            // At an interrupt, the process ends without these threads: a request can wait for seconds.
            thread::spawn(move || {
                sender.work(|delivery| send.send(Arrival::Delivery(Box::new(delivery))).is_ok());
            });
        }
        drop(send);
        for arrival in arrivals.iter().take(count) {
            match arrival {
                Arrival::Delivery(delivery) => tally.add(*delivery)?,
                Arrival::Stop => return tally.interrupted(count),
            }
        }
        tally.finish()
    }

    fn source(&self) -> Result<(Source, Vec<Step>), Failure> {
        if let Some(file) = &self.file {
            return Ok((Source::File(read(file)?), vec![Step::New]));
        }
        let types = match self.types.as_slice() {
            [] => known_types().map(str::to_owned).collect(),
            types => types.to_vec(),
        };
        let count = self.count.map_or(types.len(), |count| count as usize);
        let steps = plan(count, self.duplicates, self.corrupt, self.seed);
        let source = Source::Samples {
            types,
            envelope: self.envelope,
            time: Timestamp::now(),
        };
        Ok((source, steps))
    }
}

/// Sends [`Arrival::Stop`] at Ctrl-C or SIGTERM.
fn watch(send: mpsc::Sender<Arrival>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Serve)?;
    let stop = {
        let _inside = runtime.enter();
        interrupt::stop()?
    };
    thread::spawn(move || {
        runtime.block_on(stop);
        // The run may have ended at the same moment.
        let _ = send.send(Arrival::Stop);
    });
    Ok(())
}
