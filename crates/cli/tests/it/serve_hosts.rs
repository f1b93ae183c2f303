//! `serve` and the Host of a request: a tunnel opens `/webhook` and `/health` and nothing else.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::{Server, serve};
use testkit::{SECRET, deepfake, sign};

/// An answer: status, head and body.
pub struct Raw {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Sends bytes over a new connection, and reads until the server closes it.
pub fn raw(address: &str, request: impl AsRef<[u8]>) -> Raw {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_ref()).unwrap();
    read(&mut stream)
}

/// Reads an answer until the server closes the connection.
pub fn read(stream: &mut TcpStream) -> Raw {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    Raw {
        status: status.parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// A request with these lines between the first line and the end of the head.
fn get(server: &Server, target: &str, lines: &[&str]) -> Raw {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let request = format!("GET {target} HTTP/1.1\r\n{lines}connection: close\r\n\r\n");
    raw(&address(server), request)
}

/// The host and port of a server.
pub fn address(server: &Server) -> String {
    server.url.trim_start_matches("http://").to_owned()
}

#[track_caller]
fn refused(answer: &Raw, of: &str) {
    assert_eq!(answer.status, 403, "{of}: {}{}", answer.head, answer.body);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["code"], "forbidden", "{of}");
    assert_eq!(body["error"], "Forbidden", "{of}");
    assert!(body["message"].as_str().unwrap().contains("http://localhost"));
    let id = body["request_id"].as_str().unwrap();
    assert_eq!(id.len(), 32);
    for line in [
        "content-type: application/json",
        "cache-control: no-store",
        &format!("x-request-id: {id}"),
    ] {
        assert!(answer.head.contains(line), "{line} in {}", answer.head);
    }
}

const READS: [&str; 9] = [
    "/",
    "/results",
    "/results/",
    "/results?limit=1",
    "/results/a-session",
    "/events/an-event",
    "/events/an-event?include=body",
    "/inspector/deliveries",
    "/inspector/page.js",
];

#[test]
fn reads_and_the_inspector_answer_loopback_names_only() {
    for arguments in [&[][..], &["--host", "0.0.0.0"]] {
        let server = serve(arguments, Some(SECRET));
        server.deliver(&deepfake("an-event", "a-session", 0.5).to_string());
        for host in [
            "abc.ngrok.app",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "192.168.0.2:8080",
            "0.0.0.0:8080",
            "",
        ] {
            for target in READS {
                let answer = get(&server, target, &[&format!("Host: {host}")]);
                refused(&answer, &format!("{target} for {host}"));
                assert!(!answer.body.contains("an-event"));
            }
            let health = get(&server, "/health", &[&format!("Host: {host}")]);
            assert_eq!(health.status, 200, "{host}");
        }
        for host in [
            "localhost",
            "LOCALHOST:1",
            "app.localhost:8080",
            "localhost.:8080",
            "127.0.0.1",
            "127.9.8.7:8080",
            "[::1]:8080",
            "127.1:8080",
        ] {
            for target in ["/results", "/results/a-session", "/events/an-event"] {
                let answer = get(&server, target, &[&format!("Host: {host}")]);
                assert_eq!(answer.status, 200, "{host}: {}", answer.body);
                assert!(answer.body.contains("an-event"));
            }
            assert_eq!(get(&server, "/", &[&format!("Host: {host}")]).status, 200);
        }
    }
}

#[test]
fn no_other_part_of_a_request_opens_the_reads() {
    let server = serve(&[], Some(SECRET));
    let local = format!("Host: {}", address(&server));
    for lines in [
        &[][..],
        &["Host: evil.example", "X-Forwarded-Host: localhost"],
        &["Host: evil.example", "Forwarded: host=localhost"],
        &[
            "Host: evil.example",
            "X-Host: localhost",
            "X-Original-Host: localhost",
        ],
        &[&local, "Host: evil.example"],
        &["Host: evil.example", &local],
        &[&local, &local],
        // The tunnel has set the Host to the address that it forwards to.
        &[&local, "X-Forwarded-Host: abc.ngrok.app"],
        &[&local, "X-Forwarded-For: 203.0.113.9"],
        &[&local, "CF-Connecting-IP: 203.0.113.9"],
    ] {
        refused(&get(&server, "/results", lines), &format!("{lines:?}"));
        assert_eq!(get(&server, "/health", lines).status, 200, "{lines:?}");
    }
    // The absolute form has a host of its own.
    refused(
        &get(&server, "http://evil.example/results", &[&local]),
        "the target",
    );
    refused(
        &get(&server, "http://localhost/results", &["Host: evil.example"]),
        "the Host",
    );
    assert_eq!(get(&server, "http://localhost/results", &[&local]).status, 200);
    // HTTP/1.0 needs no Host.
    refused(
        &raw(&address(&server), "GET /results HTTP/1.0\r\n\r\n"),
        "HTTP/1.0",
    );
    for target in ["/webhook/../results", "//results", "/%72esults", "/nothing"] {
        refused(&get(&server, target, &["Host: evil.example"]), target);
        assert_eq!(get(&server, target, &[&local]).status, 404, "{target}");
    }
}

#[test]
fn a_delivery_is_accepted_whatever_its_host_is() {
    let server = serve(&[], Some(SECRET));
    for (n, lines) in [
        "Host: abc.ngrok.app\r\nX-Forwarded-For: 203.0.113.9\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: \r\n",
    ]
    .iter()
    .enumerate()
    {
        let id = format!("event-{n}");
        let body = deepfake(&id, "session", 0.5).to_string();
        let request = format!(
            "POST /webhook HTTP/1.1\r\n{lines}connection: close\r\nx-sonotheia-signature: {}\r\ncontent-length: {}\r\n\r\n{body}",
            sign(&body, SECRET),
            body.len()
        );
        let answer = raw(&address(&server), request);
        assert_eq!(answer.status, 200, "{lines}: {}", answer.body);
        let receipt: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(
            receipt,
            json!({"received": true, "duplicate": false, "event_id": id})
        );
    }
}

#[test]
fn the_embedded_dynamodb_is_for_programs_of_this_machine() {
    let server = serve(&[], Some(SECRET));
    server.deliver(&deepfake("an-event", "a-session", 0.5).to_string());
    let endpoint = server
        .table()
        .last()
        .unwrap()
        .trim_start_matches("http://")
        .to_owned();
    let body = r#"{"TableName":"sonotheia-events"}"#;
    let scan = |host: &str, more: &str| {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\nX-Amz-Target: DynamoDB_20120810.Scan\r\n\
             Content-Type: application/x-amz-json-1.0\r\nX-Amz-Date: 20260101T000000Z\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/dynamodb/aws4_request, \
             SignedHeaders=host, Signature=a\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        raw(&endpoint, request)
    };
    let program = scan(&endpoint, "");
    assert!(
        program.status == 200 && program.body.contains("an-event"),
        "{}",
        program.body
    );
    for (host, more) in [
        // The name of another site that points to this machine.
        ("evil.example", ""),
        ("", ""),
        // A page of another site, and a page in a file.
        (endpoint.as_str(), "Origin: https://evil.example\r\n"),
        (endpoint.as_str(), "Origin: null\r\n"),
        (endpoint.as_str(), "X-Forwarded-For: 203.0.113.9\r\n"),
    ] {
        let page = scan(host, more);
        assert_eq!(page.status, 403, "{host} {more}");
        assert!(!page.body.contains("an-event"));
        assert!(
            !page.head.to_lowercase().contains("access-control"),
            "{}",
            page.head
        );
    }
    let asks = format!(
        "OPTIONS / HTTP/1.1\r\nHost: {endpoint}\r\nOrigin: https://evil.example\r\nConnection: close\r\n\r\n"
    );
    let answer = raw(&endpoint, asks);
    assert_eq!(answer.status, 403);
    assert!(
        !answer.head.to_lowercase().contains("access-control"),
        "{}",
        answer.head
    );
}
