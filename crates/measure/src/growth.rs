//! The time of the reads while the table grows: a page, an event, and the commands that read a whole list.
//!
//! The receiver's router and the command line read an embedded DynamoDB, which the receiver's own write has filled. Its
//! indexes grow as those of DynamoDB do, and its times are its own: the growth carries over, the microseconds do not.

mod chart;

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures_util::{StreamExt, stream};
use serde_json::json;
use sonotheia_webhook::ingest;
use sonotheia_webhook::store::DeliveryToken;
use sonotheia_webhook::timestamp::Timestamp;
use testkit::{Receiver, SECRET, TABLE, loopback};

use crate::programs;
use crate::statistics::median;

/// The records of a session.
const SESSION: usize = 10;

/// One record of so many is a rejected one.
const REJECTED: usize = 100;

/// The days over which the times of receipt are spread.
const DAYS: u32 = 30;

/// The writes at the same time while the table is filled.
const WRITES: usize = 32;

/// How often each request is sent. The table has the median.
const REPEATED: usize = 101;

/// The events that `listen` catches up with.
const CAUGHT_UP: usize = 5_000;

/// The smallest number of records, so that every row has records.
const FEWEST: usize = 1_000;

/// How much longer a request may take with the most records than with the fewest. The time of a page that reads the whole
/// table would grow with the number of records.
const MAX_GROWTH: f64 = 3.0;

/// Measure the reads of a table that grows: each list's page, one event, and the commands that read a whole list
#[derive(clap::Args)]
pub struct Growth {
    /// The numbers of records: at least two of them, each larger than the one before, and at least 1,000
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
    records: Vec<usize>,
    /// Write the chart to this file, as SVG
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Measure the requests only, and no command of the command line
    #[arg(long)]
    requests_only: bool,
    /// Fail if a request takes longer with the most records than with the fewest, by more than its limit
    #[arg(long)]
    check: bool,
}

/// The times of one kind of read, in microseconds, one for each number of records.
struct Row {
    name: &'static str,
    micros: Vec<f64>,
    /// False for a command that reads a whole list, whose row has the time of one record.
    is_request: bool,
}

impl Growth {
    /// Prints the table. Returns false if `--check` finds that the time of a request grows with the table.
    pub fn run(&self) -> Result<bool, Box<dyn Error>> {
        let ascends = self.records.windows(2).all(|pair| pair[0] < pair[1]);
        if self.records.len() < 2 || self.records[0] < FEWEST || !ascends {
            return Err(format!("--records needs two or more numbers, ascending, from {FEWEST} on").into());
        }
        let sonotheia = match self.requests_only {
            true => None,
            false => Some(programs::sonotheia()?),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let rows = runtime.block_on(self.measure(sonotheia.as_deref()))?;
        print(&self.records, &rows);
        if let Some(file) = &self.chart {
            chart::write(file, &self.records, &rows)?;
        }
        let mut holds = true;
        for row in rows.iter().filter(|row| row.is_request) {
            if let (Some(first), Some(last)) = (row.micros.first(), row.micros.last())
                && last / first > MAX_GROWTH
            {
                println!("{} takes {:.1} times as long at the end", row.name, last / first);
                holds = false;
            }
        }
        Ok(holds || !self.check)
    }

    async fn measure(&self, sonotheia: Option<&Path>) -> Result<Vec<Row>, Box<dyn Error>> {
        let receiver = Receiver::start().await;
        let mut rows: Vec<Row> = Vec::new();
        let mut add = |name, is_request, micros: f64| match rows.iter_mut().find(|row| row.name == name) {
            Some(row) => row.micros.push(micros),
            None => rows.push(Row {
                name,
                micros: vec![micros],
                is_request,
            }),
        };
        let now = Timestamp::now();
        let most = self.records.last().copied().unwrap_or_default();
        let mut filled = 0;
        for &records in &self.records {
            fill(&receiver, filled..records, most, now).await?;
            filled = records;
            eprintln!("{records} records");
            for (name, path) in requests(records, now) {
                add(name, true, median_time(&receiver, &path).await?);
            }
            let Some(sonotheia) = sonotheia else {
                continue;
            };
            let all = run(sonotheia, &receiver, &["results", "--all"])?;
            add("`results --all`, one record", false, all / records as f64);
            let redrive = run(sonotheia, &receiver, &["redrive"])?;
            let rejected = records.div_ceil(REJECTED) as f64;
            add("`redrive`, one rejected record", false, redrive / rejected);
            add(
                "`listen`, one event",
                false,
                listen(sonotheia, &receiver, records).await?,
            );
        }
        Ok(rows)
    }
}

/// Stores these records through the receiver's own write.
async fn fill(
    receiver: &Receiver,
    records: std::ops::Range<usize>,
    most: usize,
    now: Timestamp,
) -> Result<(), Box<dyn Error>> {
    let rules = receiver.app.config.rules();
    let writes = records.map(|n| {
        let (store, rules) = (receiver.app.store.clone(), rules);
        tokio::spawn(async move {
            let at = received_at(n, most, now);
            let body = match n % REJECTED {
                0 => format!(r#"{{"rejected": {n}}}"#),
                _ => event(n, at),
            };
            let judged = ingest::judge(body.as_bytes(), &rules, at);
            let token = DeliveryToken::new().map_err(|error| error.to_string())?;
            let stored = ingest::ingest(&store, &judged, token).await;
            stored.map(drop).map_err(|error| error.to_string())
        })
    });
    let mut writes = stream::iter(writes).buffer_unordered(WRITES);
    while let Some(written) = writes.next().await {
        written??;
    }
    Ok(())
}

/// The time of receipt of the n-th record: the times are spread over the days in no order, so that the times of a small table
/// are spread as those of a large one.
fn received_at(n: usize, most: usize, now: Timestamp) -> Timestamp {
    let spread_ms = i64::from(DAYS) * 86_400_000;
    // A number without a common factor with `most` visits each place once.
    let place = (n as i64).wrapping_mul(7_368_787) % most.max(1) as i64;
    Timestamp::from_millis(now.as_millis() - spread_ms + spread_ms / most.max(1) as i64 * place)
}

fn event(n: usize, at: Timestamp) -> String {
    json!({
        "event_type": "deepfake.completed",
        "event_id": format!("event-{n}"),
        "timestamp": at.to_string(),
        "data": {"session_id": session(n), "score": 0.42, "label": "likely_real", "latency_ms": 640},
    })
    .to_string()
}

fn session(n: usize) -> String {
    format!("session-{}", n / SESSION)
}

/// The requests, with their names in the table.
fn requests(records: usize, now: Timestamp) -> [(&'static str, String); 5] {
    // Neither this record nor another one of its session is a rejected one.
    let some = records / 2 / REJECTED * REJECTED + SESSION;
    let middle = Timestamp::from_millis(now.as_millis() - i64::from(DAYS) * 86_400_000 / 2);
    [
        ("`GET /events/{event_id}`", format!("/events/event-{some}")),
        (
            "`GET /results/{session_id}`, 10 records",
            format!("/results/{}", session(some)),
        ),
        ("`GET /results`, the newest 100", "/results?limit=100".to_owned()),
        (
            "`GET /results`, 100 from the middle",
            format!("/results?limit=100&to={middle}"),
        ),
        (
            "`GET /results`, rejected records",
            "/results?limit=100&outcome=rejected".to_owned(),
        ),
    ]
}

/// The median time of a request in microseconds.
async fn median_time(receiver: &Receiver, path: &str) -> Result<f64, Box<dyn Error>> {
    let mut times = Vec::with_capacity(REPEATED);
    for _ in 0..REPEATED {
        let request = Request::get(path).body(Body::empty())?;
        let begun = Instant::now();
        let reply = receiver.send_raw(request).await;
        times.push(begun.elapsed());
        if reply.status != StatusCode::OK {
            return Err(format!("{path} got {}", reply.status).into());
        }
    }
    Ok(median(times))
}

/// Runs a command over the table to its end, and returns its time in microseconds.
fn run(sonotheia: &Path, receiver: &Receiver, command: &[&str]) -> Result<f64, Box<dyn Error>> {
    let begun = Instant::now();
    let mut child = Command::new(sonotheia);
    child
        .args(command)
        .args(["--table", TABLE, "--dynamodb", receiver.dynamodb()])
        .stdout(Stdio::null());
    // The emulator runs on other threads of this process.
    let status = tokio::task::block_in_place(|| child.status())?;
    match status.success() {
        true => Ok(micros(begun.elapsed())),
        false => Err(format!("`sonotheia {}` failed", command.join(" ")).into()),
    }
}

/// Lets `listen` begin at the oldest record, and returns the time of one event in microseconds.
async fn listen(sonotheia: &Path, receiver: &Receiver, records: usize) -> Result<f64, Box<dyn Error>> {
    let received = Arc::new(AtomicUsize::new(0));
    let counted = received.clone();
    let application = Router::new().fallback(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        async { StatusCode::OK }
    });
    let listener = loopback().await;
    let url = format!("http://{}/", listener.local_addr()?);
    let server = tokio::spawn(async { axum::serve(listener, application).await });
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let mut child = Command::new(sonotheia)
        .args([
            "listen",
            "--forward-to",
            &url,
            "--secret",
            SECRET,
            "--since",
            "60d",
        ])
        .args(["--table", TABLE, "--dynamodb", receiver.dynamodb()])
        .arg("--cursor")
        .arg(folder.path().join("cursor"))
        .stdout(Stdio::null())
        .stderr(File::create(&log)?)
        .spawn()?;
    let until = |count: usize| {
        let received = received.clone();
        async move {
            while received.load(Ordering::Relaxed) < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    let events = CAUGHT_UP.min(records / 2);
    let waited = tokio::time::timeout(Duration::from_secs(300), async {
        // The time of the command's start does not count.
        until(1).await;
        let begun = Instant::now();
        until(events).await;
        begun.elapsed()
    });
    let time = waited.await;
    child.kill()?;
    child.wait()?;
    server.abort();
    let late = |_| {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        format!("`listen` did not deliver {events} events in time; it said: {said}")
    };
    Ok(micros(time.map_err(late)?) / events as f64)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn print(records: &[usize], rows: &[Row]) {
    let cells = |cells: &mut dyn Iterator<Item = String>| cells.collect::<Vec<_>>().join(" | ");
    println!(
        "| microseconds with so many records | {} |",
        cells(&mut records.iter().map(ToString::to_string))
    );
    println!("|---|{}", "---:|".repeat(records.len()));
    for row in rows {
        println!(
            "| {} | {} |",
            row.name,
            cells(&mut row.micros.iter().map(|micros| format!("{micros:.0}")))
        );
    }
}
