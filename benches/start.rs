//! From the start of the Lambda binary to its first poll of the Runtime API, and its size.
//!
//! `cargo build --release --bin sonotheia-webhook && cargo bench --bench start` measures
//! `target/release/sonotheia-webhook`, or the files named behind a `--`. The Runtime API and DynamoDB
//! are stand-ins on loopback, without TLS; the secret is a fixed one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const ROUNDS: usize = 41;

fn main() {
    let named: Vec<PathBuf> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .map(PathBuf::from)
        .collect();
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/sonotheia-webhook");
    let binaries = if named.is_empty() { vec![built] } else { named };

    let (polled, polls) = channel();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let polled = polled.clone();
            std::thread::spawn(move || stand_in(stream, &polled));
        }
    });

    println!(
        "{:<44} {:>9} {:>11} {:>11}",
        "binary", "bytes", "median ms", "slowest ms"
    );
    for binary in binaries {
        let Ok(file) = std::fs::metadata(&binary) else {
            eprintln!(
                "no {}: cargo build --release --bin sonotheia-webhook",
                binary.display()
            );
            std::process::exit(1);
        };
        let mut times: Vec<_> = (0..ROUNDS).map(|_| start(&binary, &address, &polls)).collect();
        times.sort_unstable();
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let (median, slowest) = (ms(times[ROUNDS / 2]), ms(times[ROUNDS - 1]));
        let name = binary.file_name().unwrap_or_default().to_string_lossy();
        println!("{name:<44} {:>9} {median:>11.2} {slowest:>11.2}", file.len());
    }
}

fn start(binary: &Path, address: &str, polls: &Receiver<Instant>) -> Duration {
    let mut command = Command::new(binary);
    command
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", address)
        .env("AWS_LAMBDA_FUNCTION_NAME", "receiver")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_ENDPOINT_URL_DYNAMODB", format!("http://{address}"))
        .env("EVENTS_TABLE", "events")
        .env("SONOTHEIA_WEBHOOK_SECRET", "a benchmark's secret")
        .stdout(Stdio::null());
    let begun = Instant::now();
    let mut child = command.spawn().expect("a program that can be run");
    let polled = polls
        .recv_timeout(Duration::from_secs(10))
        .expect("a poll within 10 s");
    let _ = child.kill();
    let _ = child.wait();
    polled - begun
}

/// Answers DynamoDB's calls with an empty object, and a poll not at all.
fn stand_in(stream: TcpStream, polled: &Sender<Instant>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let mut head = String::new();
        let mut length = 0;
        loop {
            let begins = head.len();
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
            let line = head[begins..].trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        if head.starts_with("GET ") {
            polled.send(Instant::now()).ok()?;
        }
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).ok()?;
        if head.starts_with("POST ") {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                .ok()?;
        }
    }
}
