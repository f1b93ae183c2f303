//! Lambda's side of a function ("Using the Lambda runtime API"): it hands out invocations and collects the answers.
//!
//! Threads serve the function, so that the times of an answer do not hold the delays of an async runtime. The caller
//! waits for them in one.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::http::{self, Message, Reader};

/// The function's time for an invocation: the time limit of the template's function.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(5);

const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:receiver";
const TRACE: &str = "Root=1-6970c8c0-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=0";

/// The Runtime API of one environment.
pub struct RuntimeApi {
    address: SocketAddr,
    polls: mpsc::UnboundedReceiver<Result<Idle, InvokeError>>,
    shared: Arc<Shared>,
}

/// A function that waits for an invocation.
#[derive(Debug)]
pub struct Idle {
    /// The time of the poll.
    pub since: Instant,
    give: std::sync::mpsc::Sender<Given>,
}

/// The id and the payload of an invocation, and its further headers.
#[derive(Debug)]
struct Given(String, String, String);

/// An invocation that the function has.
#[derive(Debug)]
pub struct Invocation(oneshot::Receiver<Result<Answer, InvokeError>>);

/// The function's answer to an invocation.
#[derive(Debug)]
pub struct Answer {
    /// The time between the last byte of the invocation and the last byte of the answer.
    pub latency: Duration,
    /// The time of the answer's last byte.
    pub at: Instant,
    /// The answer, in the shape that API Gateway reads.
    pub reply: Value,
}

/// An invocation without an answer.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// The function's process cannot be started.
    #[error("the function's process cannot be started")]
    Start(#[source] io::Error),
    /// The function did not ask for an invocation in this time.
    #[error("the function did not ask for an invocation within {0:?}")]
    NotReady(Duration),
    /// The function did not answer in this time.
    #[error("the function did not answer within {0:?}")]
    NoAnswer(Duration),
    /// The function reported that it cannot start.
    #[error("the function reported that it cannot start: {0}")]
    Init(String),
    /// The function reported an error in place of an answer.
    #[error("the function reported an error: {0}")]
    Function(String),
    /// The answer is not JSON.
    #[error("the function's answer is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// The function answered an invocation that it does not have.
    #[error("the function answered the invocation {0}, which it does not have")]
    Unknown(String),
    /// The function's connection ended before it had the invocation.
    #[error("the function closed its connection before it had the invocation")]
    Gone,
}

struct Shared {
    open: Mutex<HashMap<String, Open>>,
    polls: mpsc::UnboundedSender<Result<Idle, InvokeError>>,
    restores: AtomicU64,
    is_stopped: AtomicBool,
}

/// An invocation that has no answer yet.
struct Open {
    sent: Instant,
    answer: oneshot::Sender<Result<Answer, InvokeError>>,
}

impl RuntimeApi {
    /// Starts a Runtime API on a free loopback port.
    ///
    /// # Errors
    /// There is no free port.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (sender, polls) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            open: Mutex::default(),
            polls: sender,
            restores: AtomicU64::new(0),
            is_stopped: AtomicBool::new(false),
        });
        let served = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if served.is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = served.clone();
                // A connection ends with an error when its process is killed.
                thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        Ok(Self {
            address,
            polls,
            shared,
        })
    }

    /// The value of `AWS_LAMBDA_RUNTIME_API`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// How often the function has asked whether it is restored from a snapshot. The answer is yes.
    pub fn restores(&self) -> u64 {
        self.shared.restores.load(Ordering::SeqCst)
    }

    /// Waits until the function asks for an invocation.
    ///
    /// # Errors
    /// The function does not ask within `patience`, or reported that it cannot start.
    pub async fn idle(&mut self, patience: Duration) -> Result<Idle, InvokeError> {
        match timeout(patience, self.polls.recv()).await {
            Ok(Some(poll)) => poll,
            Ok(None) | Err(_) => Err(InvokeError::NotReady(patience)),
        }
    }

    /// Gives an idle function an invocation. No two invocations at a time may have the same id.
    pub fn give(&self, idle: Idle, id: &str, payload: String) -> Invocation {
        self.give_with_headers(idle, id, payload, "")
    }

    /// As [`give`](Self::give), with further headers, each ending with CR LF. They replace Lambda's usual headers.
    pub fn give_with_headers(&self, idle: Idle, id: &str, payload: String, headers: &str) -> Invocation {
        let (answer, invocation) = oneshot::channel();
        let sent = Instant::now();
        self.shared.open().insert(id.to_owned(), Open { sent, answer });
        let given = Given(id.to_owned(), payload, headers.to_owned());
        if idle.give.send(given).is_err() {
            self.shared.finish(id, Err(InvokeError::Gone));
        }
        Invocation(invocation)
    }

    /// Waits until the function asks for an invocation, and gives it this one.
    ///
    /// # Errors
    /// As [`idle`](Self::idle).
    pub async fn invoke(
        &mut self,
        id: &str,
        payload: String,
        patience: Duration,
    ) -> Result<Invocation, InvokeError> {
        let idle = self.idle(patience).await?;
        Ok(self.give(idle, id, payload))
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        // A connection wakes the thread that accepts connections.
        let _ = TcpStream::connect(self.address);
    }
}

impl Invocation {
    /// Waits for the function's answer.
    ///
    /// # Errors
    /// The function does not answer within `patience`, or it reports an error.
    pub async fn answer(self, patience: Duration) -> Result<Answer, InvokeError> {
        match timeout(patience, self.0).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(InvokeError::Gone),
            Err(_) => Err(InvokeError::NoAnswer(patience)),
        }
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one connection.
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut requests = Reader::default();
        while let Some(request) = requests.read(&mut stream)? {
            let at = Instant::now();
            let path = request.target().strip_prefix("/2018-06-01/runtime/");
            let steps: Vec<_> = path.unwrap_or_default().split('/').collect();
            let text = || String::from_utf8_lossy(&request.body).into_owned();
            match steps[..] {
                ["invocation", "next"] => self.next(&mut stream, at)?,
                ["invocation", id, "response"] => self.answered(&mut stream, id, &request, at)?,
                ["invocation", id, "error"] => {
                    stream.write_all(&http::answer("202 Accepted", "", b""))?;
                    self.finish(id, Err(InvokeError::Function(text())));
                }
                ["restore", "next"] => {
                    self.restores.fetch_add(1, Ordering::SeqCst);
                    stream.write_all(&http::answer("200 OK", "", b""))?;
                }
                ["init", "error"] => {
                    stream.write_all(&http::answer("202 Accepted", "", b""))?;
                    let _ = self.polls.send(Err(InvokeError::Init(text())));
                }
                _ => stream.write_all(&http::answer("404 Not Found", "", b""))?,
            }
        }
        Ok(())
    }

    /// Holds a poll until there is an invocation for it.
    fn next(&self, stream: &mut TcpStream, since: Instant) -> io::Result<()> {
        let (give, given) = std::sync::mpsc::channel();
        let _ = self.polls.send(Ok(Idle { since, give }));
        let Given(id, payload, headers) = given.recv().map_err(io::Error::other)?;
        let headers = all_headers(&id, headers);
        let sent = stream.write_all(&http::answer("200 OK", &headers, payload.as_bytes()));
        let now = Instant::now();
        if let Some(open) = self.open().get_mut(&id) {
            open.sent = now;
        }
        sent.inspect_err(|_| self.finish(&id, Err(InvokeError::Gone)))
    }

    fn answered(&self, stream: &mut TcpStream, id: &str, request: &Message, at: Instant) -> io::Result<()> {
        let sent = self.open().get(id).map(|open| open.sent);
        stream.write_all(&http::answer("202 Accepted", "", b""))?;
        let reply = serde_json::from_slice(&request.body).map_err(InvokeError::NotJson);
        let latency = sent.map_or(Duration::ZERO, |sent| at - sent);
        self.finish(id, reply.map(|reply| Answer { latency, at, reply }));
        Ok(())
    }

    /// Ends an invocation. The caller may have stopped waiting for it.
    fn finish(&self, id: &str, answer: Result<Answer, InvokeError>) {
        match self.open().remove(id) {
            Some(open) => drop(open.answer.send(answer)),
            None => drop(self.polls.send(Err(InvokeError::Unknown(id.to_owned())))),
        }
    }
}

/// The headers of an invocation: Lambda's usual ones, as far as `headers` has no others of the same name, and `headers`.
fn all_headers(id: &str, mut headers: String) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let deadline = (now + FUNCTION_TIMEOUT).as_millis().to_string();
    for (name, value) in [
        ("Content-Type", "application/json"),
        ("Lambda-Runtime-Aws-Request-Id", id),
        ("Lambda-Runtime-Deadline-Ms", &deadline),
        ("Lambda-Runtime-Invoked-Function-Arn", ARN),
        ("Lambda-Runtime-Trace-Id", TRACE),
    ] {
        if !headers.lines().any(|line| line.starts_with(&format!("{name}:"))) {
            headers += &format!("{name}: {value}\r\n");
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A function's connection.
    struct Function(TcpStream, Reader);

    impl Function {
        fn connect(api: &RuntimeApi) -> Self {
            let stream = TcpStream::connect(api.address()).expect("a connection");
            Self(stream, Reader::default())
        }

        fn ask(&mut self) {
            let poll = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: h\r\n\r\n";
            self.0.write_all(poll).expect("a request");
        }

        fn post(&mut self, path: &str, body: &str) -> u16 {
            let length = body.len();
            let head = format!(
                "POST /2018-06-01/runtime/{path} HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n\r\n"
            );
            self.0
                .write_all(format!("{head}{body}").as_bytes())
                .expect("a request");
            self.read().status().expect("a status")
        }

        fn read(&mut self) -> Message {
            self.1.read(&mut self.0).expect("no error").expect("an answer")
        }
    }

    #[tokio::test]
    async fn several_invocations_are_answered_in_any_order() {
        let mut api = RuntimeApi::start().expect("a port");
        let (mut first, mut second) = (Function::connect(&api), Function::connect(&api));
        first.ask();
        let one = api.invoke("one", "1".to_owned(), PATIENCE).await.expect("a poll");
        second.ask();
        let two = api.invoke("two", "2".to_owned(), PATIENCE).await.expect("a poll");
        let (first_got, second_got) = (first.read(), second.read());
        assert_eq!((&*first_got.body, &*second_got.body), (&b"1"[..], &b"2"[..]));
        assert_eq!(first_got.header("lambda-runtime-aws-request-id"), Some("one"));
        // Either connection can carry either answer.
        assert_eq!(first.post("invocation/two/response", "\"b\""), 202);
        assert_eq!(second.post("invocation/one/response", "\"a\""), 202);
        assert_eq!(one.answer(PATIENCE).await.expect("an answer").reply, "a");
        assert_eq!(two.answer(PATIENCE).await.expect("an answer").reply, "b");
    }

    #[tokio::test]
    async fn errors_of_the_function_reach_the_caller() {
        let mut api = RuntimeApi::start().expect("a port");
        let mut function = Function::connect(&api);
        function.post("init/error", "no table");
        let error = api.idle(PATIENCE).await.expect_err("an error").to_string();
        assert!(error.contains("no table"), "{error}");

        function.ask();
        let invocation = api.invoke("one", String::new(), PATIENCE).await.expect("a poll");
        function.read();
        function.post("invocation/one/error", "a defect");
        let error = invocation
            .answer(PATIENCE)
            .await
            .expect_err("an error")
            .to_string();
        assert!(error.contains("a defect"), "{error}");

        function.ask();
        let invocation = api.invoke("two", String::new(), PATIENCE).await.expect("a poll");
        function.read();
        function.post("invocation/two/response", "no JSON");
        let error = invocation.answer(PATIENCE).await.expect_err("an error");
        assert!(matches!(error, InvokeError::NotJson(_)), "{error}");

        function.post("invocation/three/response", "{}");
        let error = api.idle(PATIENCE).await.expect_err("an error");
        assert!(matches!(error, InvokeError::Unknown(id) if id == "three"));
    }

    #[tokio::test]
    async fn a_silent_function_is_an_error_after_the_patience() {
        const SHORT: Duration = Duration::from_millis(50);
        let mut api = RuntimeApi::start().expect("a port");
        let error = api.idle(SHORT).await.expect_err("an error");
        assert!(matches!(error, InvokeError::NotReady(SHORT)), "{error}");
        let mut function = Function::connect(&api);
        function.ask();
        let invocation = api.invoke("one", String::new(), PATIENCE).await.expect("a poll");
        let error = invocation.answer(SHORT).await.expect_err("an error");
        assert!(matches!(error, InvokeError::NoAnswer(SHORT)), "{error}");
    }
}
