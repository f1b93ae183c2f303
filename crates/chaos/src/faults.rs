//! `faults`: deliveries, duplicates and forgeries for the release binary while everything around it fails. At the end it
//! compares the table with the deliveries.

mod check;
mod delivery;
mod queue;
mod rotation;
mod run;
pub mod tokens;
mod trouble;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use emulators::BoxError;

use crate::back_ends::{BackEnds, variables};
use crate::breakage::Counts;
use crate::environment::{Environment, Setup};
use crate::lock;
use crate::plan::MARK;
use crate::report::Table;
use run::{Run, count};
use tokens::Tokens;

/// Run the function while everything around it fails, and look for lost, doubled, altered and forged events
#[derive(Args)]
pub struct Faults {
    /// The number of different events
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..))]
    events: u32,
    /// The number of planned deliveries, with duplicates and forgeries. Each failed delivery adds a retry
    #[arg(long, default_value_t = 2000)]
    deliveries: u32,
    /// The seed of all random choices. Only the machine's timing differs between two runs with one seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The number of environments that run at a time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    environments: u16,
}

impl Faults {
    /// Runs the command. Returns true if no invariant is broken.
    pub async fn run(self, binary: PathBuf) -> Result<bool, BoxError> {
        let begun = Instant::now();
        let run = Arc::new(Run::plan(
            self.seed,
            self.events as usize,
            self.deliveries as usize,
        ));
        let (counts, tokens) = (Counts::default(), Tokens::default());
        let first = rotation::secret(self.seed, 0);
        let back_ends = Arc::new(BackEnds::start(&first).await?);
        let private = rotation::secrets(self.seed).chain([MARK.to_owned()]).collect();
        let setup = Setup::new(binary, variables(rotation::CACHE_SECONDS), private);

        let rotation = tokio::spawn(rotation::rotate_and_break(run.clone(), back_ends.clone()));
        let mut workers = Vec::new();
        for number in 0..self.environments {
            let failing = Arc::default();
            let faults = counts.faults(self.seed_of(number), tokens.clone(), Arc::clone(&failing));
            let proxies = back_ends.proxies(faults).await;
            let environment = Environment::new(setup.clone(), proxies, usize::from(number));
            workers.push(tokio::spawn(run::work(run.clone(), environment, failing)));
        }
        for worker in workers {
            worker.await?;
        }
        rotation.abort();
        back_ends.secrets_manager.break_with(None);
        let duration = begun.elapsed();

        let comparison = check::compare(&run, &back_ends.items().await?);
        let faults = counts.faults(self.seed_of(self.environments), tokens.clone(), Arc::default());
        let mut reader = Environment::new(setup.clone(), back_ends.proxies(faults).await, 99);
        let read_back = check::read_back(&run, &mut reader).await?;
        if setup.leaks() > 0 {
            let leaks = setup.leaks();
            run.violations
                .note(format!("E: {leaks} log lines have a secret or a body"));
        }

        println!(
            "faults: seed {}, {} events, {} environments, {:.0} s",
            self.seed,
            self.events,
            self.environments,
            duration.as_secs_f64()
        );
        let outcomes = lock(&run.outcomes).clone();
        print_outcomes(outcomes, &counts);
        comparison.print();
        let mut table = Table::new("further checks");
        table.row(
            "records read back through the function, data byte for byte",
            read_back,
        );
        table.row("log lines searched for secrets and bodies", setup.log_lines());
        check::tokens(&run, &tokens, &mut table);
        check::unexplained(&run, &mut table);
        table.print();
        Ok(run.violations.print())
    }

    /// The seed of an environment's faults.
    fn seed_of(&self, environment: u16) -> u64 {
        self.seed ^ (u64::from(environment) << 40)
    }
}

fn print_outcomes(mut outcomes: BTreeMap<&'static str, u64>, counts: &Counts) {
    let mut table = Table::new("actions of the run");
    for name in count::ACTIONS {
        table.row(name, outcomes.remove(name).unwrap_or_default());
    }
    table.print();
    let mut table = Table::new("answers of the function");
    for (name, count) in outcomes {
        table.row(name, count);
    }
    table.print();
    let mut table = Table::new("requests to DynamoDB at the proxy");
    for (breakage, count) in counts.all() {
        table.row(breakage.name(), count);
    }
    table.print();
}
