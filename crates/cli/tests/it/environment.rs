//! The environment of a command: options win over it; profiles, regions, and endpoints that do not answer.

use std::time::{Duration, Instant};

use super::mock::{Mock, answer};
use super::{document, failed, run_with, serve, succeeded, text};
use testkit::{SECRET, deepfake};

const CREDENTIALS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "key")];

/// These variables, and credentials.
pub fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&CREDENTIALS[..], more].concat()
}

#[test]
fn a_profile_that_does_not_exist_is_reported_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    std::fs::write(
        &file,
        "[profile staging]\nregion = eu-west-1\n[profile production]\nregion = eu-west-1\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    for arguments in [
        &["results", "--table", "t"][..],
        &["results", "--table", "t", "--region", "eu-central-1"],
        &["register", "https://receiver.example/webhook", "--secret-id", "s"],
    ] {
        let environment = with(&[("AWS_PROFILE", "nope"), ("AWS_CONFIG_FILE", file)]);
        let output = run_with(arguments, &environment, "");
        failed(&output, "AWS_PROFILE names nope");
        failed(&output, "the profiles are production, staging");
    }
    let none = run_with(&["results", "--table", "t"], &[("AWS_PROFILE", "nope")], "");
    failed(&none, "there are no profiles");
    // An empty variable counts as unset.
    let output = run_with(&["results", "--table", "t"], &[("AWS_PROFILE", "")], "");
    failed(&output, "the region is not known");
}

#[test]
fn an_endpoint_that_refuses_is_reported_at_once() {
    let refused = "http://127.0.0.1:9";
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)]);
    let cases: [Case<'_>; 5] = [
        (&["results", "--table", "t", "--dynamodb", refused], &[]),
        (&["redrive", "--table", "t", "--dynamodb", refused], &[]),
        (
            &["tail", "--table", "t", "--region", "eu-central-1"],
            &[("AWS_ENDPOINT_URL_DYNAMODB", refused)],
        ),
        (
            &[
                "register",
                "https://receiver.example/webhook",
                "--secret-id",
                "s",
                "--region",
                "eu-central-1",
            ],
            &[("AWS_ENDPOINT_URL", refused)],
        ),
        // Nothing listens where the proxy should be.
        (
            &["results", "--table", "t", "--region", "eu-central-1"],
            &[("HTTPS_PROXY", refused)],
        ),
    ];
    for (arguments, environment) in cases {
        let begun = Instant::now();
        let output = run_with(arguments, &with(environment), "");
        failed(&output, "the connection was refused");
        assert!(
            begun.elapsed() < Duration::from_secs(8),
            "{arguments:?} took {:?}",
            begun.elapsed()
        );
    }
    let begun = Instant::now();
    let nowhere = [("AWS_ENDPOINT_URL_DYNAMODB", "http://no-such-host.invalid")];
    let output = run_with(
        &["results", "--table", "t", "--region", "eu-central-1"],
        &with(&nowhere),
        "",
    );
    failed(&output, "the host has no address");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn an_option_wins_over_the_environment() {
    let server = serve(&[], Some(SECRET));
    server.deliver(&deepfake("event-1", "session", 0.5).to_string());
    // The table's options.
    let environment = [
        ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_REGION", "eu-north-1"),
        ("EVENTS_TABLE", "another"),
        ("PORT", "9"),
    ];
    let arguments = [&["results", "--json"], &server.table()[..]].concat();
    assert_eq!(document(&run_with(&arguments, &environment, ""))["count"], 1);

    // The region, for the table and for the secret.
    let aws = Mock::start(|seen| {
        let name = seen
            .header("x-amz-target")
            .rsplit('.')
            .next()
            .unwrap_or_default()
            .to_owned();
        answer(
            400,
            format!(r#"{{"__type":"AccessDeniedException","message":"{name}"}}"#),
        )
    });
    let environment = with(&[("AWS_ENDPOINT_URL", &aws.url), ("AWS_REGION", "eu-north-1")]);
    let arn = "arn:aws:secretsmanager:ap-south-1:123456789012:secret:s-AbCdEf";
    let webhook = "https://receiver.example/webhook";
    let cases: [(&[&str], &str, usize); 6] = [
        (
            &[
                "doctor",
                "--secret-id",
                "s",
                "--table",
                "t",
                "--region",
                "eu-west-1",
                "--url",
                &server.url,
            ],
            "eu-west-1",
            2,
        ),
        (
            &[
                "doctor",
                "--secret-id",
                arn,
                "--region",
                "eu-west-1",
                "--url",
                &server.url,
            ],
            "eu-west-1",
            1,
        ),
        (
            &["register", webhook, "--secret-id", "s", "--region", "eu-west-1"],
            "eu-west-1",
            1,
        ),
        (&["register", webhook, "--secret-id", arn], "ap-south-1", 1),
        (&["register", webhook, "--secret-id", "s"], "eu-north-1", 1),
        (
            &["results", "--table", "t", "--region", "eu-west-1"],
            "eu-west-1",
            1,
        ),
    ];
    let mut before = 0;
    for (arguments, region, calls) in cases {
        let output = run_with(arguments, &environment, "");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let seen = aws.seen();
        let new = &seen[before..];
        assert_eq!(new.len(), calls, "{arguments:?}");
        for seen in new {
            let signed = seen.header("authorization");
            assert!(signed.contains(&format!("/{region}/")), "{arguments:?}: {signed}");
        }
        before = seen.len();
    }
}

#[test]
fn a_secret_in_the_environment_does_not_stand_in_the_way_of_an_option() {
    let url = "https://receiver.example/webhook";
    let variables = [("SONOTHEIA_WEBHOOK_SECRET", "from the variable")];
    let output = run_with(
        &["register", url, "--show-secret", "--secret", "typed"],
        &variables,
        "",
    );
    let shown = succeeded(&output);
    assert!(
        shown.contains("typed") && !shown.contains("from the variable"),
        "{shown}"
    );
    let arn = [("SONOTHEIA_WEBHOOK_SECRET_ARN", "arn")];
    let output = run_with(&["register", url, "--show-secret", "--secret", "typed"], &arn, "");
    assert!(succeeded(&output).contains("typed"));
    let typed = [
        "register",
        url,
        "--secret-id",
        "typed",
        "--region",
        "eu-central-1",
    ];
    let environment = with(&[
        ("SONOTHEIA_WEBHOOK_SECRET", "s"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
    ]);
    failed(&run_with(&typed, &environment, ""), "cannot read secret typed");
}

#[test]
fn a_file_of_certificates_that_cannot_be_used_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roots.pem");
    std::fs::write(&file, "no certificate").unwrap();
    let results = ["results", "--table", "t", "--region", "eu-central-1"];
    for path in [file.to_str().unwrap(), "/no/such/file"] {
        let output = run_with(&results, &with(&[("SSL_CERT_FILE", path)]), "");
        failed(&output, "SSL_CERT_FILE");
    }
}

#[test]
fn a_slip_in_the_sdks_variables_is_reported_and_never_a_panic() {
    let results = ["results", "--table", "t", "--region", "eu-central-1"];
    for (name, value) in [
        ("AWS_RETRY_MODE", "x"),
        ("AWS_MAX_ATTEMPTS", "0"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "127.0.0.1:8000"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:8O80"),
        ("AWS_ACCESS_KEY_ID", "AKID\nEXAMPLE"),
        ("AWS_SESSION_TOKEN", "to\nken"),
        ("AWS_DEFAULT_REGION", "eu central"),
    ] {
        let output = run_with(&results, &with(&[(name, value)]), "");
        failed(&output, &format!("{name} "));
        assert!(
            !text(&output.stderr).contains("EXAMPLE"),
            "{}",
            text(&output.stderr)
        );
    }
    // An empty variable counts as unset, so the other endpoint or AWS's own counts.
    let refused = ("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    let empty = ("AWS_ENDPOINT_URL_DYNAMODB", "");
    failed(
        &run_with(&results, &with(&[refused, empty]), ""),
        "the connection was refused",
    );
    failed(
        &run_with(&results, &with(&[("AWS_ENDPOINT_URL", "")]), ""),
        "the host has no address",
    );
    failed(
        &run_with(&["results", "--table", "t"], &with(&[("AWS_REGION", "")]), ""),
        "the region is not known",
    );
    let output = run_with(
        &["results", "--table", "t", "--region", "eu central"],
        &CREDENTIALS,
        "",
    );
    assert_eq!(output.status.code(), Some(2));
}
