//! `doctor`: the checks, their results, and how to mend a fault.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use axum::body::Body;
use axum::response::Response;
use serde_json::{Value, json};

use super::mock::{Mock, answer, forward};
use super::{Running, Server, document, failed, run_with, runtime, serve, sonotheia, succeeded, text};
use testkit::SECRET;

const WITH_SECRET: &[(&str, &str)] = &[("SONOTHEIA_WEBHOOK_SECRET", SECRET)];

fn doctor(server: &Server, more: &[&str], environment: &[(&str, &str)]) -> std::process::Output {
    run_with(
        &[&["doctor", "--url", &server.url], more].concat(),
        environment,
        "",
    )
}

/// A check's status and text, of a report in JSON, whatever the exit status.
#[track_caller]
fn check(output: &std::process::Output, name: &str) -> (String, String) {
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["name"] == name);
    let found = found.unwrap_or_else(|| panic!("{name} in {report}"));
    let mend = found["mend"].as_str().unwrap_or_default();
    assert_eq!(found["status"] == "wrong", !mend.is_empty(), "{found}");
    let of = |key: &str| found[key].as_str().unwrap().to_owned();
    (of("status"), format!("{} {mend}", of("message")))
}

#[track_caller]
fn is_wrong(output: &std::process::Output, name: &str, says: &str) {
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    let (status, told) = check(output, name);
    assert_eq!(status, "wrong", "{told}");
    assert!(told.contains(says), "{told}");
    assert!(!text(&output.stdout).contains(SECRET));
}

#[test]
fn a_local_set_up_without_a_fault_passes_all_checks() {
    let server = serve(&[], Some(SECRET));
    let table = server.table();
    let output = doctor(&server, &table, WITH_SECRET);
    let shown = succeeded(&output);
    assert!(
        shown.contains("10 checks: 9 ok, 0 wrong, 1 not applicable"),
        "{shown}"
    );
    assert!(
        shown.contains("-      PITR") && !shown.contains(SECRET),
        "{shown}"
    );
    let probes = document(&server.over_url(&["results", "--type", "system.health_check", "--json"]));
    assert_eq!(probes["count"], 1);
    let output = doctor(
        &server,
        &[&table[..], &["--no-probe", "--json"]].concat(),
        WITH_SECRET,
    );
    assert_eq!(document(&output)["checks"].as_array().unwrap().len(), 8);
    let probes = document(&server.over_url(&["results", "--type", "system.health_check", "--json"]));
    assert_eq!(probes["count"], 1);
}

#[test]
fn another_secret_is_found_and_not_shown() {
    let server = serve(&[], Some(SECRET));
    let output = doctor(
        &server,
        &["--json"],
        &[("SONOTHEIA_WEBHOOK_SECRET", "another one")],
    );
    is_wrong(&output, "signed event", "it has another secret");
    assert_eq!(check(&output, "forged event").0, "ok");
    assert!(!text(&output.stdout).contains("another one"));
    failed(&output, "1 of");
    let output = doctor(&server, &["--json"], &[("SONOTHEIA_WEBHOOK_SECRET", " ")]);
    is_wrong(&output, "secret", "empty");
    let output = doctor(&server, &["--json", "--secret", ""], WITH_SECRET);
    is_wrong(&output, "secret", "empty");
    let ended = format!("{SECRET}\n");
    let output = doctor(&server, &["--json"], &[("SONOTHEIA_WEBHOOK_SECRET", &ended)]);
    is_wrong(&output, "secret", "line break");
}

#[test]
fn checks_that_were_skipped_are_named_and_fail_the_command() {
    let server = serve(&[], Some(SECRET));
    // Without a secret and a table, doctor still makes the checks that need neither. An empty variable counts as unset.
    for environment in [&[][..], &[("SONOTHEIA_WEBHOOK_SECRET", "")]] {
        let output = doctor(&server, &["--json"], environment);
        failed(&output, "3 of 6 checks were not made");
        failed(&output, "--table NAME");
        failed(&output, "--secret-id ID or SONOTHEIA_WEBHOOK_SECRET");
        for name in ["secret", "table", "signed event"] {
            assert_eq!(check(&output, name).0, "skipped");
        }
        for name in ["receiver", "clock", "forged event"] {
            assert_eq!(check(&output, name).0, "ok");
        }
    }
    let output = doctor(&server, &["--allow-skipped"], &[]);
    assert!(succeeded(&output).contains("6 checks: 3 ok, 0 wrong, 3 skipped"));
    let output = run_with(&[&["doctor"], &server.table()[..]].concat(), WITH_SECRET, "");
    failed(&output, "--url URL");
    // A fault counts more than a skipped check.
    let output = doctor(
        &server,
        &["--allow-skipped"],
        &[("SONOTHEIA_WEBHOOK_SECRET", "another")],
    );
    failed(&output, "1 of 6 checks failed, and 1 could not be made");
}

#[test]
fn an_error_of_aws_is_reported_without_its_text() {
    let server = serve(&[], Some(SECRET));
    let aws = Mock::start(|_| {
        answer(
            400,
            r#"{"__type":"AccessDeniedException","message":"User: arn:aws:iam::1:user/u with the_secret_text"}"#,
        )
    });
    let table = ["--json", "--table", "sonotheia-events", "--dynamodb", &aws.url];
    let output = doctor(&server, &table, WITH_SECRET);
    is_wrong(&output, "table", "AccessDeniedException");
    is_wrong(&output, "table", "do not allow the call");
    assert!(!text(&output.stdout).contains("the_secret_text"));
    let output = run_with(&["results", "--table", "t", "--dynamodb", &aws.url], &[], "");
    failed(&output, "AccessDeniedException");
    assert!(!text(&output.stderr).contains("the_secret_text"));
}

#[test]
fn a_table_with_a_fault_or_of_another_program_is_found() {
    let server = serve(&[], Some(SECRET));
    let dynamodb = server.dynamodb();
    runtime().block_on(async {
        for (table, key) in [("bare", "event_id"), ("another", "id")] {
            let schema = KeySchemaElement::builder()
                .attribute_name(key)
                .key_type(KeyType::Hash);
            let attribute = AttributeDefinition::builder().attribute_name(key);
            let attribute = attribute.attribute_type(ScalarAttributeType::S);
            dynamodb
                .create_table()
                .table_name(table)
                .billing_mode(BillingMode::PayPerRequest)
                .key_schema(schema.build().unwrap())
                .attribute_definitions(attribute.build().unwrap())
                .send()
                .await
                .unwrap();
        }
    });
    let endpoint = *server.table().last().unwrap();
    let table = |name: &str| {
        doctor(
            &server,
            &["--json", "--table", name, "--dynamodb", endpoint],
            WITH_SECRET,
        )
    };
    let bare = table("bare");
    is_wrong(&bare, "indexes", "by_session is missing; by_time is missing");
    is_wrong(&bare, "TTL", "update-time-to-live --table-name bare");
    // The receiver has another table.
    is_wrong(&bare, "record", "EVENTS_TABLE");
    is_wrong(&table("another"), "table", "another program's");
    is_wrong(&table("none"), "table", "EventsTableName");
}

#[test]
fn point_in_time_recovery_is_checked_if_the_table_has_backups() {
    let server = serve(&[], Some(SECRET));
    let endpoint = server.table().last().unwrap().to_string();
    for (status, expected) in [("ENABLED", "ok"), ("DISABLED", "wrong")] {
        let upstream = endpoint.clone();
        // Answers for backups as AWS does, and passes all other calls on.
        let aws = Mock::start(move |seen| {
            if seen.header("x-amz-target").ends_with("DescribeContinuousBackups") {
                let pitr = json!({"PointInTimeRecoveryStatus": status});
                let backups =
                    json!({"ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": pitr});
                return answer(200, json!({"ContinuousBackupsDescription": backups}).to_string());
            }
            forward(&upstream, seen)
        });
        let table = ["--json", "--table", "sonotheia-events", "--dynamodb", &aws.url];
        let output = doctor(&server, &table, WITH_SECRET);
        let (found, told) = check(&output, "PITR");
        assert_eq!(found, expected, "{told}");
        assert_eq!(output.status.code(), Some(i32::from(expected == "wrong")));
        assert_eq!(told.contains("update-continuous-backups"), expected == "wrong");
    }
}

#[test]
fn an_address_without_a_receiver_is_found() {
    let at = |url: &str| run_with(&["doctor", "--json", "--url", url], WITH_SECRET, "");
    is_wrong(&at("http://127.0.0.1:9"), "receiver", "sonotheia serve");
    let lax = Mock::start(|_| answer(200, r#"{"received":true}"#));
    is_wrong(&at(&lax.url), "forged event", "anybody can send");
    is_wrong(&at(&lax.url), "signed event", "not this receiver's");
    let gateway = Mock::start(|_| answer(403, "{}"));
    is_wrong(&at(&gateway.url), "forged event", "resource policy");
    let unavailable = Mock::start(|_| answer(503, "{}"));
    is_wrong(&at(&unavailable.url), "forged event", "503");
    let slow = Mock::start(|_| {
        let response = Response::builder()
            .status(401)
            .header("date", "Wed, 21 Jan 2026 12:00:00 GMT");
        response.body(Body::from("{}")).unwrap()
    });
    is_wrong(&at(&slow.url), "clock", "NTP");
}

#[test]
fn a_secret_in_secrets_manager_is_read_and_judged() {
    let mut command = sonotheia(&["backends", "--dynamodb-port", "0", "--secrets-port", "0"]);
    let mut backends = Running::start(command.env("SONOTHEIA_WEBHOOK_SECRET", SECRET));
    let output = backends.output_to("export AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH=");
    let mut environment: Vec<(&str, &str)> = output
        .lines()
        .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
        .map(|(name, value)| (name, value.trim_matches('\'')))
        .collect();
    let server = serve(&[], Some(SECRET));
    let output = doctor(&server, &["--json", "--table", "sonotheia-events"], &environment);
    assert_eq!(check(&output, "secret").0, "ok", "{}", text(&output.stdout));
    assert_eq!(check(&output, "signed event").0, "ok");
    assert_eq!(check(&output, "table").0, "ok");
    assert!(!text(&output.stdout).contains(SECRET));

    // An option wins over the variable of the other kind, in both directions.
    let mut both = environment.clone();
    both.retain(|(name, _)| *name != "SONOTHEIA_WEBHOOK_SECRET_ARN");
    both.push(("SONOTHEIA_WEBHOOK_SECRET", "another one"));
    let output = doctor(&server, &["--json", "--secret-id", "sonotheia/webhook"], &both);
    assert_eq!(check(&output, "signed event").0, "ok", "{}", text(&output.stdout));
    let output = doctor(&server, &["--json", "--secret", SECRET], &environment);
    assert_eq!(check(&output, "signed event").0, "ok", "{}", text(&output.stdout));
    // With both variables and no option, either secret could be meant.
    both.push(("SONOTHEIA_WEBHOOK_SECRET_ARN", "sonotheia/webhook"));
    let output = doctor(&server, &["--json"], &both);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("SONOTHEIA_WEBHOOK_SECRET_ARN are both set"));
    let output = doctor(&server, &["--json", "--secret-id", "sonotheia/webhook"], &both);
    assert_eq!(check(&output, "signed event").0, "ok");
    let output = run_with(
        &[
            "doctor",
            "--secret",
            "a",
            "--secret-id",
            "b",
            "--url",
            &server.url,
        ],
        &[],
        "",
    );
    assert_eq!(output.status.code(), Some(2));

    let endpoint = environment
        .iter()
        .find(|(name, _)| *name == "AWS_ENDPOINT_URL_SECRETS_MANAGER")
        .unwrap()
        .1;
    let client = aws_sdk_secretsmanager::Client::new(&emulators::sdk_config(endpoint));
    runtime().block_on(async {
        for (name, value) in [
            ("empty", r#"{"webhook_secret":" "}"#),
            ("other", r#"{"password":"p"}"#),
        ] {
            client
                .create_secret()
                .name(name)
                .secret_string(value)
                .send()
                .await
                .unwrap();
        }
    });
    for (id, says) in [
        ("empty", "empty"),
        ("other", "webhook_secret"),
        ("none", "SecretArn"),
    ] {
        is_wrong(
            &doctor(
                &server,
                &["--json", "--secret-id", id],
                &with(&mut environment, id),
            ),
            "secret",
            says,
        );
    }
    // `register` reads the same secret.
    let call = ["register", "https://receiver.example/webhook", "--show-secret"];
    let shown = run_with(&call, &with(&mut environment, "sonotheia/webhook"), "");
    assert!(succeeded(&shown).contains(SECRET));
    let shown = run_with(&[&call[..], &["--secret-id", "none"]].concat(), &environment, "");
    failed(&shown, "Secrets Manager has no secret none");
}

/// The environment with that secret's id.
fn with<'a>(environment: &mut [(&'a str, &'a str)], id: &'a str) -> Vec<(&'a str, &'a str)> {
    for (name, value) in environment.iter_mut() {
        if *name == "SONOTHEIA_WEBHOOK_SECRET_ARN" {
            *value = id;
        }
    }
    environment.to_vec()
}
