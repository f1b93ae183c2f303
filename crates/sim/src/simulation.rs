//! One simulation from its first event to its result.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::environment::{log, operator};
use crate::eraser::Eraser;
use crate::fleet::{Fleet, USUAL_WEATHER};
use crate::options::{Check, Options};
use crate::reads::Reader;
use crate::sonotheia::Sender;
use crate::world::{TABLE, World};

/// The number of violations after which a simulation ends.
const ENOUGH: usize = 20;

/// The mean time between two events, in milliseconds.
const BETWEEN_EVENTS_MS: u64 = 300_000;

/// The result of a simulation.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The arguments.
    pub options: Options,
    /// The number of events.
    pub events: u64,
    /// The number of deliveries.
    pub deliveries: u64,
    /// The simulated time.
    pub simulated: Duration,
    /// The number of each answer and of each trouble.
    pub counts: BTreeMap<&'static str, u64>,
    /// The broken promises, in the order of their time.
    pub violations: Vec<(Check, String)>,
    /// The SHA-256 of the trace.
    pub trace_hash: String,
}

/// Runs a simulation, and writes a line for each delivery to `trace`.
pub fn run(options: Options, trace: Box<dyn Write + Send>) -> Summary {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let world = World::new(options, trace);
        let _log = tracing::subscriber::set_default(log(&world).subscriber(emulators::ERRORS_ONLY));
        simulate(world).await
    })
}

async fn simulate(world: Arc<World>) -> Summary {
    let (secrets, table) = operator(&world);
    emulators::create_table(&table, TABLE).await.expect("the table");
    world.vault.rotate(&secrets, world.clock.now_ms()).await;
    let fleet = Fleet::new(world.clone());
    let sender = Sender::new(world.clone(), fleet.clone());
    let reader = Reader {
        world: world.clone(),
        fleet: fleet.clone(),
    };
    let mut background = JoinSet::new();
    background.spawn(rotate(world.clone(), secrets));
    background.spawn(reader.read());
    background.spawn(Eraser::new(world.clone()).erase());
    background.spawn(delete_and_compare(world.clone()));

    world.set_weather(USUAL_WEATHER);
    let mut sending = JoinSet::new();
    while sender.deliveries() < world.options.deliveries && !is_over(&world) {
        let burst = if world.chance(60) {
            world.rng().u64(2..20)
        } else {
            1
        };
        if world.chance(150) {
            background.spawn(fleet.clone().storm());
        }
        if world.chance(250) {
            background.spawn(fleet.clone().mishap());
        }
        for _ in 0..burst {
            sending.spawn(sender.clone().send());
        }
        let wait = world.rng().u64(0..2 * BETWEEN_EVENTS_MS * burst);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        while let Some(sent) = sending.try_join_next() {
            sent.expect("no panic");
        }
        while let Some(done) = background.try_join_next() {
            done.expect("no panic");
        }
    }
    // The sender goes on with its schedule, and with replays that are due within it.
    tokio::time::sleep(Duration::from_secs(4_000)).await;
    sending.abort_all();
    background.abort_all();
    fleet.stop();
    world.set_weather([0, 0]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.delete_expired();
    report(&world, &sender)
}

/// True if the simulation has found enough: one violation of a planted defect, or several.
fn is_over(world: &World) -> bool {
    let enough = if world.options.defect.is_some() { 1 } else { ENOUGH };
    world.ledger().violations.len() >= enough
}

/// Rotates the secret after hours, for ever. The sender's last retry comes before the next rotation but one.
async fn rotate(world: Arc<World>, secrets: aws_sdk_secretsmanager::Client) {
    loop {
        let minutes = world.rng().u64(70..600);
        tokio::time::sleep(Duration::from_secs(60 * minutes)).await;
        world.vault.rotate(&secrets, world.clock.now_ms()).await;
        world.trace(&format!(
            "version {} of the secret is the current one",
            world.vault.current()
        ));
        world.ledger().count("rotations");
    }
}

/// Lets DynamoDB delete expired records at times, for ever.
async fn delete_and_compare(world: Arc<World>) {
    loop {
        let hours = world.rng().u64(2..20);
        tokio::time::sleep(Duration::from_secs(3600 * hours)).await;
        world.delete_expired();
    }
}

fn report(world: &World, sender: &Sender) -> Summary {
    let trace_hash = world.trace_hash();
    let ledger = world.ledger();
    let seconds = u64::try_from(world.clock.elapsed_ms() / 1000).unwrap_or_default();
    Summary {
        options: world.options,
        events: sender.events(),
        deliveries: sender.deliveries(),
        simulated: Duration::from_secs(seconds),
        counts: ledger.counts.clone(),
        violations: ledger.violations.clone(),
        trace_hash,
    }
}
