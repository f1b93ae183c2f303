//! An execution environment: the real application with its own clock, which can freeze and die.

use std::future::{Future, poll_fn};
use std::io::Write;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime::client::retries::RetryPartition;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use sonotheia_webhook::app::App;
use sonotheia_webhook::aws;
use sonotheia_webhook::config::{Config, SecretSource};
use sonotheia_webhook::router::router;
use sonotheia_webhook::secrets::Secrets;
use sonotheia_webhook::sources::Sources;
use sonotheia_webhook::store::Store;
use sonotheia_webhook::telemetry::Telemetry;
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep};
use tower::ServiceExt;

use crate::clock::TrueClock;
use crate::condition::Condition;
use crate::delivery::{DELIVERY, Delivery};
use crate::network::{Network, Service};
use crate::options::{Check, Defect};
use crate::vault::{SECRET_CACHE_SECONDS, SECRET_ID, SECRET_MARK};
use crate::world::{PAYLOAD_MARK, RETENTION_DAYS, TABLE, World, lock};

/// The environment's wall clock, for the SDK.
#[derive(Clone, Debug)]
struct Wall(Arc<Condition>, i64);

impl TimeSource for Wall {
    fn now(&self) -> SystemTime {
        self.0.read_clock(self.1)
    }
}

/// The log of an environment: it looks for texts that no line may hold.
struct Log(Arc<World>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        for mark in [SECRET_MARK, PAYLOAD_MARK] {
            if text.contains(mark) {
                self.0
                    .violation(Check::E, None, &format!("a log line holds {mark:?}"));
            }
        }
        if has_signature(bytes) {
            self.0.violation(
                Check::E,
                None,
                "a log line holds 64 hex digits that are no key of a record",
            );
        }
        self.0.ledger().count("log lines");
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A log of this world.
pub fn log(world: &Arc<World>) -> Telemetry {
    Telemetry::new(Log(world.clone()))
}

/// True if a line has 64 hex digits in a row that do not follow `sha256:`, as they do in the key of a record.
fn has_signature(line: &[u8]) -> bool {
    let mut run = 0;
    for (at, byte) in line.iter().enumerate() {
        run = if byte.is_ascii_hexdigit() { run + 1 } else { 0 };
        if run == 64 && !line[..at - 63].ends_with(b"sha256:") {
            return true;
        }
    }
    false
}

/// An answer of the router.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Value,
    /// True if the request waited for the start of the process.
    pub waited_for_start: bool,
}

/// An environment.
pub struct Environment {
    /// Its state.
    pub condition: Arc<Condition>,
    router: Router,
    app: Arc<App>,
    started: OnceCell<()>,
    tasks: Mutex<Vec<AbortHandle>>,
    is_dead: AtomicBool,
}

impl Environment {
    /// An environment whose process begins with its first request.
    pub fn start(world: &Arc<World>, number: u64) -> Arc<Self> {
        let offset_ms = world.rng().i64(-300..300);
        let condition = Arc::new(Condition::new(number, world.clock, offset_ms));
        // The defect takes the margin away by a clock that is late by more than it.
        let defect_ms = if world.has(Defect::NoMargin) { -8_000 } else { 0 };
        let wall = Wall(condition.clone(), defect_ms);
        let app = application(world, &condition, wall);
        Arc::new(Self {
            condition,
            router: router(app.clone()),
            app,
            started: OnceCell::new(),
            tasks: Mutex::default(),
            is_dead: AtomicBool::new(false),
        })
    }

    /// Ends the process. Its requests get no answer; what it has sent stays sent.
    pub fn kill(&self) {
        self.is_dead.store(true, Ordering::Relaxed);
        for task in lock(&self.tasks).drain(..) {
            task.abort();
        }
    }

    /// True if the process has ended.
    pub fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    /// Sends a request to the router. Returns `None` if the process ends first.
    pub async fn request(
        self: &Arc<Self>,
        request: Request<Body>,
        delivery: Arc<Delivery>,
    ) -> Option<Answer> {
        let this = self.clone();
        let of_task = delivery.clone();
        let work = async move {
            let mut waited_for_start = false;
            let start = this.started.get_or_init(async || {
                waited_for_start = true;
                let process = Instant::now();
                let started_ms = this.condition.now_ms();
                this.condition.note_start();
                // The time before `main` runs, and the reading of the configuration.
                tokio::time::sleep(Duration::from_millis(60)).await;
                let prefetch = this.app.prefetch(this.app.sources.now());
                // The start belongs to no delivery.
                DELIVERY.scope(Delivery::of_start(started_ms), prefetch).await;
                this.app.ready(process, this.app.sources.now());
            });
            start.await;
            let response = this.router.clone().oneshot(request).await.expect("infallible");
            let (parts, body) = response.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
            Answer {
                status: parts.status,
                headers: parts.headers,
                body: serde_json::from_slice(&body).unwrap_or_default(),
                waited_for_start,
            }
        };
        let work = freezable(self.condition.clone(), delivery, Box::pin(work));
        let task = tokio::spawn(DELIVERY.scope(of_task, work));
        {
            let mut tasks = lock(&self.tasks);
            tasks.retain(|task| !task.is_finished());
            tasks.push(task.abort_handle());
        }
        if self.is_dead() {
            task.abort();
        }
        match task.await {
            Ok(answer) => Some(answer),
            Err(error) if error.is_cancelled() => None,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Runs `work`, but not while the environment is frozen. Timers go on meanwhile, as they do under SIGSTOP.
async fn freezable<T>(
    condition: Arc<Condition>,
    delivery: Arc<Delivery>,
    mut work: Pin<Box<impl Future<Output = T>>>,
) -> T {
    let mut thaw: Option<Pin<Box<Sleep>>> = None;
    let before = condition.freezes();
    poll_fn(move |context| {
        loop {
            if let Some(sleep) = &mut thaw {
                if sleep.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                thaw = None;
            }
            match condition.thaws_in() {
                Some(left) => {
                    delivery.freeze();
                    thaw = Some(Box::pin(tokio::time::sleep(left)));
                }
                None => {
                    // Work that waits for another delivery's work, such as the start, is not polled during a freeze.
                    if condition.freezes() != before {
                        delivery.freeze();
                    }
                    return work.as_mut().poll(context);
                }
            }
        }
    })
    .await
}

/// Builds the real application on the simulated network and clock.
fn application(world: &Arc<World>, condition: &Arc<Condition>, wall: Wall) -> Arc<App> {
    let mut config = Config::new(TABLE, SecretSource::SecretsManager(SECRET_ID.into()));
    config.secret_cache = Duration::from_secs(SECRET_CACHE_SECONDS);
    config.retention_days = RETENTION_DAYS;
    config.max_body_bytes = 4096;
    let environment = Some(condition.clone());
    let (secrets, table) = clients(world, environment, wall.clone());
    let secrets = Secrets::managed(secrets, SECRET_ID, config.secret_cache);
    let store = Store::new(table, TABLE);
    let telemetry = log(world);
    let sources = {
        let world = world.clone();
        Sources::new(
            move || wall.now(),
            move |bytes| {
                world.rng().fill(bytes);
                Ok(())
            },
        )
    };
    App::with_sources(config, secrets, store, telemetry, sources)
}

/// The receiver's own clients on the simulated network.
fn clients(
    world: &Arc<World>,
    environment: Option<Arc<Condition>>,
    wall: impl TimeSource + 'static,
) -> (aws_sdk_secretsmanager::Client, aws_sdk_dynamodb::Client) {
    let sdk = |service, wall| sdk_config(Network::new(world.clone(), service, environment.clone()), wall);
    let wall = aws_smithy_async::time::SharedTimeSource::new(wall);
    // Each process has a budget of retries of its own. By default all clients of this process would share one.
    let budget = || {
        RetryPartition::custom("environment")
            .token_bucket(Default::default())
            .build()
    };
    let secrets = aws::secrets_manager(&sdk(Service::Vault, wall.clone()));
    let secrets = secrets.config().to_builder().retry_partition(budget()).build();
    let table = aws::dynamodb(&sdk(Service::Table, wall));
    let table = table.config().to_builder().retry_partition(budget()).build();
    (
        aws_sdk_secretsmanager::Client::from_conf(secrets),
        aws_sdk_dynamodb::Client::from_conf(table),
    )
}

/// The clock of an operator's machine, which is right.
#[derive(Debug)]
struct True(TrueClock);

impl TimeSource for True {
    fn now(&self) -> SystemTime {
        self.0.system_time(0)
    }
}

/// The clients of an operator, who meets no faults.
pub fn operator(world: &Arc<World>) -> (aws_sdk_secretsmanager::Client, aws_sdk_dynamodb::Client) {
    clients(world, None, True(world.clock))
}

/// The table's client of an operator, over a network with faults.
pub fn operators_table(world: &Arc<World>) -> aws_sdk_dynamodb::Client {
    let machine = Condition::new(0, world.clock, 0);
    clients(world, Some(Arc::new(machine)), True(world.clock)).1
}

fn sdk_config(network: Network, wall: aws_smithy_async::time::SharedTimeSource) -> SdkConfig {
    let (id, key) = emulators::CREDENTIALS;
    let credentials = Credentials::new(id, key, None, None, "simulated");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(emulators::REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url("http://simulated")
        .http_client(network)
        .time_source(wall)
        .sleep_impl(TokioSleep::new())
        .build()
}
