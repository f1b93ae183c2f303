//! The transport of the SDK's clients: connections after a 5xx answer, after a freeze and to dead addresses, and the
//! SDK's time limits.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use emulators::DynamoDb;
use serde_json::{Value, json};
use sonotheia_webhook::aws::transport::connect::first_to_answer;
use sonotheia_webhook::aws::transport::error::TransportError;
use sonotheia_webhook::cause::{CallError, CallFault};
use sonotheia_webhook::deadline::{CONNECT, DYNAMODB};
use testkit::*;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::lambda::{Lambda, PATIENCE, delivery, status};

/// The most time for an answer that waits for no time limit.
const PROMPT: Duration = Duration::from_millis(2000);

/// An embedded DynamoDB with the table, behind a proxy.
async fn table(faults: Faults) -> (DynamoDb, Proxy) {
    let dynamodb = DynamoDb::start(loopback().await, None).unwrap();
    let direct = aws_sdk_dynamodb::Client::new(&emulators::sdk_config(dynamodb.endpoint()));
    emulators::create_table(&direct, TABLE).await.unwrap();
    let proxy = Proxy::start(dynamodb.endpoint(), faults).await;
    (dynamodb, proxy)
}

/// This fault for the first write.
fn first_write(fault: Fault) -> Faults {
    let is_first = AtomicBool::new(true);
    Faults::new(move |_, request| {
        let target = request.header("x-amz-target").unwrap_or_default();
        if target.ends_with("PutItem") && is_first.swap(false, Ordering::SeqCst) {
            fault
        } else {
            Fault::None
        }
    })
}

/// A read of all records. It asks all shards at once, each on a connection of its own.
fn read_all() -> Value {
    let mut event = delivery("unused");
    event["httpMethod"] = json!("GET");
    for path in ["path", "resource"] {
        event[path] = json!("/results");
    }
    event["requestContext"]["resourcePath"] = json!("/results");
    event["body"] = Value::Null;
    event
}

#[tokio::test]
async fn after_a_failure_of_aws_the_retry_uses_a_new_connection_and_the_log_has_no_error() {
    let failures = [
        (Fault::Answer(500, "InternalServerError"), 2),
        (Fault::Answer(502, "BadGateway"), 2),
        (Fault::Answer(503, "ServiceUnavailable"), 2),
        (Fault::Answer(504, "GatewayTimeout"), 2),
        (Fault::AnswerAfter(500, "InternalServerError"), 2),
        (Fault::CutBefore, 2),
        (Fault::CutWithin, 2),
        // A server that throttles is well, and keeps its connection.
        (Fault::Answer(400, "ThrottlingException"), 1),
    ];
    for (failure, connections) in failures {
        let (_dynamodb, proxy) = table(first_write(failure)).await;
        let mut lambda = Lambda::start(proxy.endpoint(), &[]);
        for id in ["event-1", "event-2"] {
            let invocation = lambda.invoke(id, &delivery(id)).await;
            assert_eq!(status(invocation).await, 200, "{failure:?}");
        }
        // The start has opened a connection for the first write.
        assert_eq!(proxy.connections(), connections, "{failure:?}");
        // The read at the start, two writes and a retry.
        assert_eq!(proxy.requests(), 4, "{failure:?}");
        let (out, err) = lambda.function.output().unwrap();
        assert_eq!(err, "");
        for line in out.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            assert!(line["level"] == "INFO" || line.get("_aws").is_some(), "{line}");
        }
    }
}

/// Freezes the function, ends its idle connections, gives it a delivery and lets it go on. Returns the status and the
/// time of the answer.
async fn deliver_after_freeze(
    lambda: &mut Lambda,
    proxy: &Proxy,
    ending: Ending,
    event_id: &str,
) -> (u64, Duration) {
    let idle = lambda.api.idle(PATIENCE).await.unwrap();
    lambda.function.freeze().unwrap();
    proxy.end_idle(ending);
    // The invocation and the ends of the connections wait for the process together.
    let invocation = lambda.api.give(idle, event_id, delivery(event_id).to_string());
    tokio::time::sleep(Duration::from_millis(20)).await;
    let begun = Instant::now();
    lambda.function.thaw().unwrap();
    (status(invocation).await, begun.elapsed())
}

#[tokio::test]
async fn the_first_delivery_after_a_freeze_is_stored_although_its_connection_is_dead() {
    let (_dynamodb, proxy) = table(Faults::none()).await;
    let mut lambda = Lambda::start(proxy.endpoint(), &[]);
    for n in 0..10 {
        for ending in [Ending::Close, Ending::Reset] {
            let (status, time) =
                deliver_after_freeze(&mut lambda, &proxy, ending, &format!("{ending:?}-{n}")).await;
            assert_eq!(status, 200, "{ending:?}");
            assert!(time < PROMPT, "{ending:?}: {time:?}");
        }
    }
}

#[tokio::test]
async fn the_first_delivery_after_a_freeze_is_stored_although_all_idle_connections_are_dead() {
    for ending in Ending::ALL {
        let (_dynamodb, proxy) = table(Fault::Delay(Duration::from_millis(20)).always()).await;
        let mut lambda = Lambda::start(proxy.endpoint(), &[]);
        let invocation = lambda.invoke("read", &read_all()).await;
        assert_eq!(status(invocation).await, 200);
        // As many as the pool keeps, and far more than the attempts of a call.
        assert!(proxy.connections() >= 16, "{}", proxy.connections());
        let (status, time) = deliver_after_freeze(&mut lambda, &proxy, ending, "event-1").await;
        assert_eq!(status, 200, "{ending:?}");
        // Nothing tells the function that a connection is abandoned. It waits for one attempt.
        let limit = match ending {
            Ending::Abandon => DYNAMODB.attempt + PROMPT,
            Ending::Close | Ending::Reset => PROMPT,
        };
        assert!(time < limit, "{ending:?}: {time:?}");
    }
}

/// A server of one connection at a time. It answers one request on each connection, and closes the connection when it is
/// told to. Returns its endpoint and the sender for that. A thread serves, so that the test can block its runtime.
fn one_answer_a_connection() -> (String, mpsc::Sender<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (close, closed) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            http::Reader::default().read(&mut stream).unwrap();
            let answer = http::answer("200 OK", "", br#"{"TableNames":[]}"#);
            stream.write_all(&answer).unwrap();
            let _ = closed.recv();
        }
    });
    (endpoint, close)
}

#[tokio::test]
async fn a_closed_connection_costs_no_attempt_even_if_the_client_learns_of_it_together_with_the_request() {
    let (endpoint, close) = one_answer_a_connection();
    let sdk = emulators::sdk_config(&endpoint);
    let config = aws_sdk_dynamodb::config::Builder::from(&sdk).retry_config(RetryConfig::disabled());
    let client = aws_sdk_dynamodb::Client::from_conf(config.build());
    for _ in 0..10 {
        client.list_tables().send().await.unwrap();
        close.send(()).unwrap();
        // The connection's end arrives while no task runs. Then both wake up, this task and the connection's.
        std::thread::sleep(Duration::from_millis(20));
        tokio::task::yield_now().await;
    }
}

/// An address where no connection succeeds: nobody accepts, and the queue of connections is full.
struct FullQueue {
    listener: TcpListener,
    queued: Vec<TcpStream>,
}

impl FullQueue {
    async fn start() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) =
            tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await
        {
            queued.push(stream.unwrap());
            assert!(queued.len() < 100, "the queue has no bound");
        }
        Self { listener, queued }
    }

    async fn start_many(count: usize) -> Vec<Self> {
        let mut many = Vec::new();
        for _ in 0..count {
            many.push(Self::start().await);
        }
        many
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Makes room for one connection. The kernel sends its next packet about a second after the first one.
    async fn accept(&mut self) {
        for _ in 0..self.queued.len() {
            self.listener.accept().await.unwrap();
        }
    }
}

/// An address that refuses connections.
async fn refused() -> SocketAddr {
    loopback().await.local_addr().unwrap()
}

#[tokio::test]
async fn a_live_address_behind_dead_ones_is_reached_within_one_attempt() {
    let dead = FullQueue::start_many(5).await;
    let live = loopback().await;
    let live = live.local_addr().map(|address| (live, address)).unwrap();
    let refused = refused().await;
    let dead_first = dead.iter().map(FullQueue::address).chain([refused, live.1]);
    let begun = Instant::now();
    let stream = first_to_answer(dead_first, Some(CONNECT)).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), live.1);
    assert!(begun.elapsed() < DYNAMODB.attempt, "{:?}", begun.elapsed());

    // A refused connection does not delay the next address.
    let begun = Instant::now();
    let refused_first = [refused; 10].into_iter().chain([live.1]);
    first_to_answer(refused_first, Some(CONNECT)).await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_millis(800),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_slow_address_has_the_whole_time_however_many_addresses_are_dead() {
    let dead = FullQueue::start_many(4).await;
    let mut slow = FullQueue::start().await;
    let address = slow.address();
    let addresses: Vec<_> = [address]
        .into_iter()
        .chain(dead.iter().map(FullQueue::address))
        .collect();
    let (stream, ()) = tokio::join!(first_to_answer(addresses, Some(Duration::from_secs(4))), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        slow.accept().await;
    });
    assert_eq!(stream.unwrap().peer_addr().unwrap(), address);
}

#[tokio::test]
async fn without_a_live_address_the_error_says_why() {
    let limit = Duration::from_millis(300);
    let dead = FullQueue::start_many(3).await;
    let begun = Instant::now();
    let error = first_to_answer(dead.iter().map(FullQueue::address), Some(limit)).await;
    assert_eq!(error.unwrap_err(), TransportError::ConnectTimeout);
    assert!(begun.elapsed() < 3 * limit, "{:?}", begun.elapsed());
    let error = first_to_answer([refused().await], Some(limit)).await;
    assert_eq!(
        error.unwrap_err(),
        TransportError::Connect(io::ErrorKind::ConnectionRefused)
    );
    let error = first_to_answer([], Some(limit)).await;
    assert_eq!(error.unwrap_err(), TransportError::Resolve);
}

/// Makes one call to `endpoint` in one attempt with these time limits. Returns its fault and its time.
async fn call(endpoint: &str, limits: TimeoutConfig) -> (Option<CallFault>, Duration) {
    let sdk: SdkConfig = emulators::sdk_config(endpoint);
    let config = aws_sdk_dynamodb::config::Builder::from(&sdk)
        .timeout_config(limits)
        .retry_config(RetryConfig::disabled())
        .build();
    let call = aws_sdk_dynamodb::Client::from_conf(config).list_tables().send();
    let begun = Instant::now();
    let answer = tokio::time::timeout(PATIENCE, call)
        .await
        .expect("the SDK's limit ends the call");
    let fault = answer.err().map(|error| CallError::from(error).fault());
    (fault, begun.elapsed())
}

#[tokio::test]
async fn the_time_limits_of_the_sdk_hold() {
    const LIMIT: Duration = Duration::from_millis(300);
    let connect = TimeoutConfig::builder().connect_timeout(LIMIT).build();
    let read = TimeoutConfig::builder().read_timeout(LIMIT).build();

    let full = FullQueue::start().await;
    let (fault, time) = call(&format!("http://{}", full.address()), connect.clone()).await;
    assert_eq!(fault, Some(CallFault::Transport(TransportError::ConnectTimeout)));
    assert!(time >= LIMIT && time < LIMIT + PROMPT, "{time:?}");

    let (_dynamodb, hanging) = table(Fault::Hang.always()).await;
    let (fault, time) = call(hanging.endpoint(), read.clone()).await;
    assert_eq!(fault, Some(CallFault::Transport(TransportError::ReadTimeout)));
    assert!(time >= LIMIT && time < LIMIT + PROMPT, "{time:?}");

    // The limit of the connection does not hold for the answer, and no limit ends a call that is fast enough.
    let (_dynamodb, slow) = table(Fault::Delay(2 * LIMIT).always()).await;
    assert_eq!(call(slow.endpoint(), connect).await.0, None);
    let (_dynamodb, fast) = table(Faults::none()).await;
    assert_eq!(call(fast.endpoint(), read).await.0, None);
}
