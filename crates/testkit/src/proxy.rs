//! A proxy that breaks requests, answers and connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::fault::{Fault, Faults};
use crate::http::{self, Message, Reader};
use crate::loopback;

/// The AWS request id of every answer that the proxy makes itself.
pub const REQUEST_ID: &str = "INJECTED0REQUEST";

/// The time after which a true answer counts as slow. It is far below the time limits of the receiver's calls.
const SLOW: Duration = Duration::from_millis(500);

/// An HTTP/1.1 proxy in front of DynamoDB or Secrets Manager. It keeps connections open until a fault closes them. It
/// runs until the tokio runtime ends.
#[derive(Clone)]
pub struct Proxy {
    endpoint: String,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: SocketAddr,
    faults: Faults,
    requests: AtomicU64,
    connections: AtomicU64,
    slow: AtomicU64,
    /// Each change ends the connections that are idle.
    end_idle: watch::Sender<Ending>,
}

/// The end of a connection between two requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The proxy closes the connection.
    Close,
    /// The proxy resets the connection.
    Reset,
    /// The proxy leaves the connection open and never answers on it again, like a gateway that has forgotten it.
    Abandon,
}

impl Ending {
    /// All ends.
    pub const ALL: [Self; 3] = [Self::Close, Self::Reset, Self::Abandon];
}

impl Proxy {
    /// Starts a proxy for the endpoint `upstream`.
    pub async fn start(upstream: &str, faults: Faults) -> Self {
        let upstream = upstream.trim_start_matches("http://");
        let listener = loopback().await;
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            upstream: upstream.parse().expect("an address"),
            faults,
            requests: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            slow: AtomicU64::new(0),
            end_idle: watch::Sender::new(Ending::Close),
        });
        let served = shared.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                served.connections.fetch_add(1, Ordering::SeqCst);
                let shared = served.clone();
                tokio::spawn(async move { shared.serve(client).await });
            }
        });
        Self { endpoint, shared }
    }

    /// The proxy's address, `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The number of requests so far, with those that a fault broke.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// The number of connections that clients have made.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The number of true answers that took the service longer than half a second, as on a machine that is too busy.
    pub fn slow(&self) -> u64 {
        self.shared.slow.load(Ordering::SeqCst)
    }

    /// Ends every connection that is between two requests, as a server does while Lambda has frozen the function.
    pub fn end_idle(&self, ending: Ending) {
        self.shared.end_idle.send_replace(ending);
    }
}

impl Shared {
    /// Serves one connection.
    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut end_idle = self.end_idle.subscribe();
        let mut requests = Reader::default();
        let mut server = None;
        loop {
            end_idle.borrow_and_update();
            tokio::select! {
                readable = client.readable() => readable?,
                _ = end_idle.changed() => {
                    let ending = *end_idle.borrow();
                    return ending.of(client).await;
                }
            }
            let Some(request) = requests.read_async(&mut client).await? else {
                return Ok(());
            };
            let number = self.requests.fetch_add(1, Ordering::SeqCst);
            let fault = self.faults.fault(number, &request);
            if let Fault::Hang = fault {
                return Ending::Abandon.of(client).await;
            }
            let (answer, goes_on) = self.answer(fault, &request, &mut server).await?;
            client.write_all(&answer).await?;
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// The bytes to answer with, and whether the connection stays open.
    async fn answer(
        &self,
        fault: Fault,
        request: &Message,
        server: &mut Option<TcpStream>,
    ) -> io::Result<(Vec<u8>, bool)> {
        match fault {
            Fault::Hang | Fault::CutBefore => return Ok((Vec::new(), false)),
            Fault::Answer(status, code) => return Ok((error(status, code), true)),
            Fault::Delay(time) | Fault::CutAfter(time) => tokio::time::sleep(time).await,
            Fault::None | Fault::CutWithin | Fault::AnswerAfter(..) | Fault::Rewrite(_) => {}
        }
        let answer = self.exchange(request, server).await?;
        Ok(match fault {
            Fault::CutAfter(_) => (Vec::new(), false),
            Fault::CutWithin => {
                let mut half = answer.bytes();
                half.truncate(half.len() / 2);
                (half, false)
            }
            Fault::AnswerAfter(status, code) => (error(status, code), true),
            Fault::Rewrite(rewrite) => {
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                let status = answer.status().ok_or_else(|| io::Error::other("no status"))?;
                let (status, body) = rewrite(&request.text(), (status, body));
                (injected(status, &body), true)
            }
            _ => (answer.bytes(), true),
        })
    }

    /// Passes a request on, and reads the true answer.
    async fn exchange(&self, request: &Message, server: &mut Option<TcpStream>) -> io::Result<Message> {
        let mut stream = match server.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.upstream).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        let begun = Instant::now();
        stream.write_all(&request.bytes()).await?;
        let answer = Reader::default().read_async(&mut stream).await?;
        if begun.elapsed() > SLOW {
            self.slow.fetch_add(1, Ordering::SeqCst);
        }
        *server = Some(stream);
        answer.ok_or_else(|| io::Error::other("the upstream closed the connection"))
    }
}

impl Ending {
    async fn of(self, mut connection: TcpStream) -> io::Result<()> {
        match self {
            Self::Close => Ok(()),
            Self::Reset => connection.set_zero_linger(),
            // The copy ends when the client closes the connection.
            Self::Abandon => tokio::io::copy(&mut connection, &mut tokio::io::sink())
                .await
                .map(drop),
        }
    }
}

fn error(status: u16, code: &str) -> Vec<u8> {
    let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"injected"}}"#);
    injected(status, &body)
}

fn injected(status: u16, body: &str) -> Vec<u8> {
    let headers = format!("content-type: application/x-amz-json-1.0\r\nx-amzn-requestid: {REQUEST_ID}\r\n");
    http::answer(&format!("{status} Injected"), &headers, body.as_bytes())
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use tokio::io::AsyncReadExt;

    use super::*;

    const REQUEST: &[u8] = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{}";

    /// A proxy in front of a server that answers `true`.
    async fn proxy(faults: Faults) -> Proxy {
        let listener = loopback().await;
        let upstream = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(|| async { "true" });
        tokio::spawn(async { axum::serve(listener, router).await });
        Proxy::start(&upstream, faults).await
    }

    async fn connect(proxy: &Proxy) -> TcpStream {
        let address = proxy.endpoint().trim_start_matches("http://");
        TcpStream::connect(address).await.expect("a connection")
    }

    /// Sends one request; `None` if the proxy closes the connection.
    async fn send(stream: &mut TcpStream) -> Option<(u16, String)> {
        stream.write_all(REQUEST).await.ok()?;
        let answer = Reader::default().read_async(stream).await.ok()??;
        let body = String::from_utf8(answer.body.clone()).expect("UTF-8");
        Some((answer.status().expect("a status"), body))
    }

    #[tokio::test]
    async fn a_connection_serves_many_requests_until_the_idle_connections_end() {
        let proxy = proxy(Faults::none()).await;
        let (mut busy, mut idle) = (connect(&proxy).await, connect(&proxy).await);
        for _ in 0..3 {
            assert_eq!(send(&mut busy).await, Some((200, "true".to_owned())));
            assert_eq!(send(&mut idle).await, Some((200, "true".to_owned())));
        }
        assert_eq!((proxy.connections(), proxy.requests()), (2, 6));
        proxy.end_idle(Ending::Close);
        assert_eq!(idle.read(&mut [0]).await.expect("no error"), 0);
        assert_eq!(busy.read(&mut [0]).await.expect("no error"), 0);
        // A later connection is not affected.
        assert!(send(&mut connect(&proxy).await).await.is_some());
    }

    #[tokio::test]
    async fn an_idle_connection_can_be_reset_or_abandoned() {
        let proxy = proxy(Faults::none()).await;
        let mut idle = connect(&proxy).await;
        assert!(send(&mut idle).await.is_some());
        proxy.end_idle(Ending::Reset);
        let error = idle.read(&mut [0]).await.expect_err("a reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

        let mut idle = connect(&proxy).await;
        assert!(send(&mut idle).await.is_some());
        proxy.end_idle(Ending::Abandon);
        for _ in 0..2 {
            let answer = tokio::time::timeout(Duration::from_millis(50), send(&mut idle)).await;
            assert!(answer.is_err());
        }
    }

    #[tokio::test]
    async fn idle_connections_are_closed_and_busy_ones_are_not() {
        let proxy = proxy(Fault::Delay(Duration::from_millis(300)).always()).await;
        let mut busy = connect(&proxy).await;
        let (answer, ()) = tokio::join!(send(&mut busy), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            proxy.end_idle(Ending::Close);
        });
        assert!(answer.is_some());
        assert!(send(&mut busy).await.is_some());
    }

    #[tokio::test]
    async fn each_fault_breaks_the_request_as_it_says() {
        let closed: [Fault; 3] = [
            Fault::CutBefore,
            Fault::CutAfter(Duration::ZERO),
            Fault::CutWithin,
        ];
        for fault in closed {
            let proxy = proxy(fault.times(1)).await;
            assert_eq!(send(&mut connect(&proxy).await).await, None);
            assert!(send(&mut connect(&proxy).await).await.is_some());
        }
        let rewrite = |request: &str, (status, body): (u16, String)| {
            assert!(request.ends_with("{}"));
            (status + 1, format!("not {body}"))
        };
        for (fault, status, expected) in [
            (Fault::None, 200, "true"),
            (Fault::Answer(400, "Throttled"), 400, "#Throttled\""),
            (Fault::AnswerAfter(500, "Failed"), 500, "#Failed\""),
            (Fault::Rewrite(rewrite), 201, "not true"),
        ] {
            let proxy = proxy(fault.times(1)).await;
            let mut stream = connect(&proxy).await;
            let (answered, body) = send(&mut stream).await.expect("an answer");
            assert!(answered == status && body.contains(expected), "{answered} {body}");
            assert_eq!(send(&mut stream).await, Some((200, "true".to_owned())));
        }
        let proxy = proxy(Fault::Hang.times(1)).await;
        let mut hanging = connect(&proxy).await;
        let answer = tokio::time::timeout(Duration::from_millis(100), send(&mut hanging)).await;
        assert!(answer.is_err());
        assert!(send(&mut connect(&proxy).await).await.is_some());
    }
}
