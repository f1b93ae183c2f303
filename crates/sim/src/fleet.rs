//! The environments, and the events that befall them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;

use crate::delivery::Delivery;
use crate::environment::Environment;
use crate::world::{World, lock};

/// The number of environments that run at once.
const SIZE: usize = 4;

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

    /// Kills and freezes environments, sets their clocks, and changes the weather of the network, for ever.
    pub async fn trouble(self: Arc<Self>) {
        let world = self.world.clone();
        loop {
            let calm = world.rng().u64(5_000..120_000);
            world.set_weather([60, 60]);
            tokio::time::sleep(Duration::from_millis(calm)).await;
            let environment = self.any();
            // Lambda may start an environment ahead of its first delivery.
            let health = Request::get("/health").body(Body::empty()).expect("a request");
            let start = Delivery::of_start(world.clock.now_ms());
            let (early, what) = (environment.clone(), world.rng().u32(0..100));
            tokio::spawn(async move { early.request(health, start).await });
            match what {
                0..30 => {
                    let weather = [(); 2].map(|()| world.rng().u32(0..1000));
                    let ms = world.rng().u64(500..30_000);
                    world.trace(&format!("bad weather {weather:?} for {ms} ms"));
                    world.ledger().count("storms");
                    world.set_weather(weather);
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                }
                30..55 => {
                    world.trace(&format!("environment {} dies", environment.condition.number));
                    world.ledger().count("deaths of a process");
                    environment.kill();
                }
                55..75 => {
                    let most = if world.chance(300) { 1_200_000 } else { 8_000 };
                    let ms = world.rng().i64(10..most);
                    world.trace(&format!("environment {} freezes for {ms} ms", environment.condition.number));
                    world.ledger().count("freezes");
                    environment.condition.freeze(ms);
                }
                75..90 => {
                    let ms = world.rng().i64(-600..600);
                    self.set_clock(&environment, ms);
                }
                _ => {
                    let ms = world.rng().i64(-7_200_000..7_200_000);
                    self.set_clock(&environment, ms);
                    let minutes = world.rng().u64(1..30);
                    tokio::time::sleep(Duration::from_secs(60 * minutes)).await;
                    self.set_clock(&environment, 0);
                }
            }
        }
    }

    fn set_clock(&self, environment: &Environment, offset_ms: i64) {
        let number = environment.condition.number;
        self.world.trace(&format!("the clock of environment {number} is {offset_ms} ms ahead"));
        self.world.ledger().count("clock jumps");
        environment.condition.set_offset(offset_ms);
    }
}
