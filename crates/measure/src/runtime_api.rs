//! Lambda's side of a function: the Runtime API ("Using the Lambda runtime API").

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::http::Connection;

/// How long a function may take over anything before it is taken for hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// The Runtime API of one function's environment.
pub struct RuntimeApi {
    /// For `AWS_LAMBDA_RUNTIME_API`.
    pub address: String,
    happened: Receiver<Happened>,
}

enum Happened {
    Polled(Instant, Sender<String>),
    Sent(Instant),
    Answered(Instant, Vec<u8>),
    Failed(String),
}

/// A function that waits for an event.
pub struct Idle {
    /// When it began to.
    pub since: Instant,
    event: Sender<String>,
}

/// A function's answer to an event.
pub struct Answer {
    /// Between the event's last byte out and the answer's last byte in.
    pub latency: Duration,
    /// When it was there.
    pub at: Instant,
    /// What it says, in the shape API Gateway reads.
    pub reply: serde_json::Value,
}

impl RuntimeApi {
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let (happens, happened) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let happens = happens.clone();
                thread::spawn(move || serve(stream, &happens));
            }
        });
        Ok(Self { address, happened })
    }

    /// Waits until the function polls.
    pub fn idle(&self) -> Result<Idle, String> {
        match self.next()? {
            Happened::Polled(since, event) => Ok(Idle { since, event }),
            Happened::Failed(why) => Err(why),
            _ => Err("the function answered what it was not asked".to_owned()),
        }
    }

    /// Gives it an event and waits for the answer.
    pub fn invoke(&self, idle: &Idle, event: String) -> Result<Answer, String> {
        let mut sent = Instant::now();
        idle.event.send(event).map_err(|_| "the function went away")?;
        loop {
            match self.next()? {
                Happened::Sent(at) => sent = at,
                Happened::Answered(at, body) => {
                    let reply = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
                    let latency = at - sent;
                    return Ok(Answer { latency, at, reply });
                }
                Happened::Failed(why) => return Err(why),
                Happened::Polled(..) => return Err("the function polled twice at once".to_owned()),
            }
        }
    }

    fn next(&self) -> Result<Happened, String> {
        let silent = |_| format!("the function did nothing for {PATIENCE:?}");
        self.happened.recv_timeout(PATIENCE).map_err(silent)
    }
}

fn serve(stream: TcpStream, happens: &Sender<Happened>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut connection = Connection::new(stream);
    while let Some(request) = connection.next().ok()? {
        let now = Instant::now();
        match request.path.rsplit('/').next()? {
            "next" => {
                let (event, given) = channel();
                happens.send(Happened::Polled(now, event)).ok()?;
                let event = given.recv().ok()?;
                connection.answer("200 OK", &headers()?, event.as_bytes()).ok()?;
                happens.send(Happened::Sent(Instant::now())).ok()?;
            }
            "response" => {
                connection.answer("202 Accepted", "", b"").ok()?;
                happens.send(Happened::Answered(now, request.body)).ok()?;
            }
            _ => {
                connection.answer("202 Accepted", "", b"").ok()?;
                let why = format!("{}: {}", request.path, String::from_utf8_lossy(&request.body));
                happens.send(Happened::Failed(why)).ok()?;
            }
        }
    }
    Some(())
}

fn headers() -> Option<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let id = now.as_nanos();
    let deadline = now.as_millis() + 5000;
    Some(format!(
        "Content-Type: application/json\r\n\
         Lambda-Runtime-Aws-Request-Id: 8f0e5d1c-3b1c-4a65-9f0e-{:012x}\r\n\
         Lambda-Runtime-Deadline-Ms: {deadline}\r\n\
         Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:123456789012:function:measured\r\n\
         Lambda-Runtime-Trace-Id: Root=1-6970c8c0-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=0\r\n",
        id & 0xffff_ffff_ffff
    ))
}
