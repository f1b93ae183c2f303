//! Proxies: the variables that name them, the hosts they are not for, and credentials behind them.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

use super::environment::with;
use super::mock::{Mock, answer};
use super::{document, failed, run_with, serve, text};
use testkit::{SECRET, deepfake};

/// A proxy that notes the first line of each request, and answers `403`.
pub fn proxy() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (send, seen) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = String::new();
            let mut byte = [0];
            while !head.ends_with("\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                head.push(byte[0].into());
            }
            let _ = send.send(head.lines().next().unwrap_or_default().to_owned());
            let _ =
                stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    (address, seen)
}

#[test]
fn calls_to_aws_use_the_proxy_and_no_proxy_leaves_them_out() {
    let (address, seen) = proxy();
    let proxy = format!("http://{address}");
    let results = ["results", "--table", "t", "--region", "eu-central-1"];
    let output = run_with(&results, &with(&[("HTTPS_PROXY", &proxy)]), "");
    failed(&output, "proxies' variables");
    assert_eq!(
        seen.try_recv().unwrap(),
        "CONNECT dynamodb.eu-central-1.amazonaws.com:443 HTTP/1.1"
    );
    let fetch = [
        "doctor",
        "--json",
        "--secret-id",
        "s",
        "--region",
        "eu-west-1",
        "--url",
        "http://127.0.0.1:9",
    ];
    run_with(&fetch, &with(&[("https_proxy", &address)]), "");
    let asked: Vec<_> = seen.try_iter().collect();
    assert!(
        asked.contains(&"CONNECT secretsmanager.eu-west-1.amazonaws.com:443 HTTP/1.1".to_owned()),
        "{asked:?}"
    );

    let plain = with(&[
        ("http_proxy", &proxy),
        ("AWS_ENDPOINT_URL_DYNAMODB", "http://dynamodb.example:8000"),
    ]);
    run_with(&results, &plain, "");
    assert!(seen.try_recv().unwrap().contains("dynamodb.example:8000"));

    for list in [
        "*",
        "amazonaws.com",
        ".amazonaws.com",
        "a.example, dynamodb.eu-central-1.amazonaws.com:443",
    ] {
        let environment = with(&[("HTTPS_PROXY", &proxy), ("NO_PROXY", list)]);
        run_with(&results, &environment, "");
        assert!(seen.try_recv().is_err(), "{list}");
    }
}

#[test]
fn sonotheias_api_is_called_through_the_proxy() {
    let (address, seen) = proxy();
    let url = "https://receiver.example/webhook";
    let arguments = ["register", url, "--apply", "--secret", "s"];
    let environment = [("ALL_PROXY", address.as_str()), ("SONOTHEIA_API_KEY", "k")];
    failed(
        &run_with(&arguments, &environment, ""),
        "no answer from Sonotheia's API",
    );
    assert_eq!(seen.try_recv().unwrap(), "CONNECT api.sonotheia.com:443 HTTP/1.1");
}

#[test]
fn no_proxy_is_used_on_the_way_to_this_machine() {
    let (address, seen) = proxy();
    let proxies = [("HTTP_PROXY", address.as_str()), ("ALL_PROXY", address.as_str())];
    let server = serve(&[], Some(SECRET));
    server.deliver(&deepfake("event-1", "session", 0.5).to_string());
    let port = server.url.rsplit(':').next().unwrap();
    for host in [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "127.1",
        "0x7f.1",
        "[::ffff:127.0.0.1]",
    ] {
        let url = format!("http://{host}:{port}");
        let output = run_with(&["results", "--json", "--url", &url], &proxies, "");
        assert_eq!(document(&output)["count"], 1, "{url}");
    }
    let arguments = [&["results", "--json"], &server.table()[..]].concat();
    assert_eq!(document(&run_with(&arguments, &proxies, ""))["count"], 1);
    assert!(seen.try_recv().is_err());
}

#[test]
fn a_proxy_that_cannot_be_used_is_reported_by_its_variable() {
    for value in ["socks5://u:pass@127.0.0.1:1", "http://127.0.0.1:8O80"] {
        for arguments in [
            &["results", "--table", "t", "--region", "eu-central-1"][..],
            &["results", "--url", "https://receiver.example"],
            &["send", "--url", "https://receiver.example", "--secret", "s"],
            &["doctor", "--url", "https://receiver.example"],
            &[
                "register",
                "https://receiver.example/webhook",
                "--apply",
                "--secret",
                "s",
            ],
        ] {
            let environment = with(&[("HTTPS_PROXY", value), ("SONOTHEIA_API_KEY", "k")]);
            let output = run_with(arguments, &environment, "");
            let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("HTTPS_PROXY") && !said.contains("pass"), "{said}");
        }
    }
}

#[test]
fn a_command_that_needs_no_proxy_does_not_read_the_variables() {
    let server = serve(&[], Some(SECRET));
    let endpoint = server.table().last().unwrap().to_string();
    let port = server.url.rsplit(':').next().unwrap();
    let webhook = "https://receiver.example/webhook";
    let signature = testkit::sign("body", SECRET);
    for variable in [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "all_proxy",
    ] {
        // Another fault for each variable, since each value costs seven processes.
        for value in [match variable {
            "HTTP_PROXY" | "http_proxy" => "garbage garbage",
            "HTTPS_PROXY" => "http://127.0.0.1:8O80",
            _ => "socks5://127.0.0.1:1",
        }] {
            let environment = [(variable, value)];
            let on_this_machine = format!("http://localhost:{port}");
            for arguments in [
                &["sign", "--secret", SECRET][..],
                &["verify", "--secret", SECRET, "--signature", &signature],
                &["send", "sar.filed", "--secret", SECRET, "--url", &on_this_machine],
                &["results", "--url", &on_this_machine],
                &["tail", "--table", "sonotheia-events", "--dynamodb", &endpoint],
                &["register", webhook, "--secret", "s"],
                &["completions", "bash"],
            ] {
                let output = run_with(arguments, &environment, "body");
                assert_eq!(
                    output.status.code(),
                    Some(0),
                    "{variable}={value} {arguments:?}: {}",
                    text(&output.stderr)
                );
            }
        }
    }
    // The variable of https does not matter to http.
    let (address, seen) = proxy();
    let environment = [
        ("HTTP_PROXY", address.as_str()),
        ("HTTPS_PROXY", "garbage garbage"),
    ];
    let url = "http://receiver.example";
    run_with(&["send", "--secret", "s", "--url", url], &environment, "");
    assert_eq!(seen.try_recv().unwrap(), "CONNECT receiver.example:80 HTTP/1.1");
}

#[test]
fn credentials_of_a_container_an_instance_and_a_role_work_behind_a_proxy() {
    let (proxy, seen) = proxy();
    let keys = |form: &str| {
        format!(
            r#"{{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"KEYOF{form}","SecretAccessKey":"s","Token":"t","Expiration":"2099-01-01T00:00:00Z"}}"#
        )
    };
    let services = Mock::start(move |seen| {
        let path = seen.path.as_str();
        if path == "/container" {
            return answer(200, keys("CONTAINER"));
        }
        match path {
            "/latest/api/token" => answer_text("token", "21600"),
            "/latest/meta-data/iam/security-credentials/"
            | "/latest/meta-data/iam/security-credentials-extended/" => answer(200, "role"),
            path if path.ends_with("/role") => answer(200, keys("INSTANCE")),
            // STS.
            "/" if seen.body.starts_with(b"Action=AssumeRole") => {
                let xml = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>KEYOFROLE</AccessKeyId>\
                    <SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
                    <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
                answer(200, xml)
            }
            // DynamoDB, which finds no record.
            _ => answer(400, r#"{"__type":"AccessDeniedException"}"#),
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    let role = "[profile base]\naws_access_key_id = a\naws_secret_access_key = b\n[profile role]\n\
        role_arn = arn:aws:iam::123456789012:role/r\nsource_profile = base\n";
    std::fs::write(&file, role).unwrap();
    let container = format!("{}/container", services.url);
    let cases: [(&str, &[(&str, &str)]); 3] = [
        ("CONTAINER", &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container)]),
        (
            "INSTANCE",
            &[
                ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &services.url),
                ("AWS_EC2_METADATA_DISABLED", "false"),
            ],
        ),
        (
            "ROLE",
            &[
                ("AWS_PROFILE", "role"),
                ("AWS_CONFIG_FILE", file.to_str().unwrap()),
            ],
        ),
    ];
    let results = ["results", "--table", "t", "--region", "eu-central-1"];
    for (name, variables) in cases {
        let common = [
            ("AWS_ENDPOINT_URL", services.url.as_str()),
            ("HTTP_PROXY", &proxy),
            ("HTTPS_PROXY", &proxy),
        ];
        let output = run_with(&results, &[&common, variables].concat(), "");
        failed(&output, "AccessDeniedException");
        let all = services.seen();
        let signed = all.last().unwrap().header("authorization");
        assert!(
            signed.contains(&format!("Credential=KEYOF{name}/")),
            "{name}: {signed}"
        );
    }
    assert!(
        seen.try_recv().is_err(),
        "a proxy was used on the way to this machine"
    );
}

fn answer_text(body: &'static str, ttl: &str) -> axum::response::Response {
    let response = axum::response::Response::builder().header("x-aws-ec2-metadata-token-ttl-seconds", ttl);
    response.body(axum::body::Body::from(body)).unwrap()
}
