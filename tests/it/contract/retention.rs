//! The time for which a record is kept.

use serde_json::{Value, json};
use sonotheia_webhook::timestamp::{Parsed, Timestamp};

use testkit::*;

use super::listed;

/// How long a record is kept after its receipt, in days.
fn days_kept(stored: &Value) -> i64 {
    let time = |key: &str| match Timestamp::parse(stored[key].as_str().unwrap()) {
        Some(Parsed::Moment(time)) => time.as_millis(),
        other => panic!("{other:?}"),
    };
    (time("expires_at") - time("received_at")) / 86_400_000
}

#[tokio::test]
async fn a_record_is_kept_as_long_as_the_event_asks() {
    let receiver = Receiver::start().await;
    let sar = |id: &str, days: Value| {
        json!({"id": id, "type": "sar.submitted", "data": {
            "session_id": "s", "case_id": "c", "status": "submitted", "compliance": {"retention_period_days": days},
        }})
    };
    for (id, days, kept) in [
        ("a", json!(1825), 1825),
        ("b", json!(1), 90),
        ("c", json!(1e9), 36_500),
        ("d", json!(90.5), 91),
        ("e", json!(36_500), 36_500),
    ] {
        receiver.deliver(sar(id, days).to_string()).await.received(false);
        let stored = receiver.get(&format!("/events/{id}")).await;
        assert_eq!(days_kept(&stored.body), kept, "{id}");
        // Only the hundred years are a limit, and only a longer retention is a problem.
        assert_eq!(stored.body.get("problems").is_some(), id == "c", "{id}");
    }
}

#[tokio::test]
async fn a_retention_that_is_no_number_is_noted_whatever_the_type_and_an_infinite_one_is_capped() {
    let receiver = Receiver::start().await;
    for (i, (event_type, days, kept)) in [
        ("sar.submitted", r#""1825""#, 90),
        ("sar.filed", r#""1825""#, 90),
        ("a.new.type", "[1825]", 90),
        ("a.new.type", "-1", 90),
        ("a.new.type", "1e400", 36_500),
        ("sar.filed", r#"1,"retention_period_days":100"#, 100),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("event-{i}");
        receiver
            .deliver(format!(
                r#"{{"id":"{id}","type":"{event_type}","data":{{"compliance":{{"retention_period_days":{days}}}}}}}"#
            ))
            .await
            .received(false);
        let stored = listed(&receiver, &id).await;
        let noted = stored["problems"].as_array().unwrap();
        let noted = noted
            .iter()
            .filter(|problem| problem["path"] == "data.compliance.retention_period_days");
        assert_eq!(noted.count(), 1, "{stored}");
        assert_eq!(days_kept(&stored), kept, "{stored}");
    }
}
