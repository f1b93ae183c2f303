//! `overload`: ten times what the API's stage lets through, a fifth of it duplicates and a fifth
//! forgeries, at the Lambda loop and at the local server. Answers have to stay right, memory flat, and a
//! forgery must cost no call to DynamoDB.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use emulators::BoxError;
use sonotheia_webhook::timestamp::Timestamp;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Mutex as AsyncMutex, mpsc};

use crate::back_ends::BackEnds;
use crate::environment::{Answer, Environment, Function, Invoked, Log, memory};
use crate::plan::{self, Event, Forgery, MARK};
use crate::proxy::read_message;
use crate::report::{Table, Violations};

/// Deliveries that may wait for an environment or a connection. What finds no place is turned away, as
/// Lambda does at its limit of concurrency; the sender would send it again.
const WAITING: usize = 64;

/// By how much resident memory may differ between the second quarter of the time and the last, in KiB:
/// allocators keep what they once had, and a process reaches its working set some time after its start.
const FLAT_KIB: u64 = 4 * 1024;

/// Offer too much, and look whether answers stay right and memory flat
#[derive(Args)]
pub struct Overload {
    /// Deliveries a second; ten times the stage's 50
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// How long, for each of the two
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Environments of the function, or connections to the local server
    #[arg(long, default_value_t = 8)]
    environments: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The command line's binary, whose `serve` is the local server
    #[arg(long, default_value = "target/debug/sonotheia")]
    server: PathBuf,
}

/// Where deliveries go.
enum Target {
    Lambda(Box<Environment>),
    Local {
        address: String,
        connection: Option<TcpStream>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    New,
    Duplicate,
    Forged,
}

struct Delivery {
    kind: Kind,
    /// Among the events or the forgeries.
    n: usize,
    offered: Instant,
}

struct Load {
    seed: u64,
    secret: String,
    now: Timestamp,
    answered: [AtomicU64; 3],
    turned_away: AtomicU64,
    put_off: AtomicU64,
    /// Events that were answered 200, and may come again.
    taken: Mutex<Vec<usize>>,
    latencies: Mutex<Vec<Duration>>,
    violations: Arc<Violations>,
}

impl Overload {
    pub async fn run(self, binary: PathBuf) -> Result<bool, BoxError> {
        if !self.server.is_file() {
            return Err(format!(
                "{} is not there; build it with `cargo build --features cli --bin sonotheia`, or name another \
                 one with --server",
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

    async fn lambda(&self, binary: PathBuf, violations: &Arc<Violations>) -> Result<(), BoxError> {
        let load = self.load(violations);
        let back_ends = BackEnds::start(&load.secret, None).await?;
        let function = Arc::new(Function {
            binary,
            variables: back_ends.variables(300),
            unspeakable: vec![load.secret.clone(), MARK.to_owned()],
            log: Log::default(),
            processes: Mutex::default(),
        });
        let new = |name| Target::Lambda(Box::new(Environment::new(function.clone(), name)));
        let targets: Vec<_> = (0..self.environments)
            .map(|name| Arc::new(AsyncMutex::new(new(name))))
            .collect();

        let resident = |function: &Arc<Function>| {
            let function = function.clone();
            move || function.memory()
        };
        let memory = self
            .offer(&load, &targets, 60, self.seconds, resident(&function))
            .await;
        let mixed = back_ends.counts.all();
        let mut table = Table::new("the Lambda loop");
        load.rows(&mut table);
        let before = load.answered_of(Kind::Forged);
        let signed = load.answered_of(Kind::New) + load.answered_of(Kind::Duplicate);
        // Then nothing but forgeries.
        let seconds = (self.seconds / 5).max(2);
        self.offer(&load, &targets, 0, seconds, resident(&function)).await;
        let for_forgeries = back_ends.counts.all() - mixed;
        if for_forgeries > 0 {
            violations.note(format!(
                "D: {for_forgeries} calls to DynamoDB for forgeries alone"
            ));
        }
        if function.log.leaks.load(Ordering::Relaxed) > 0 {
            violations.note("E: the log holds a secret or a body".to_owned());
        }

        table.row("calls to DynamoDB for the mixed load", mixed);
        table.row(
            "  of these, signed deliveries and one at each start",
            signed + self.environments as u64,
        );
        table.row(
            "forgeries alone, after that, 401",
            load.answered_of(Kind::Forged) - before,
        );
        table.row("  calls to DynamoDB for these", for_forgeries);
        memory.rows(&mut table, violations);
        table.print();
        Ok(())
    }

    async fn local(&self, violations: &Arc<Violations>) -> Result<(), BoxError> {
        let load = self.load(violations);
        let folder = std::env::temp_dir().join(format!("sonotheia-overload-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let server = Server::start(&self.server, &load.secret, &folder.join("records"))?;
        let new = |_| Target::Local {
            address: server.address.clone(),
            connection: None,
        };
        let targets: Vec<_> = (0..self.environments)
            .map(|name| Arc::new(AsyncMutex::new(new(name))))
            .collect();
        let process = server.child.id();
        let memory = self
            .offer(&load, &targets, 60, self.seconds, move || memory(process))
            .await;
        drop(server);
        std::fs::remove_dir_all(&folder)?;

        let mut table = Table::new("the local server");
        load.rows(&mut table);
        memory.rows(&mut table, violations);
        table.print();
        Ok(())
    }

    fn load(&self, violations: &Arc<Violations>) -> Arc<Load> {
        Arc::new(Load {
            seed: self.seed,
            secret: format!("secret-{}-under-load", self.seed),
            now: Timestamp::now(),
            answered: Default::default(),
            turned_away: AtomicU64::new(0),
            put_off: AtomicU64::new(0),
            taken: Mutex::default(),
            latencies: Mutex::default(),
            violations: violations.clone(),
        })
    }

    /// Offers the load, at its rate whatever becomes of it. `resident` is asked four times a second.
    async fn offer(
        &self,
        load: &Arc<Load>,
        targets: &[Arc<AsyncMutex<Target>>],
        new_percent: u32,
        seconds: u32,
        resident: impl Fn() -> Option<u64> + Send + 'static,
    ) -> Memory {
        let (sender, receiver) = mpsc::channel(WAITING);
        let receiver = Arc::new(AsyncMutex::new(receiver));
        let mut workers = Vec::new();
        for target in targets {
            workers.push(tokio::spawn(work(load.clone(), target.clone(), receiver.clone())));
        }
        let samples = Arc::new(Mutex::new(Vec::new()));
        let sampled = samples.clone();
        let watcher = tokio::spawn(async move {
            let mut every = tokio::time::interval(Duration::from_millis(250));
            loop {
                every.tick().await;
                if let Some(kib) = resident() {
                    sampled.lock().unwrap_or_else(PoisonError::into_inner).push(kib);
                }
            }
        });

        let deliveries = u64::from(self.rate) * u64::from(seconds);
        let mut every = tokio::time::interval(Duration::from_secs(1) / self.rate);
        let next_new = AtomicUsize::new(0);
        for number in 0..deliveries {
            every.tick().await;
            let mut rng = plan::rng(load.seed ^ (7 << 32), number);
            let kind = match rng.u32(0..100) {
                n if n < new_percent => Kind::New,
                n if n < 80 && new_percent > 0 => Kind::Duplicate,
                _ => Kind::Forged,
            };
            let n = match kind {
                Kind::New => next_new.fetch_add(1, Ordering::Relaxed),
                Kind::Forged => number as usize,
                Kind::Duplicate => {
                    let taken = load.taken.lock().unwrap_or_else(PoisonError::into_inner);
                    let Some(n) = rng.choice(taken.iter()) else {
                        continue;
                    };
                    *n
                }
            };
            let offered = Instant::now();
            if sender.try_send(Delivery { kind, n, offered }).is_err() {
                load.turned_away.fetch_add(1, Ordering::Relaxed);
            }
        }
        drop(sender);
        for worker in workers {
            let _ = worker.await;
        }
        watcher.abort();
        let samples = samples.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Memory(samples)
    }
}

async fn work(
    load: Arc<Load>,
    target: Arc<AsyncMutex<Target>>,
    deliveries: Arc<AsyncMutex<mpsc::Receiver<Delivery>>>,
) {
    loop {
        let Some(delivery) = deliveries.lock().await.recv().await else {
            return;
        };
        let mut target = target.lock().await;
        if let Err(why) = load.deliver(&delivery, &mut target).await {
            load.violations.note(why);
        }
        if load.violations.too_many() {
            return;
        }
    }
}

impl Load {
    async fn deliver(&self, delivery: &Delivery, target: &mut Target) -> Result<(), String> {
        let prefix = if delivery.kind == Kind::Forged {
            "forged"
        } else {
            "event"
        };
        let id = format!("{prefix}-{}", delivery.n);
        let stream = if delivery.kind == Kind::Forged {
            9 << 32
        } else {
            8 << 32
        };
        let mut rng = plan::rng(self.seed ^ stream, delivery.n as u64);
        let event = Event::new(id, &mut rng, self.now);
        let signatures = match delivery.kind {
            Kind::Forged => {
                let forgery = Forgery::ALL[delivery.n % Forgery::ALL.len()];
                forgery.signatures(&self.secret, &event.body, "{}", &mut rng)
            }
            Kind::New | Kind::Duplicate => vec![plan::sign(&self.secret, &event.body)],
        };
        let answer = target.send(&event.body, &signatures).await?;
        let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let is_right = match delivery.kind {
            Kind::New => answer.status == 200 && json["duplicate"] == false && json["event_id"] == event.id,
            Kind::Duplicate => {
                answer.status == 200 && json["duplicate"] == true && json["event_id"] == event.id
            }
            Kind::Forged => answer.status == 401 && json["code"] == "invalid_signature",
        };
        if answer.status == 503 && delivery.kind != Kind::Forged {
            self.put_off.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        if !is_right {
            return Err(format!("{} got {}: {}", event.id, answer.status, answer.body));
        }
        if delivery.kind == Kind::New {
            self.taken
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(delivery.n);
        }
        self.answered[delivery.kind as usize].fetch_add(1, Ordering::Relaxed);
        let latency = delivery.offered.elapsed();
        self.latencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(latency);
        Ok(())
    }

    fn answered_of(&self, kind: Kind) -> u64 {
        self.answered[kind as usize].load(Ordering::Relaxed)
    }

    fn rows(&self, table: &mut Table) {
        table.row("new events, 200 duplicate: false", self.answered_of(Kind::New));
        table.row(
            "duplicates, 200 duplicate: true",
            self.answered_of(Kind::Duplicate),
        );
        table.row("forgeries, 401", self.answered_of(Kind::Forged));
        table.row("503", self.put_off.load(Ordering::Relaxed));
        table.row(
            "turned away, nothing being free",
            self.turned_away.load(Ordering::Relaxed),
        );
        let mut latencies = self
            .latencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        latencies.sort();
        for (name, percent) in [("p50", 50), ("p99", 99)] {
            if let Some(latency) = latencies.get(latencies.len() * percent / 100) {
                let milliseconds = format!("{:.1} ms", latency.as_secs_f64() * 1000.0);
                table.row(
                    &format!("latency with the wait for a place, {name}"),
                    milliseconds,
                );
            }
        }
    }
}

impl Target {
    async fn send(&mut self, body: &str, signatures: &[String]) -> Result<Answer, String> {
        match self {
            Self::Lambda(environment) => {
                match environment
                    .invoke(plan::rest(body, signatures, false), None)
                    .await?
                {
                    Invoked::Answered(answer) => Ok(answer),
                    Invoked::Killed => Err("an environment was killed".to_owned()),
                }
            }
            Self::Local { address, connection } => {
                let mut stream = match connection.take() {
                    Some(stream) => stream,
                    None => TcpStream::connect(&*address)
                        .await
                        .map_err(|error| error.to_string())?,
                };
                let answer = exchange(&mut stream, address, body, signatures).await;
                *connection = Some(stream);
                answer.map_err(|error| error.to_string())
            }
        }
    }
}

async fn exchange(
    stream: &mut TcpStream,
    address: &str,
    body: &str,
    signatures: &[String],
) -> std::io::Result<Answer> {
    let mut request = format!(
        "POST /webhook HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    for signature in signatures {
        request.push_str(&format!("x-sonotheia-signature: {signature}\r\n"));
    }
    request.push_str("\r\n");
    request.push_str(body);
    stream.write_all(request.as_bytes()).await?;
    let answer = read_message(stream, &mut Vec::new()).await?;
    let answer = String::from_utf8_lossy(&answer.unwrap_or_default()).into_owned();
    let bad = || std::io::Error::other("the server's answer can't be read");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(bad)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Answer {
        status: status.ok_or_else(bad)?,
        body: body.to_owned(),
    })
}

/// The local server as a process, ended when it is dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(binary: &Path, secret: &str, data: &Path) -> Result<Self, BoxError> {
        let mut child = Command::new(binary)
            .args(["serve", "--port", "0", "--data"])
            .arg(data)
            .env("SONOTHEIA_WEBHOOK_SECRET", secret)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let listening = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let address = line.strip_prefix("Listening on http://")?;
            Some(address.trim().to_owned())
        });
        std::thread::spawn(move || lines.for_each(drop));
        let address = listening.ok_or("the local server did not start")?;
        Ok(Self { child, address })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Resident memory in KiB over time: of the largest process, where there are several.
struct Memory(Vec<u64>);

impl Memory {
    fn rows(&self, table: &mut Table, violations: &Violations) {
        let quarter = self.0.len() / 4;
        let most = |samples: &[u64]| samples.iter().copied().max().unwrap_or_default();
        if quarter == 0 {
            violations.note("memory could not be read".to_owned());
            return;
        }
        let (early, late) = (most(&self.0[quarter..2 * quarter]), most(&self.0[3 * quarter..]));
        let mib = |kib: u64| format!("{:.1} MiB", kib as f64 / 1024.0);
        table.row(
            "resident memory, most in the second quarter of the time",
            mib(early),
        );
        table.row("resident memory, most in the last quarter", mib(late));
        if late > early + FLAT_KIB {
            violations.note(format!("memory grows from {} to {}", mib(early), mib(late)));
        }
    }
}
