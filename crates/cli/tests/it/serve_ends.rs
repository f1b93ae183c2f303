//! Connections of `serve` that end early, slowly or badly, and the end of `serve` itself.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::serve_hosts::{address, read};
use super::{Server, serve, succeeded};
use testkit::{SECRET, deepfake, sign};

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(address(server)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// The head and the body of a signed delivery.
fn delivery(id: &str) -> (String, String) {
    let body = deepfake(id, "session", 0.5).to_string();
    let head = format!(
        "POST /webhook HTTP/1.1\r\nhost: localhost\r\nx-sonotheia-signature: {}\r\ncontent-length: {}\r\n\r\n",
        sign(&body, SECRET),
        body.len()
    );
    (head, body)
}

#[test]
fn a_client_that_closes_its_side_after_the_request_gets_its_answer() {
    let server = serve(&[], Some(SECRET));
    let mut stream = connect(&server);
    let (head, body) = delivery("half-closed");
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = read(&mut stream);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains("half-closed"));

    let mut stream = connect(&server);
    stream
        .write_all(b"GET /results HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read(&mut stream).status, 200);

    // The body ends too early.
    let mut stream = connect(&server);
    stream
        .write_all(format!("{head}{}", &body[..9]).as_bytes())
        .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = read(&mut stream);
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert!(answer.body.contains("invalid_request"), "{}", answer.body);
}

#[test]
fn broken_requests_end_their_own_connection_only() {
    let server = serve(&[], Some(SECRET));
    for broken in [
        &b"nonsense\r\n\r\n"[..],
        b"GET /health HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"POST /webhook HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"POST /webhook HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /webhook HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /health HTTP/1.1\r\nbad header\r\n\r\n",
    ] {
        let mut stream = connect(&server);
        stream.write_all(broken).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    // A client that goes away in the middle.
    drop(connect(&server));
    let mut stream = connect(&server);
    stream.write_all(b"POST /web").unwrap();
    drop(stream);
    server.samples(&["sar.filed"]);
}

#[test]
fn a_slow_client_gets_its_answer_within_the_deadline_and_delays_nobody() {
    let server = serve(&[], Some(SECRET));
    let mut slow = connect(&server);
    let (head, body) = delivery("slow");
    slow.write_all(head.as_bytes()).unwrap();
    slow.write_all(&body.as_bytes()[..10]).unwrap();
    let begun = Instant::now();
    server.samples(&["sar.filed"]);
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn a_delivery_under_way_at_the_end_gets_its_answer_and_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("events.db");
    let mut server = serve(&["--data", data.to_str().unwrap()], Some(SECRET));
    let (head, body) = delivery("under-way");
    let mut under_way = connect(&server);
    under_way
        .write_all(format!("{head}{}", &body[..20]).as_bytes())
        .unwrap();
    // Neither a fresh nor an idle connection delays the end.
    let _fresh = connect(&server);
    let mut idle = connect(&server);
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    // An open page of the inspector does not delay it either.
    let mut page = connect(&server);
    page.write_all(b"GET /inspector/deliveries HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    page.read_exact(&mut answer).unwrap();

    let id = server.process.0.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .arg(&id)
            .status()
            .unwrap()
            .success()
    );
    // The rest of the body comes when nothing accepts connections any longer.
    let begun = Instant::now();
    while TcpStream::connect(address(&server)).is_ok() {
        assert!(
            begun.elapsed() < Duration::from_secs(3),
            "it still accepts connections"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    under_way.write_all(&body.as_bytes()[20..]).unwrap();
    let answer = read(&mut under_way);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(server.process.0.wait().unwrap().code(), Some(0));
    let again = serve(&["--data", data.to_str().unwrap()], Some(SECRET));
    assert!(succeeded(&again.over_url(&["results"])).contains("under-way"));
}
