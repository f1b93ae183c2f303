//! `overload`: ten times the rate that the API's stage allows, with duplicates and forgeries, for the Lambda function and
//! for the local server. Every answer has to be right, memory has to stay flat, and a forgery must cost no call to
//! DynamoDB.

mod load;
mod resident;
mod serve;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use emulators::BoxError;
use testkit::{Faults, Memory, memory};

use crate::back_ends::{BackEnds, variables};
use crate::environment::{Environment, Setup};
use crate::plan::MARK;
use crate::report::{Table, Violations};
use load::{Kind, Load, Target};
use serve::Server;

/// Send more deliveries than the receiver can serve, and check the answers, the calls and the memory
#[derive(Args)]
pub struct Overload {
    /// The number of deliveries in a second. The default is ten times the stage's limit
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// The seconds for the function, and again for the local server
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// The number of environments of the function, and of connections to the local server
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    environments: u16,
    /// The seed of all random choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The binary of the command line, whose `serve` is the local server
    #[arg(long, default_value = "target/debug/sonotheia")]
    server: PathBuf,
}

/// The number of deliveries that the inspector of `serve` keeps, and the bytes that each of them takes at most here: body,
/// headers, answer and row. Half of the deliveries come after the second quarter of the time.
const INSPECTED: u64 = 5_000;
const INSPECTED_BYTES: u64 = 4 << 10;

/// The share of new events in the mixed load. A fifth are duplicates and a fifth are forgeries.
const NEW_PERCENT: u32 = 60;

impl Overload {
    /// Runs the command. Returns true if no invariant is broken.
    pub async fn run(self, binary: PathBuf) -> Result<bool, BoxError> {
        if !self.server.is_file() {
            return Err(format!(
                "there is no command line at {}; build it with `cargo build --package sonotheia-cli`, or name \
                 another binary with --server",
                self.server.display()
            )
            .into());
        }
        println!(
            "overload: seed {}, {} deliveries a second for {} s, {} environments or connections",
            self.seed, self.rate, self.seconds, self.environments
        );
        let violations = Arc::new(Violations::default());
        self.lambda(binary, &violations).await?;
        self.local(&violations).await?;
        Ok(violations.print())
    }

    /// Loads the function.
    async fn lambda(&self, binary: PathBuf, violations: &Arc<Violations>) -> Result<(), BoxError> {
        let load = Load::new(self.seed, violations);
        let back_ends = BackEnds::start(&load.secret).await?;
        let proxies = back_ends.proxies(Faults::none()).await;
        let private = vec![load.secret.clone(), MARK.to_owned()];
        let setup = Setup::new(binary, variables(300), private);
        let environment = |n| Environment::new(setup.clone(), proxies.clone(), usize::from(n));
        let targets = load::targets((0..self.environments).map(|n| Target::Lambda(environment(n).into())));

        let sampled = setup.clone();
        let memory = resident::Samples::start(move || sampled.memory());
        load.offer(&targets, NEW_PERCENT, self.rate, self.seconds).await;
        let memory = memory.end();
        let mixed = proxies.dynamodb.requests();
        let mut table = Table::new("the function under the Runtime API");
        load.rows(&mut table);

        let signed = load.answered(Kind::New) + load.answered(Kind::Duplicate);
        let forged = load.answered(Kind::Forged);
        load.offer(&targets, 0, self.rate, (self.seconds / 5).max(2))
            .await;
        let for_forgeries = proxies.dynamodb.requests() - mixed;
        if for_forgeries > 0 {
            violations.note(format!("D: {for_forgeries} calls to DynamoDB for forgeries"));
        }
        if setup.leaks() > 0 {
            violations.note(format!("E: {} log lines have a secret or a body", setup.leaks()));
        }
        table.row("calls to DynamoDB for the mixed load", mixed);
        table.row(
            "  signed deliveries, and one call for each start",
            signed + u64::from(self.environments),
        );
        table.row("forgeries alone, 401", load.answered(Kind::Forged) - forged);
        table.row("  calls to DynamoDB for them", for_forgeries);
        memory.rows(&mut table, violations, 0);
        table.print();
        Ok(())
    }

    /// Loads the local server.
    async fn local(&self, violations: &Arc<Violations>) -> Result<(), BoxError> {
        let load = Load::new(self.seed, violations);
        let server = Server::start(&self.server, &load.secret)?;
        let targets = load::targets((0..self.environments).map(|_| Target::Local(server.connection())));
        let process = server.process();
        let samples = resident::Samples::start(move || memory(process, Memory::Resident));
        load.offer(&targets, NEW_PERCENT, self.rate, self.seconds).await;
        let samples = samples.end();
        server.end()?;

        let mut table = Table::new("the local server");
        load.rows(&mut table);
        let deliveries: u64 = [Kind::New, Kind::Duplicate, Kind::Forged]
            .map(|kind| load.answered(kind))
            .iter()
            .sum();
        samples.rows(
            &mut table,
            violations,
            deliveries.min(INSPECTED) / 2 * INSPECTED_BYTES,
        );
        table.print();
        Ok(())
    }
}
