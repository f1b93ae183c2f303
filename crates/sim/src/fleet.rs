//! The environments, and their mishaps.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;

use crate::delivery::Delivery;
use crate::environment::Environment;
use crate::world::{World, lock};

/// The number of environments that run at once.
const SIZE: usize = 4;

/// The broken calls in a thousand, to DynamoDB and to Secrets Manager, while there is no storm.
pub const USUAL_WEATHER: [u32; 2] = [50, 50];

/// The environments.
pub struct Fleet {
    world: Arc<World>,
    slots: Mutex<(u64, [Option<Arc<Environment>>; SIZE])>,
}

impl Fleet {
    /// A fleet without a process.
    pub fn new(world: Arc<World>) -> Arc<Self> {
        let slots = Mutex::default();
        Arc::new(Self { world, slots })
    }

    /// Chooses an environment, as the front does. Starts its process if it has none.
    pub fn any(&self) -> Arc<Environment> {
        let slot = self.world.rng().usize(0..SIZE);
        let mut slots = lock(&self.slots);
        let (started, slots) = &mut *slots;
        if let Some(environment) = &slots[slot]
            && !environment.is_dead()
        {
            return environment.clone();
        }
        *started += 1;
        let environment = Environment::start(&self.world, *started);
        self.world.trace(&format!("environment {started} starts"));
        self.world.ledger().count("starts of a process");
        slots[slot] = Some(environment.clone());
        environment
    }

    /// Ends all processes.
    pub fn stop(&self) {
        for environment in lock(&self.slots).1.iter_mut().filter_map(Option::take) {
            environment.kill();
        }
    }

    /// Sets the weather of the network for a time.
    pub async fn storm(self: Arc<Self>) {
        let world = &self.world;
        let weather = [(); 2].map(|()| world.rng().u32(100..1000));
        let ms = world.rng().u64(20..20_000);
        world.trace(&format!("bad weather {weather:?} for {ms} ms"));
        world.ledger().count("storms");
        world.set_weather(weather);
        tokio::time::sleep(Duration::from_millis(ms)).await;
        world.set_weather(USUAL_WEATHER);
    }

    /// Kills or freezes an environment, or sets its clock, at about the time of the next deliveries.
    pub async fn mishap(self: Arc<Self>) {
        let world = &self.world;
        let wait = world.rng().u64(0..120);
        let what = world.rng().u32(0..100);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let environment = self.any();
        let number = environment.condition.number;
        match what {
            0..30 => {
                world.trace(&format!("environment {number} dies"));
                world.ledger().count("deaths of a process");
                environment.kill();
            }
            30..55 => {
                let most = if world.chance(300) { 1_200_000 } else { 8_000 };
                let ms = world.rng().i64(10..most);
                world.trace(&format!("environment {number} freezes for {ms} ms"));
                world.ledger().count("freezes");
                environment.condition.freeze(ms);
            }
            55..80 => {
                let ms = world.rng().i64(-600..600);
                self.set_clock(&environment, ms);
            }
            80..88 => {
                let ms = world.rng().i64(-7_200_000..7_200_000);
                self.set_clock(&environment, ms);
                let minutes = world.rng().u64(1..60);
                tokio::time::sleep(Duration::from_secs(60 * minutes)).await;
                self.set_clock(&environment, 0);
            }
            _ => {
                // Lambda may start an environment ahead of its first delivery.
                let health = Request::get("/health").body(Body::empty()).expect("a request");
                let start = Delivery::of_start(world.clock.now_ms());
                environment.request(health, start).await;
            }
        }
    }

    fn set_clock(&self, environment: &Environment, offset_ms: i64) {
        let number = environment.condition.number;
        self.world.trace(&format!(
            "the clock of environment {number} is {offset_ms} ms ahead"
        ));
        self.world.ledger().count("clock jumps");
        environment.condition.set_offset(offset_ms);
    }
}
