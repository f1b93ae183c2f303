//! A proxy that breaks connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::loopback;

/// A fault that the proxy causes.
#[derive(Clone)]
pub enum Fault {
    /// Passes the request on and drops the answer, this many times.
    LoseAnswers(Arc<AtomicUsize>),
    /// Answers with this status and error code, this many times, and then passes requests on.
    Answer(u16, &'static str, Arc<AtomicUsize>),
    /// Never answers.
    Hang,
    /// Closes every connection.
    Refuse,
    /// Passes requests on, and counts them.
    Count(Arc<AtomicUsize>),
    /// Makes another answer (status and body) from the request's text and the true answer.
    Rewrite(fn(&str, (u16, String)) -> (u16, String)),
}

/// An HTTP/1.1 proxy in front of DynamoDB or Secrets Manager. It reads requests with a Content-Length, and sends one answer a
/// connection.
pub struct Proxy;

impl Proxy {
    /// Starts a proxy for the endpoint `upstream`, and returns the proxy's endpoint.
    pub async fn start(upstream: &str, fault: Fault) -> String {
        let upstream = upstream.trim_start_matches("http://");
        let upstream = upstream.parse().expect("an address");
        let listener = loopback().await;
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, upstream, fault.clone()));
            }
        });
        endpoint
    }
}

async fn serve(mut client: TcpStream, upstream: SocketAddr, fault: Fault) -> std::io::Result<()> {
    let Some(request) = read_request(&mut client).await? else {
        return Ok(());
    };
    let left = |counter: &AtomicUsize| {
        counter
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
            .is_ok()
    };
    match &fault {
        Fault::Refuse => return Ok(()),
        Fault::Hang => {
            tokio::time::sleep(Duration::from_secs(30)).await;
            return Ok(());
        }
        Fault::Answer(status, code, times) if left(times) => {
            let body =
                format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"injected"}}"#);
            return client.write_all(http_answer(*status, &body).as_bytes()).await;
        }
        Fault::Count(count) => {
            count.fetch_add(1, Ordering::SeqCst);
        }
        _ => {}
    }
    let mut server = TcpStream::connect(upstream).await?;
    server.write_all(&request).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    match &fault {
        Fault::LoseAnswers(times) if left(times) => Ok(()),
        Fault::Rewrite(rewrite) => {
            let (request, answer) = (
                String::from_utf8_lossy(&request),
                String::from_utf8_lossy(&answer),
            );
            let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
            let status = head[9..12].parse().expect("a status");
            let (status, body) = rewrite(&request, (status, body.to_owned()));
            client.write_all(http_answer(status, &body).as_bytes()).await
        }
        _ => client.write_all(&answer).await,
    }
}

/// The AWS request id of every injected answer.
pub const REQUEST_ID: &str = "INJECTED0REQUEST";

fn http_answer(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Injected\r\ncontent-type: application/x-amz-json-1.0\r\nx-amzn-requestid: {REQUEST_ID}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Reads a whole request, and asks the upstream to close the connection after the answer.
async fn read_request(client: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length: usize = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.trim().parse().expect("a length"));
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        if client.read_buf(&mut body).await? == 0 {
            return Ok(None);
        }
    }
    let mut request = head.into_bytes();
    request.extend_from_slice(b"\r\nconnection: close\r\n\r\n");
    request.extend_from_slice(&body);
    Ok(Some(request))
}
