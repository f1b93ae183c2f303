//! Events that the receiver accepts with problems, and alerts.

use serde_json::{Value, json};
use sonotheia_webhook::config::Config;
use sonotheia_webhook::event::Event;
use sonotheia_webhook::event::types::{EVENT_TYPES, Shape, known_types};

use testkit::*;

use super::{config, listed};

#[tokio::test]
async fn metadata_that_parsers_refuse_is_a_problem_and_reads_leave_it_out() {
    let receiver = Receiver::start().await;
    let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
    for (i, (metadata, path)) in [
        (format!(r#"{{"a":{deep}}}"#), "metadata.a"),
        (r#"{"a":["\ud800"]}"#.to_owned(), "metadata.a[0]"),
        (r#"{"\udc00":1}"#.to_owned(), "metadata"),
        ("[1]".to_owned(), "metadata"),
        (r#""text""#.to_owned(), "metadata"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = format!(r#"{{"id":"event-{i}","type":"t","data":{{}},"metadata":{metadata}}}"#);
        receiver.deliver(&body).await.received(false);
        let stored = receiver.get(&format!("/events/event-{i}")).await.body;
        let problems = stored["problems"].as_array().unwrap();
        let found = problems
            .iter()
            .filter(|problem| problem["path"].as_str().unwrap().starts_with(path));
        assert_eq!(found.count(), 1, "{stored}");
        assert_eq!(stored["metadata"], Value::Null, "{stored}");
    }
}

#[tokio::test]
async fn an_unknown_type_is_accepted_with_a_problem_noted() {
    let receiver = Receiver::start().await;
    let event = json!({"id": "event-1", "type": "voice.cloned", "data": {"session_id": "s", "n": 1}});
    receiver.deliver(event.to_string()).await.received(false);
    let stored = receiver.get("/events/event-1").await;
    assert_eq!(stored.body["outcome"], "accepted");
    assert_eq!(
        stored.body["problems"],
        json!([{"path": "type", "message": "is not a type that this receiver knows"}])
    );
    assert_eq!(receiver.get("/results/s").await.body["count"], 1);
}

#[tokio::test]
async fn each_missing_or_ill_typed_field_of_a_known_type_is_noted() {
    let receiver = Receiver::start().await;
    let cases: Vec<(&str, Value, Vec<&str>)> = vec![
        (
            "deepfake.completed",
            json!({}),
            vec!["data.session_id", "data.score", "data.label"],
        ),
        (
            "deepfake.completed",
            json!({
                "session_id": "s", "score": 1.5, "label": "fake", "confidence": "high", "recommended_action": "shrug",
                "latency_ms": -1, "audio_metadata": [], "analysis": 1, "timestamp": "yesterday",
            }),
            vec![
                "data.score",
                "data.label",
                "data.confidence",
                "data.recommended_action",
                "data.latency_ms",
                "data.audio_metadata",
                "data.analysis",
                "data.timestamp",
            ],
        ),
        ("deepfake.failed", json!({"session_id": "s"}), vec!["data.error"]),
        (
            "deepfake.failed",
            json!({"session_id": "s", "error": {}}),
            vec!["data.error.code"],
        ),
        (
            "deepfake.failed",
            json!({"session_id": "s", "error": {"code": 1, "message": 2, "details": 3}}),
            vec!["data.error.code", "data.error.message", "data.error.details"],
        ),
        (
            "mfa.completed",
            json!({"session_id": null, "similarity_score": -0.1, "liveness_score": true, "user_id": 1}),
            vec![
                "data.session_id",
                "data.enrollment_id",
                "data.verified",
                "data.confidence",
                "data.similarity_score",
                "data.liveness_score",
                "data.user_id",
            ],
        ),
        (
            "mfa.failed",
            json!({"reason": 1, "error": "e"}),
            vec!["data.session_id", "data.reason", "data.error"],
        ),
        (
            "mfa.enrollment.completed",
            json!({"quality_score": 2}),
            vec!["data.enrollment_id", "data.quality_score"],
        ),
        (
            "sar.submitted",
            json!({"session_id": "s", "decision": "maybe", "compliance": {"retention_period_days": "7"}}),
            vec![
                "data.case_id",
                "data.status",
                "data.decision",
                "data.compliance.retention_period_days",
            ],
        ),
        ("sar.filed", json!({}), vec!["data.case_id"]),
        (
            "system.health_check",
            json!({"services": []}),
            vec!["data.services"],
        ),
    ];
    for (i, (event_type, data, paths)) in cases.into_iter().enumerate() {
        let id = format!("event-{i}");
        let event = json!({"id": id, "type": event_type, "data": data});
        receiver.deliver(event.to_string()).await.received(false);
        let stored = receiver.get(&format!("/events/{id}")).await;
        let mut noted: Vec<_> = stored.body["problems"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["path"].as_str().unwrap())
            .collect();
        let mut paths = paths;
        noted.sort_unstable();
        paths.sort_unstable();
        assert_eq!(noted, paths, "{event}");
    }
}

#[test]
fn the_receiver_knows_the_contracts_event_types() {
    let known: Vec<_> = known_types().collect();
    let expected = [
        "deepfake.completed",
        "deepfake.failed",
        "mfa.completed",
        "mfa.failed",
        "mfa.enrollment.completed",
        "sar.submitted",
        "sar.filed",
        "system.health_check",
    ];
    assert_eq!(known, expected);
}

#[test]
fn each_field_takes_the_values_of_its_shape_and_notes_every_other_value() {
    let values = [
        r#""text""#,
        "-1",
        "0",
        "0.5",
        "1",
        "1.5",
        "true",
        "false",
        "{}",
        "[]",
    ];
    for known in EVENT_TYPES {
        for field in known.fields {
            let good = match field.shape {
                Shape::Text => vec![r#""text""#.to_owned()],
                Shape::Amount => ["0", "0.5", "1", "1.5"].map(str::to_owned).to_vec(),
                Shape::Share => ["0", "0.5", "1"].map(str::to_owned).to_vec(),
                Shape::Bool => ["true", "false"].map(str::to_owned).to_vec(),
                Shape::Object | Shape::With(_) => vec!["{}".to_owned()],
                Shape::OneOf(names) => names.iter().map(|name| format!("{name:?}")).collect(),
            };
            let all = good.iter().map(String::as_str).chain(values);
            for value in all {
                let (name, event_type) = (field.name, known.name);
                let body = format!(r#"{{"id":"e","type":"{event_type}","data":{{"{name}":{value}}}}}"#);
                let event = Event::parse(body.as_bytes(), 0.8).unwrap();
                let path = format!("data.{name}");
                let is_noted = event.problems.iter().any(|problem| problem.path == path);
                let is_good = good.iter().any(|good| good == value);
                assert_eq!(is_noted, !is_good, "{body}: {:?}", event.problems);
            }
        }
    }
}

#[tokio::test]
async fn a_session_id_that_cannot_be_a_key_is_a_problem_and_the_event_is_stored() {
    let receiver = Receiver::start().await;
    for (i, session) in [json!(7), json!(""), json!("x".repeat(1025))]
        .into_iter()
        .enumerate()
    {
        let mut event = deepfake(&format!("event-{i}"), "", 0.5);
        event["data"]["session_id"] = session;
        receiver.deliver(event.to_string()).await.received(false);
        let stored = receiver.get(&format!("/events/event-{i}")).await;
        assert_eq!(
            stored.body["problems"][0]["path"], "data.session_id",
            "{stored:?}"
        );
        assert_eq!(stored.body["problems"].as_array().unwrap().len(), 1);
        assert_eq!(stored.body.get("session_id"), None);
    }
    let longest = "x".repeat(1024);
    receiver
        .deliver(deepfake("event-9", &longest, 0.5).to_string())
        .await
        .received(false);
    assert_eq!(
        receiver.get(&format!("/results/{longest}")).await.body["count"],
        1
    );
}

#[tokio::test]
async fn alerts_mark_what_a_person_should_see() {
    let receiver = Receiver::start().await;
    let mfa = |kind: &str, verified: bool| json!({"type": kind, "data": {"session_id": "s", "enrollment_id": "e", "verified": verified, "confidence": 0.9}});
    let cases = [
        (deepfake("", "s", 0.8), Some("high_deepfake_score")),
        (deepfake("", "s", 0.79), None),
        (mfa("mfa.completed", false), Some("mfa_not_verified")),
        (mfa("mfa.completed", true), None),
        (mfa("mfa.failed", true), Some("mfa_not_verified")),
        (
            json!({"type": "sar.submitted", "data": {"session_id": "s", "case_id": "c", "status": "submitted"}}),
            Some("sar_submitted"),
        ),
        (json!({"type": "sar.filed", "data": {"case_id": "c"}}), None),
    ];
    for (i, (mut event, alert)) in cases.into_iter().enumerate() {
        event["id"] = json!(format!("event-{i}"));
        receiver.deliver(event.to_string()).await.received(false);
        let stored = receiver.get(&format!("/events/event-{i}")).await;
        assert_eq!(stored.body.get("alert").and_then(Value::as_str), alert, "{event}");
    }
}

#[tokio::test]
async fn the_largest_body_fits_the_record_with_every_problem_there_can_be() {
    let receiver = Receiver::with(
        Config {
            max_body_bytes: 358_400,
            ..config()
        },
        None,
        None,
    )
    .await;
    let mut event = json!({"id": "x".repeat(256), "type": "mfa.completed", "metadata": 1, "timestamp": 1, "data": {
        "session_id": "s".repeat(1024), "user_id": 1, "similarity_score": 2, "liveness_score": 2, "latency_ms": -1,
        "audio_metadata": 1, "biometric_data": 1, "timestamp": 1, "pad": "",
    }});
    let room = 358_400 - event.to_string().len();
    event["data"]["pad"] = json!("p".repeat(room));
    assert_eq!(event.to_string().len(), 358_400);
    receiver.deliver(event.to_string()).await.received(false);
    let session = receiver.get(&format!("/results/{}", "s".repeat(1024))).await;
    assert_eq!(session.body["results"][0]["data"], event["data"]);
}

#[tokio::test]
async fn a_score_beyond_all_floats_is_an_alert_and_a_problem() {
    let receiver = Receiver::start().await;
    let event = deepfake("event-1", "session-1", 0.5)
        .to_string()
        .replace(r#""score":0.5"#, r#""score":1e400"#);
    receiver.deliver(event).await.received(false);
    let stored = listed(&receiver, "event-1").await;
    assert_eq!(stored["alert"], "high_deepfake_score");
    assert_eq!(stored["problems"][0]["path"], "data.score", "{stored}");
}
