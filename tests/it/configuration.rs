//! The Lambda binary and its environment (contract, section 5).

use std::process::Command;

#[test]
fn every_fault_of_the_configuration_is_reported_and_the_process_ends_with_1() {
    let output = Command::new(env!("CARGO_BIN_EXE_sonotheia-webhook"))
        .env_clear()
        .env("RETENTION_DAYS", "never")
        .env("SONOTHEIA_WEBHOOK_SECRET", "a secret")
        .env("SONOTHEIA_WEBHOOK_SECRET_ARN", "an arn")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    for variable in ["EVENTS_TABLE", "RETENTION_DAYS", "SONOTHEIA_WEBHOOK_SECRET"] {
        assert!(said.contains(variable), "{variable} in {said}");
    }
    assert!(!said.contains("a secret"), "{said}");
}

#[test]
fn a_trust_store_that_cannot_be_read_is_a_fault_and_no_panic() {
    for (name, content) in [
        ("missing.pem", None),
        ("empty.pem", Some("")),
        ("bad.pem", Some("-----BEGIN CERTIFICATE-----\n!\n")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let output = Command::new(env!("CARGO_BIN_EXE_sonotheia-webhook"))
            .env_clear()
            .env("EVENTS_TABLE", "events")
            .env("SONOTHEIA_WEBHOOK_SECRET", "a secret")
            .env("SSL_CERT_FILE", &path)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("SSL_CERT_FILE"), "{name}: {said}");
        assert!(
            !String::from_utf8(output.stderr).unwrap().contains("panicked"),
            "{name}"
        );
    }
}
