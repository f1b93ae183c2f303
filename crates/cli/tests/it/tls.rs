//! Roots of trust: a proxy or an endpoint whose certificate a company's own authority signed.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{failed, run_with, succeeded};

/// A server with a certificate for `localhost`, which answers each request with `status` and `{}`. Returns its address and
/// the file of its root.
fn server(folder: &Path, status: &'static str) -> (String, PathBuf) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
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
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = StreamOwned::new(ServerConnection::new(tls.clone()).unwrap(), stream);
            let (mut head, mut byte) = (String::new(), [0]);
            while !head.ends_with("\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                head.push(byte[0].into());
            }
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.trim().parse().ok())?
            });
            let mut body = vec![0; length.unwrap_or(0)];
            let _ = stream.read_exact(&mut body);
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
            );
            let _ = stream.write_all(answer.as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (url, roots)
}

#[test]
fn the_file_of_roots_counts_for_aws_and_for_sonotheias_api() {
    let folder = tempfile::tempdir().unwrap();
    let (url, roots) = server(folder.path(), "200 OK");
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
