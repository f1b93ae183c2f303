//! TLS: a proxy or an endpoint whose certificate a company's own authority signed, and tunnels through a proxy.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{failed, run_with, succeeded};

/// Reads a request to the end of its headers.
fn head(stream: &mut impl Read) -> String {
    let (mut head, mut byte) = (String::new(), [0]);
    while !head.ends_with("\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0].into());
    }
    head
}

/// A proxy that makes tunnels to `port` of this machine, whatever the request names. Returns its port, and the requests.
fn tunnel(port: u16) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    let (send, seen) = mpsc::channel();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let _ = send.send(head(&mut client));
            let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut server, &mut client);
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
    (own, seen)
}

/// A server with a certificate for `localhost`, `aws.example` and `api.example`, which answers each request with `{}`.
/// Returns its port and the file of its root.
pub fn server(folder: &Path) -> (u16, PathBuf) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(["localhost", "aws.example", "api.example"].map(String::from)).unwrap();
    let certificate = certificate.signed_by(&key, &authority).unwrap();
    let roots = folder.join("roots.pem");
    std::fs::write(&roots, authority.pem()).unwrap();

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let tls = Arc::new(tls);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = StreamOwned::new(ServerConnection::new(tls.clone()).unwrap(), stream);
            let head = head(&mut stream);
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.trim().parse().ok())?
            });
            let mut body = vec![0; length.unwrap_or(0)];
            let _ = stream.read_exact(&mut body);
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
            let _ = stream.write_all(answer.as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (port, roots)
}

#[test]
fn the_file_of_roots_counts_for_aws_and_for_sonotheias_api() {
    let folder = tempfile::tempdir().unwrap();
    let (port, roots) = server(folder.path());
    let url = format!("https://localhost:{port}");
    let roots = ("SSL_CERT_FILE", roots.to_str().unwrap());
    let aws = [
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
        ("AWS_ENDPOINT_URL_DYNAMODB", &url),
    ];
    let get = ["redrive", "--table", "t", "--region", "eu-central-1"];
    let trusting = run_with(&get, &[&aws[..], &[roots]].concat(), "");
    assert_eq!(succeeded(&trusting), "0 rejected\n");
    let begun = Instant::now();
    failed(
        &run_with(&get, &aws, ""),
        "no trusted root signed the server's certificate",
    );
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());

    let webhook = "https://receiver.example/webhook";
    let register = [
        "register",
        webhook,
        "--base-url",
        &url,
        "--apply",
        "--secret",
        "s",
    ];
    let key = ("SONOTHEIA_API_KEY", "k");
    succeeded(&run_with(&register, &[key, roots], ""));
    failed(&run_with(&register, &[key], ""), "no answer from Sonotheia's API");
    // A file that cannot be used is an error, before the key goes anywhere.
    let none = run_with(&register, &[key, ("SSL_CERT_FILE", "/no/such/file")], "");
    failed(&none, "SSL_CERT_FILE names /no/such/file");
}

#[test]
fn a_proxy_that_asks_for_a_password_tunnels_to_aws_and_to_sonotheias_api() {
    let folder = tempfile::tempdir().unwrap();
    let (port, roots) = server(folder.path());
    let (proxy, seen) = tunnel(port);
    let proxy = format!("http://user:p%40ss@127.0.0.1:{proxy}");
    let environment = [
        ("SSL_CERT_FILE", roots.to_str().unwrap()),
        ("HTTPS_PROXY", &proxy),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "https://aws.example"),
        ("SONOTHEIA_API_KEY", "k"),
    ];
    let redrive = ["redrive", "--table", "t", "--region", "eu-central-1"];
    assert_eq!(succeeded(&run_with(&redrive, &environment, "")), "0 rejected\n");
    let webhook = "https://receiver.example/webhook";
    let register = [
        "register",
        webhook,
        "--base-url",
        "https://api.example",
        "--apply",
        "--secret",
        "s",
    ];
    succeeded(&run_with(&register, &environment, ""));
    let seen: Vec<_> = seen.try_iter().collect();
    for host in ["aws.example:443", "api.example:443"] {
        let is_for_host = |request: &&String| request.starts_with(&format!("CONNECT {host} HTTP/1.1\r\n"));
        let request = seen
            .iter()
            .find(is_for_host)
            .unwrap_or_else(|| panic!("{host} in {seen:?}"));
        // The password goes to the proxy, and the key goes to the API inside of TLS only.
        let request = request.to_ascii_lowercase();
        assert!(
            request.contains("proxy-authorization: basic dxnlcjpwqhnz\r\n"),
            "{request}"
        );
        assert!(
            !request.contains("bearer") && !request.contains("x-api-key"),
            "{request}"
        );
    }
}
