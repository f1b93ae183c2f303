//! `doctor` names the cause and the remedy of each planted fault. [`faults`] is the list.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::response::Response;
use serde_json::{Value, json};

use super::mock::{Mock, Seen, answer};
use super::{run_with, serve, text};
use testkit::SECRET;

/// A set-up with one fault, and the report that it should get.
struct Fault {
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    check: &'static str,
    cause: &'static str,
    remedy: &'static str,
}

/// The places that `doctor` looks at.
struct Places {
    receiver: String,
    tls: u16,
    silent: String,
    aws: Mock,
    receivers: Mock,
}

fn at(url: impl Into<String>, check: &'static str, cause: &'static str, remedy: &'static str) -> Fault {
    let arguments = [
        "--url".to_owned(),
        url.into(),
        "--secret".to_owned(),
        SECRET.to_owned(),
    ];
    Fault {
        arguments: arguments.to_vec(),
        environment: Vec::new(),
        check,
        cause,
        remedy,
    }
}

impl Fault {
    fn with(mut self, variable: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((variable, value.into()));
        self
    }
}

impl Places {
    /// A receiver of the mock whose path names its fault.
    fn receiver(&self, fault: &str, check: &'static str, cause: &'static str, remedy: &'static str) -> Fault {
        let url = format!("{}/{fault}/webhook", self.receivers.url);
        at(url, check, cause, remedy)
    }

    fn secret(&self, option: [&str; 2], cause: &'static str, remedy: &'static str) -> Fault {
        let mut arguments = vec!["--url".to_owned(), self.receiver.clone()];
        arguments.extend(option.map(String::from));
        Fault {
            arguments,
            environment: self.credentials(),
            check: "secret",
            cause,
            remedy,
        }
    }

    fn table(&self, name: &str, check: &'static str, cause: &'static str, remedy: &'static str) -> Fault {
        let mut fault = at(self.receiver.clone(), check, cause, remedy);
        fault.arguments.extend(["--table".to_owned(), name.to_owned()]);
        fault.environment = self.credentials();
        fault
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        let variables = [
            ("AWS_ENDPOINT_URL", self.aws.url.as_str()),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "b"),
        ];
        variables.map(|(name, value)| (name, value.to_owned())).to_vec()
    }
}

/// The faults. Each has the name of the check, a part of the cause, and a part of the remedy.
fn faults(places: &Places) -> Vec<Fault> {
    let plain = &places.receiver;
    let https = plain.replace("http://", "https://");
    let tls = places.tls;
    let of = |fault, check, cause, remedy| places.receiver(fault, check, cause, remedy);
    vec![
        // No answer.
        at("http://127.0.0.1:9", "receiver", "was refused", "sonotheia serve"),
        at(
            "http://no-such-host.invalid",
            "receiver",
            "has no address",
            "--url",
        ),
        at(https, "receiver", "does not speak TLS", "write http://"),
        at(
            format!("https://localhost:{tls}"),
            "receiver",
            "no trusted root",
            "SSL_CERT_FILE",
        ),
        at(
            format!("http://{}", places.silent),
            "receiver",
            "closed the connection",
            "log",
        ),
        at(
            "https://receiver.example",
            "receiver",
            "HTTPS_PROXY is not an address",
            "unset it",
        )
        .with("HTTPS_PROXY", "a b"),
        at(
            "https://receiver.example",
            "receiver",
            "of HTTPS_PROXY was refused",
            "NO_PROXY",
        )
        .with("HTTPS_PROXY", "127.0.0.1:9"),
        at(
            "https://receiver.example",
            "receiver",
            "SSL_CERT_FILE names /no/such/file",
            "run the command again",
        )
        .with("SSL_CERT_FILE", "/no/such/file"),
        // Another answer than the receiver's.
        of(
            "lax",
            "forged event",
            "anybody can send events",
            "what runs at that address",
        ),
        of(
            "lax",
            "signed event",
            "not this receiver's",
            "what runs at that address",
        ),
        of("nothing", "forged event", "answered it with 404", "WebhookUrl"),
        of("moved", "forged event", "answered it with 301", "WebhookUrl"),
        of("forbidden", "forged event", "refused it with 403", "firewall"),
        of("down", "forged event", "no usable secret", "permission"),
        of("yesterday", "clock", "apart", "NTP"),
        of("tomorrow", "clock", "apart", "NTP"),
        of(
            "other-secret",
            "signed event",
            "answered it with 401",
            "another secret",
        ),
        of("no-table", "signed event", "answered it with 503", "log"),
        of("small", "signed event", "answered it with 413", "MaxBodyBytes"),
        of("limited", "signed event", "answered it with 429", "RateLimit"),
        of("defect", "signed event", "answered it with 500", "log"),
        of("forgetful", "signed event", "were not answered with", "one table"),
        // The secret.
        places.secret(["--secret", ""], "empty", "rotate-secret put"),
        places.secret(
            ["--secret", "s\n"],
            "line break at its end",
            "store the secret without it",
        ),
        places.secret(["--secret", " s"], "blanks", "store the secret without it"),
        places.secret(["--secret-id", "none"], "there is no secret none", "SecretArn"),
        places.secret(
            ["--secret-id", "denied"],
            "AccessDeniedException",
            "do not allow the call",
        ),
        places.secret(["--secret-id", "other"], "webhook_secret", "webhook_secret"),
        places.secret(["--secret-id", "empty"], "empty", "store a string"),
        places.secret(["--secret-id", "broken"], "not usable", "store a string"),
        // The table.
        places.table("none", "table", "ResourceNotFoundException", "EventsTableName"),
        places.table(
            "denied",
            "table",
            "AccessDeniedException",
            "do not allow the call",
        ),
        places.table("expired", "table", "ExpiredTokenException", "sign in again"),
        places.table("throttled", "table", "ThrottlingException", "wait a minute"),
        places.table("foreign", "table", "another program's table", "EventsTableName"),
        places.table("creating", "table", "is CREATING", "wait until it is ACTIVE"),
        places.table(
            "bare",
            "indexes",
            "by_session is missing; by_time is missing",
            "deploy the template's table",
        ),
        places.table(
            "other-keys",
            "indexes",
            "has other keys",
            "delete an index that is wrong",
        ),
        places.table("lacking", "indexes", "lacks", "deploy the template's table"),
        places.table("no-ttl", "TTL", "it is off", "update-time-to-live"),
        places.table("other-ttl", "TTL", "it uses ttl", "switch it off first"),
        places.table(
            "no-pitr",
            "PITR",
            "point-in-time recovery is off",
            "update-continuous-backups",
        ),
        // AWS's settings.
        places
            .table("t", "table", "AWS_PROFILE names nope", "no such profile")
            .with("AWS_PROFILE", "nope"),
        places
            .table("t", "table", "the region is not known", "AWS_REGION")
            .with("AWS_REGION", ""),
        places
            .table("t", "table", "AWS_ENDPOINT_URL", "set it")
            .with("AWS_ENDPOINT_URL", "127.0.0.1:8000"),
        places
            .table("t", "table", "t: ", "connection was refused")
            .with("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        places
            .table("t", "table", "t: ", "there are no AWS credentials")
            .with("AWS_ACCESS_KEY_ID", ""),
    ]
}

#[test]
fn doctor_names_the_cause_and_the_remedy_of_each_planted_fault() {
    let folder = tempfile::tempdir().unwrap();
    let (tls, _roots) = super::tls::server(folder.path());
    let receiver = serve(&[], Some(SECRET));
    let closing = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let places = Places {
        receiver: receiver.url.clone(),
        tls,
        silent: closing.local_addr().unwrap().to_string(),
        aws: Mock::start(aws),
        receivers: Mock::start(receivers()),
    };
    std::thread::spawn(move || closing.incoming().for_each(drop));
    let faults = faults(&places);
    assert!(faults.len() >= 30, "{}", faults.len());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    is_named(fault);
                }
            });
        }
    });
}

fn is_named(fault: &Fault) {
    let mut arguments = vec!["doctor", "--json"];
    arguments.extend(fault.arguments.iter().map(String::as_str));
    let environment: Vec<_> = fault
        .environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let output = run_with(&arguments, &environment, "");
    let said = format!("{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    let mut checks = report["checks"].as_array().unwrap().iter();
    let check = checks
        .find(|check| check["name"] == fault.check)
        .unwrap_or_else(|| panic!("{} in {said}", fault.check));
    assert_eq!(check["status"], "wrong", "{said}");
    let (message, mend) = (
        check["message"].as_str().unwrap(),
        check["mend"].as_str().unwrap(),
    );
    assert!(message.contains(fault.cause), "{:?} in {check}", fault.cause);
    // Some messages of the SDK's settings have their remedy in them.
    assert!(
        format!("{message} {mend}").contains(fault.remedy),
        "{:?} in {check}",
        fault.remedy
    );
    assert!(
        !said.contains("panicked") && !report.to_string().contains(SECRET),
        "{said}"
    );
}

/// Receivers with a fault, which the path names.
fn receivers() -> impl Fn(&Seen) -> Response + Send + Sync {
    |seen| {
        let is_signed = seen.header("x-sonotheia-signature") == testkit::sign(seen.body_text(), SECRET);
        let with_date = |status: u16, date: &str| {
            let response = Response::builder().status(status).header("date", date);
            response.body(Body::from("{}")).unwrap()
        };
        let fault = seen.path.split('/').nth(1).unwrap_or_default();
        let signed = |status: u16, body: &str| answer(if is_signed { status } else { 401 }, body);
        match fault {
            "lax" => answer(200, r#"{"received":true}"#),
            "nothing" => answer(404, "{}"),
            "moved" => answer(301, "{}"),
            "forbidden" => answer(403, "{}"),
            "down" => answer(503, "{}"),
            "yesterday" => with_date(401, "Wed, 21 Jan 2026 12:00:00 GMT"),
            "tomorrow" => with_date(401, "Wed, 21 Jan 2099 12:00:00 GMT"),
            "other-secret" => answer(401, "{}"),
            "no-table" => signed(503, "{}"),
            "small" => signed(413, "{}"),
            "limited" => signed(429, "{}"),
            "defect" => signed(500, "{}"),
            "forgetful" => signed(200, r#"{"received":true,"duplicate":false}"#),
            other => panic!("no receiver {other}"),
        }
    }
}

/// AWS with secrets and tables whose names are their faults.
fn aws(seen: &Seen) -> Response {
    let request: Value = serde_json::from_slice(&seen.body).unwrap();
    let call = seen.header("x-amz-target").rsplit('.').next().unwrap_or_default();
    let error = |code: &str| answer(400, json!({"__type": code, "message": "the text"}).to_string());
    let secret = |text: &str| answer(200, json!({"Name": "s", "SecretString": text}).to_string());
    let name = request["TableName"]
        .as_str()
        .or(request["SecretId"].as_str())
        .unwrap_or_default();
    match (call, name) {
        ("GetSecretValue", _) if request["VersionStage"] == "AWSPREVIOUS" => {
            error("ResourceNotFoundException")
        }
        (_, "none") => error("ResourceNotFoundException"),
        (_, "denied") => error("AccessDeniedException"),
        (_, "expired") => error("ExpiredTokenException"),
        (_, "throttled") => error("ThrottlingException"),
        ("GetSecretValue", "other") => secret(r#"{"password":"p"}"#),
        ("GetSecretValue", "empty") => secret(r#"{"webhook_secret":" "}"#),
        ("GetSecretValue", "broken") => secret(r#"{"webhook_secret":"s","#),
        ("DescribeTable", name) => answer(200, json!({"Table": table(name)}).to_string()),
        ("DescribeTimeToLive", name) => {
            let attribute = if name == "other-ttl" { "ttl" } else { "expires_at" };
            let status = if name == "no-ttl" { "DISABLED" } else { "ENABLED" };
            let ttl = json!({"TimeToLiveStatus": status, "AttributeName": attribute});
            answer(200, json!({"TimeToLiveDescription": ttl}).to_string())
        }
        ("DescribeContinuousBackups", name) => {
            let status = if name == "no-pitr" { "DISABLED" } else { "ENABLED" };
            let pitr = json!({"PointInTimeRecoveryStatus": status});
            let backups =
                json!({"ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": pitr});
            answer(200, json!({"ContinuousBackupsDescription": backups}).to_string())
        }
        // Any other read finds nothing.
        _ => answer(200, "{}"),
    }
}

/// The description of a table.
fn table(name: &str) -> Value {
    use sonotheia_webhook::store::schema::{INDEXES, TABLE_KEY};
    let hash = |name: &str| json!({"AttributeName": name, "KeyType": "HASH"});
    let range = |name: &str| json!({"AttributeName": name, "KeyType": "RANGE"});
    let indexes = INDEXES.iter().map(|index| {
        let partition = if name == "other-keys" {
            "x"
        } else {
            index.partition_key
        };
        let projection = if name == "lacking" { "KEYS_ONLY" } else { "ALL" };
        json!({
            "IndexName": index.name,
            "KeySchema": [hash(partition), range(index.sort_key)],
            "Projection": {"ProjectionType": projection},
        })
    });
    let indexes: Vec<_> = indexes.filter(|_| name != "bare").collect();
    json!({
        "TableName": name,
        "TableStatus": if name == "creating" { "CREATING" } else { "ACTIVE" },
        "KeySchema": [hash(if name == "foreign" { "id" } else { TABLE_KEY })],
        "GlobalSecondaryIndexes": indexes,
    })
}
