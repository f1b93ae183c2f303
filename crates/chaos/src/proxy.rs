//! What stands between the function and DynamoDB, and breaks it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    None,
    /// It arrives late, and so does the answer.
    Delay,
    /// It arrives, but only after the function has stopped waiting.
    LateLanding,
    /// It never arrives.
    CutBefore,
    /// It is done, and the answer is lost.
    CutAfter,
    /// It is done, and half of the answer is lost.
    CutWithin,
    /// It is done, and the answer says that it failed.
    FailAfter,
    Throttle,
    Fail,
}

impl Fault {
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "passed on",
            Self::Delay => "delayed up to 300 ms",
            Self::LateLanding => "landed after the SDK had stopped waiting",
            Self::CutBefore => "connection cut before the write",
            Self::CutAfter => "connection cut after the write landed",
            Self::CutWithin => "answer cut in half after the write landed",
            Self::FailAfter => "500 after the write landed",
            Self::Throttle => "throttled (three of the SDK's errors)",
            Self::Fail => "500 or 503",
        }
    }

    /// The one that the seed gives the request of that number: of a hundred, eighty-two are passed on.
    fn draw(rng: &mut Rng) -> Self {
        match rng.u32(0..1000) {
            0..40 => Self::Delay,
            40..43 => Self::LateLanding,
            43..70 => Self::CutBefore,
            70..97 => Self::CutAfter,
            97..105 => Self::CutWithin,
            105..120 => Self::FailAfter,
            120..150 => Self::Throttle,
            150..180 => Self::Fail,
            _ => Self::None,
        }
    }
}

/// How many requests there were, and what happened to them.
#[derive(Default)]
pub struct Counts {
    faults: Mutex<BTreeMap<Fault, u64>>,
    all: AtomicU64,
}

impl Counts {
    pub fn by_fault(&self) -> BTreeMap<Fault, u64> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn all(&self) -> u64 {
        self.all.load(Ordering::SeqCst)
    }
}

/// Listens in front of `upstream`. With a seed, the n-th request's fate is that seed's; without, all pass.
pub async fn start(upstream: SocketAddr, seed: Option<u64>) -> io::Result<(SocketAddr, Arc<Counts>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let counts = Arc::new(Counts::default());
    let shared = counts.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(client, upstream, seed, shared.clone()));
        }
    });
    Ok((address, counts))
}

/// One connection, which is kept for as long as nothing breaks.
async fn serve(
    mut client: TcpStream,
    upstream: SocketAddr,
    seed: Option<u64>,
    counts: Arc<Counts>,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut server: Option<TcpStream> = None;
    let mut unread = Vec::new();
    while let Some(request) = read_message(&mut client, &mut unread).await? {
        let number = counts.all.fetch_add(1, Ordering::SeqCst);
        let mut rng = Rng::with_seed(
            seed.unwrap_or(0)
                .wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        );
        let fault = seed.map_or(Fault::None, |_| Fault::draw(&mut rng));
        *counts
            .faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(fault)
            .or_default() += 1;

        match fault {
            Fault::CutBefore => return Ok(()),
            Fault::Throttle => {
                let codes = [
                    "ProvisionedThroughputExceededException",
                    "ThrottlingException",
                    "RequestLimitExceeded",
                ];
                let code = codes[rng.usize(0..codes.len())];
                client.write_all(&error(400, code)).await?;
                continue;
            }
            Fault::Fail => {
                let (status, code) = if rng.bool() {
                    (500, "InternalServerError")
                } else {
                    (503, "ServiceUnavailable")
                };
                client.write_all(&error(status, code)).await?;
                continue;
            }
            Fault::Delay => tokio::time::sleep(Duration::from_millis(rng.u64(1..300))).await,
            // The SDK waits 1.2 s for an attempt.
            Fault::LateLanding => tokio::time::sleep(Duration::from_millis(rng.u64(1250..2000))).await,
            _ => {}
        }
        let answer = exchange(&mut server, upstream, &request).await?;
        match fault {
            Fault::CutAfter | Fault::LateLanding => return Ok(()),
            Fault::CutWithin => return client.write_all(&answer[..answer.len() / 2]).await,
            Fault::FailAfter => client.write_all(&error(500, "InternalServerError")).await?,
            _ => client.write_all(&answer).await?,
        }
    }
    Ok(())
}

async fn exchange(
    server: &mut Option<TcpStream>,
    upstream: SocketAddr,
    request: &[u8],
) -> io::Result<Vec<u8>> {
    let mut stream = match server.take() {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(upstream).await?;
            stream.set_nodelay(true)?;
            stream
        }
    };
    stream.write_all(request).await?;
    let answer = read_message(&mut stream, &mut Vec::new()).await?;
    *server = Some(stream);
    answer.ok_or_else(|| io::Error::other("DynamoDB closed the connection"))
}

fn error(status: u16, code: &str) -> Vec<u8> {
    let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"injected"}}"#);
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Injected\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A request or an answer, whole, as both ends send it: with a Content-Length. None where the other end is done.
pub async fn read_message(stream: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = std::mem::take(unread);
    let mut seen = 0;
    let end = loop {
        let from = usize::saturating_sub(seen, 3);
        if let Some(at) = bytes[from..].windows(4).position(|four| four == b"\r\n\r\n") {
            break from + at + 4;
        }
        seen = bytes.len();
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .unwrap_or(0);
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    *unread = bytes.split_off(end + length);
    Ok(Some(bytes))
}
