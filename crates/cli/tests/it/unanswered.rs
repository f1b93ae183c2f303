//! Requests without an answer: each fault has a message of its own, which says what happened and what to do. The commands
//! that speak HTTP share the messages.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;

use super::mock::{Mock, answer};
use super::{failed, run_with, serve, text};
use testkit::SECRET;

/// A server that does `serve` with each connection.
fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let serve = std::sync::Arc::new(serve);
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn head(stream: &mut TcpStream) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
}

struct Fault {
    url: String,
    environment: Vec<(&'static str, String)>,
    /// The texts that the message has.
    says: Vec<&'static str>,
}

fn fault(url: impl Into<String>, says: &[&'static str]) -> Fault {
    Fault {
        url: url.into(),
        environment: Vec::new(),
        says: says.to_vec(),
    }
}

impl Fault {
    fn with(mut self, variable: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((variable, value.into()));
        self
    }
}

/// Runs the commands that send HTTP to the fault's address.
fn outputs(fault: &Fault) -> Vec<(&'static str, Output)> {
    let url = fault.url.as_str();
    let mut environment: Vec<(&str, &str)> = fault
        .environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    environment.push(("SONOTHEIA_API_KEY", "k"));
    let webhook = "https://receiver.example/webhook";
    // The key of the API goes over http to this machine only.
    let can_register = url.starts_with("https://") || url.starts_with("http://127.0.0.1");
    let mut commands: Vec<(&str, Vec<&str>)> = vec![
        ("send", vec!["send", "--secret", SECRET, "--url", url]),
        ("results", vec!["results", "--url", url]),
        (
            "doctor",
            vec!["doctor", "--secret", SECRET, "--allow-skipped", "--url", url],
        ),
    ];
    if can_register {
        let register = [
            "register",
            webhook,
            "--apply",
            "--secret",
            SECRET,
            "--base-url",
            url,
        ];
        commands.push(("register", register.to_vec()));
    }
    std::thread::scope(|scope| {
        let run = |(name, arguments): (&'static str, Vec<&str>)| {
            let environment = &environment;
            let arguments: Vec<String> = arguments.into_iter().map(String::from).collect();
            let output = scope.spawn(move || {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                run_with(&arguments, environment, "")
            });
            (name, output)
        };
        let running: Vec<_> = commands.into_iter().map(run).collect();
        let done = running
            .into_iter()
            .map(|(name, output)| (name, output.join().unwrap()));
        done.collect()
    })
}

#[test]
fn each_fault_has_a_message_of_its_own_in_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let (tls, roots) = super::tls::server(folder.path());
    let plain = serve(&[], Some(SECRET));
    let plain = plain.url.strip_prefix("http://").unwrap();
    let silent = server(|mut stream| {
        head(&mut stream);
        std::thread::sleep(std::time::Duration::from_secs(30));
    });
    let closing = server(|mut stream| head(&mut stream));
    let halved = server(|mut stream| {
        head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{");
    });
    let other = server(|mut stream| {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n");
        head(&mut stream);
    });
    let (refusing, _seen) = super::proxies::proxy();
    let nowhere = "http://no-such-host.invalid";
    let faults = [
        fault(
            "http://127.0.0.1:9",
            &["127.0.0.1:9 was refused", "no program listens there"],
        ),
        fault(
            "https://no-such-host.invalid",
            &["no-such-host.invalid:443 has no address"],
        ),
        fault(nowhere, &["no-such-host.invalid:80 has no address"]),
        fault(
            format!("https://{plain}"),
            &["does not speak TLS", "write http://"],
        ),
        fault(format!("http://127.0.0.1:{tls}"), &["write https://"]).with("X", ""),
        fault(
            format!("https://localhost:{tls}"),
            &["no trusted root", "SSL_CERT_FILE"],
        ),
        fault(
            format!("https://127.0.0.1:{tls}"),
            &["is for another name", "use the name"],
        )
        .with("SSL_CERT_FILE", roots.to_str().unwrap()),
        fault(
            format!("http://{silent}"),
            &["did not answer in time", "see the log"],
        ),
        fault(
            format!("https://{silent}"),
            &["did not answer in time", "see the log"],
        ),
        fault(
            format!("http://{closing}"),
            &["closed the connection", "see the log"],
        ),
        fault(
            format!("http://{halved}"),
            &["closed the connection before its answer was complete"],
        ),
        fault(
            format!("http://{other}"),
            &["does not answer in HTTP", "what program listens"],
        ),
        fault(
            "https://receiver.example",
            &["the proxy 127.0.0.1:9 of HTTPS_PROXY was refused", "NO_PROXY"],
        )
        .with("HTTPS_PROXY", "http://user:pass@127.0.0.1:9"),
        fault(
            "http://receiver.example",
            &["the proxy 127.0.0.1:9 of all_proxy was refused", "NO_PROXY"],
        )
        .with("all_proxy", "127.0.0.1:9"),
        fault(
            "https://receiver.example",
            &["the name of the proxy no-such-host.invalid:1 of HTTPS_PROXY has no address"],
        )
        .with("HTTPS_PROXY", "no-such-host.invalid:1"),
        fault(
            "https://receiver.example",
            &["did not connect to receiver.example:443", "403", "NO_PROXY"],
        )
        .with("HTTPS_PROXY", refusing),
        fault("https://receiver.example", &["HTTPS_PROXY is not an address"]).with("HTTPS_PROXY", "a b"),
        fault("https://receiver.example", &["SSL_CERT_FILE"]).with("SSL_CERT_FILE", "/no/such/file"),
    ];
    std::thread::scope(|scope| {
        for fault in &faults {
            scope.spawn(move || {
                for (command, output) in outputs(fault) {
                    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
                    let context = format!("{command} {}: {said}", fault.url);
                    assert_eq!(output.status.code(), Some(1), "{context}");
                    for says in &fault.says {
                        assert!(said.contains(says), "{says:?} in {context}");
                    }
                    assert!(!said.contains("panicked") && !said.contains("pass"), "{context}");
                    // Only a missing program is a reason to start one.
                    let is_proxy = fault.says[0].contains("proxy");
                    let is_about_the_address = !is_proxy
                        && (fault.says[0].contains("no address") || fault.says[0].contains("refused"));
                    let starts = said.contains("sonotheia serve");
                    assert_eq!(starts, is_about_the_address && command != "register", "{context}");
                }
            });
        }
    });
}

#[test]
fn an_answer_to_a_body_that_is_too_large_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("large");
    std::fs::write(&file, vec![b'x'; 10_000_000]).unwrap();
    let send = |url: &str| {
        let file = file.to_str().unwrap();
        run_with(
            &["send", "--file", file, "--secret", SECRET, "--url", url],
            &[],
            "",
        )
    };
    let receiver = serve(&[], Some(SECRET));
    let refusal = "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 28\r\nconnection: close\r\n\r\n{\"code\":\"payload_too_large\"}";
    // Servers that read nothing of the body, or a part of it, before they answer and close.
    let mut addresses = vec![receiver.url.clone()];
    for part in [0, 100_000, 3_000_000] {
        let address = server(move |mut stream| {
            head(&mut stream);
            let _ = stream.read_exact(&mut vec![0; part]);
            let _ = stream.write_all(refusal.as_bytes());
        });
        addresses.push(format!("http://{address}"));
    }
    for address in addresses {
        let output = send(&address);
        let said = text(&output.stdout);
        assert!(
            said.starts_with("413 payload_too_large"),
            "{address}: {said}{}",
            text(&output.stderr)
        );
        failed(&output, "1 of 1 answers were not the expected answers");
    }
    // A server that closes without an answer has not said anything about the size.
    let closing = server(|mut stream| head(&mut stream));
    failed(&send(&format!("http://{closing}")), "closed the connection");
}

#[test]
fn reconcile_reports_the_same_faults() {
    let receiver = serve(&[], Some(SECRET));
    let reconcile = |url: &str| {
        let arguments = [&["reconcile", "--base-url", url], &receiver.table()[..]].concat();
        run_with(&arguments, &[("SONOTHEIA_API_KEY", "k")], "")
    };
    let refused = reconcile("http://127.0.0.1:9");
    failed(&refused, "no answer from Sonotheia's API");
    failed(&refused, "127.0.0.1:9 was refused");
    failed(&refused, "--base-url");
    let plain = receiver.url.replace("http://", "https://");
    failed(&reconcile(&plain), "does not speak TLS");
}

#[test]
fn a_wrong_secret_is_named_by_its_place() {
    let receiver = serve(&[], Some(SECRET));
    let send = ["send", "sar.filed", "--url", &receiver.url];
    let typed = run_with(&[&send[..], &["--secret", "another"]].concat(), &[], "");
    failed(&typed, "the receiver has another secret than --secret");
    failed(&typed, "`serve` prints its secret");
    let variable = run_with(&send, &[("SONOTHEIA_WEBHOOK_SECRET", "another")], "");
    failed(
        &variable,
        "the receiver has another secret than SONOTHEIA_WEBHOOK_SECRET",
    );
    assert!(!text(&variable.stderr).contains("another\n"));
    // A 401 that was expected says nothing about the secret.
    let forged = run_with(
        &[&send[..], &["--secret", SECRET, "--corrupt", "100"]].concat(),
        &[],
        "",
    );
    assert_eq!(forged.status.code(), Some(0));
    // An error of another kind does not blame the secret.
    let down = Mock::start(|_| answer(503, "{}"));
    let output = run_with(
        &["send", "sar.filed", "--url", &down.url, "--secret", SECRET],
        &[],
        "",
    );
    failed(&output, "1 of 1 answers");
    assert!(
        !text(&output.stderr).contains("secret"),
        "{}",
        text(&output.stderr)
    );
}
