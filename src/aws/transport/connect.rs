//! New connections: the host's addresses, TCP, TLS, HTTP.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::Uri;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::error::TransportError;
use super::pool::{Connection, Poisoned};

/// The head start of an address before the next address is tried too ("Happy Eyeballs", RFC 8305, section 5, allows 100 ms
/// and more). A server of the same region answers within a few milliseconds.
const HEAD_START: Duration = Duration::from_millis(100);

/// A server, as a URL names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    is_tls: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// The server of `uri`. `None` if the URL has no host, or neither of the schemes `http` and `https`.
    pub fn of(uri: &Uri) -> Option<Self> {
        let is_tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Self {
            is_tls,
            host: uri.host()?.to_owned(),
            port: uri.port_u16().unwrap_or(default_port(is_tls)),
        })
    }

    /// The value of the header `Host`: without the port if it is the scheme's own.
    pub fn host_header(&self) -> String {
        if self.port == default_port(self.is_tls) {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The host without the brackets of an IPv6 address.
    fn name(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }
}

const fn default_port(is_tls: bool) -> u16 {
    if is_tls { 443 } else { 80 }
}

/// Opens a connection to `origin`. `limit` is the longest time for the TCP connection to one address.
pub async fn connect(
    origin: &Origin,
    tls: &TlsConnector,
    limit: Option<Duration>,
) -> Result<Connection, TransportError> {
    let name = origin.name();
    let addresses = tokio::net::lookup_host((name, origin.port))
        .await
        .map_err(|_| TransportError::Resolve)?;
    let stream = first_to_answer(addresses, limit).await?;
    // The SDK writes small requests, which must not wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    if !origin.is_tls {
        return handshake(stream).await;
    }
    let name = ServerName::try_from(name.to_owned()).map_err(|_| TransportError::Request)?;
    let stream = tls.connect(name, stream).await;
    handshake(stream.map_err(|error| TransportError::of_tls(&error))?).await
}

/// Connects to the address that answers first. Each address gets the whole `limit`, whatever their number, and a dead
/// address delays the next one by `HEAD_START` only.
///
/// # Errors
/// The fault of the last address that failed.
pub async fn first_to_answer(
    addresses: impl IntoIterator<Item = SocketAddr>,
    limit: Option<Duration>,
) -> Result<TcpStream, TransportError> {
    let mut waiting = addresses.into_iter().fuse();
    let mut attempts = FuturesUnordered::new();
    let mut last = TransportError::Resolve;
    loop {
        let next = waiting.next();
        let is_last = next.is_none();
        attempts.extend(next.map(|address| tcp(address, limit)));
        let answer = if is_last {
            attempts.next().await
        } else {
            match tokio::time::timeout(HEAD_START, attempts.next()).await {
                Ok(answer) => answer,
                Err(_) => continue,
            }
        };
        match answer {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => last = error,
            None => return Err(last),
        }
    }
}

async fn tcp(address: SocketAddr, limit: Option<Duration>) -> Result<TcpStream, TransportError> {
    let connected = TcpStream::connect(address);
    let connected = match limit {
        Some(limit) => tokio::time::timeout(limit, connected)
            .await
            .map_err(|_| TransportError::ConnectTimeout)?,
        None => connected.await,
    };
    connected.map_err(|error| TransportError::Connect(error.kind()))
}

async fn handshake<S>(stream: S) -> Result<Connection, TransportError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|_| TransportError::Broken(io::ErrorKind::Other))?;
    // The task ends with the connection. The request that a fault concerns gets the fault too.
    tokio::spawn(connection);
    Ok(Connection {
        sender,
        poisoned: Poisoned::default(),
    })
}
