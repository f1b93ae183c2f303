//! The table of the contract's section 2, row by row, and section 4's record.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use sonotheia_webhook::config::{Config, SecretSource};
use sonotheia_webhook::deadline;
use sonotheia_webhook::ingest::Ingested;
use sonotheia_webhook::timestamp::{Parsed, Timestamp};

use testkit::*;

fn config() -> Config {
    Config::new(TABLE, SecretSource::Fixed(SECRET.into()))
}

#[tokio::test]
async fn a_body_over_the_limit_is_too_large_before_anything_else_is_looked_at() {
    let receiver = Receiver::with(
        Config {
            max_body_bytes: 100,
            ..config()
        },
        None,
        None,
    )
    .await;
    let unsigned = post([b' '; 101], &[]);
    receiver.send(unsigned).await.expect(413, "payload_too_large");
    receiver
        .deliver([b' '; 101])
        .await
        .expect(413, "payload_too_large");
    assert!(receiver.items().await.is_empty());
    // At the limit it is read.
    receiver.deliver([b' '; 100]).await.expect(400, "invalid_event");
}

#[tokio::test]
async fn every_cause_of_a_bad_signature_gets_the_same_answer_and_stores_nothing() {
    let receiver = Receiver::with(config(), None, Some(Faults::none())).await;
    let body = deepfake("event-1", "session-1", 0.5).to_string();
    let good = sign(&body, SECRET);
    let mut flipped = good.clone().into_bytes();
    flipped[63] = if flipped[63] == b'0' { b'1' } else { b'0' };
    let flipped = String::from_utf8(flipped).unwrap();
    let cases: Vec<Vec<&str>> = vec![
        vec![],
        vec![""],
        vec![&good, &good],
        vec![&good[1..]],
        vec!["not hex"],
        vec![&flipped],
    ];
    let mut answers = Vec::new();
    for signatures in cases {
        answers.push(
            receiver
                .send(post(&body, &signatures))
                .await
                .expect(401, "invalid_signature"),
        );
    }
    let other_secret = sign(&body, "another secret");
    answers.push(
        receiver
            .send(post(&body, &[&other_secret]))
            .await
            .expect(401, "invalid_signature"),
    );
    let other_body = sign(format!("{body} "), SECRET);
    answers.push(
        receiver
            .send(post(&body, &[&other_body]))
            .await
            .expect(401, "invalid_signature"),
    );

    let without_id = |answer: &Answer| {
        let mut body = answer.body.clone();
        body.as_object_mut().unwrap().remove("request_id");
        let mut headers = answer.headers.clone();
        headers.remove("x-request-id");
        (body, headers, answer.body.to_string().len())
    };
    for answer in &answers {
        assert_eq!(without_id(answer), without_id(&answers[0]));
    }
    assert_eq!(
        receiver.calls(),
        0,
        "an unsigned request costs no call to DynamoDB"
    );
    assert!(receiver.items().await.is_empty());
}

#[tokio::test]
async fn both_spellings_of_the_signature_are_taken() {
    let receiver = Receiver::start().await;
    let body = deepfake("event-1", "session-1", 0.5).to_string();
    let hex = sign(&body, SECRET);
    receiver.send(post(&body, &[&hex])).await.received(false);
    receiver
        .send(post(&body, &[&format!("  sha256={} ", hex.to_uppercase())]))
        .await
        .received(true);
}

#[tokio::test]
async fn a_first_delivery_is_stored_and_a_redelivery_is_a_duplicate() {
    let receiver = Receiver::start().await;
    let event = deepfake("event-1", "session-1", 0.5);
    assert_eq!(
        receiver.deliver(event.to_string()).await.received(false),
        "event-1"
    );
    let before = receiver.items().await;
    assert_eq!(before.len(), 1);
    receiver.deliver(event.to_string()).await.received(true);
    // Other blanks, another order of members, another spelling of a number.
    let data = event["data"].as_object().unwrap();
    let members: Vec<_> = data
        .iter()
        .rev()
        .map(|(key, value)| format!("{key:?} : {value}"))
        .collect();
    // Not anywhere else: a time may hold these digits too.
    let members = members.join(" ,\n").replace(": 0.5", ": 5.0e-1");
    assert!(members.contains("5.0e-1"));
    let respelled = format!(r#"{{ "data": {{{members}}}, "id": "event-1", "type": "deepfake.completed" }}"#);
    receiver.deliver(respelled).await.received(true);
    assert_eq!(receiver.items().await, before, "a duplicate changes nothing");
}

#[tokio::test]
async fn another_event_with_the_same_id_is_a_conflict_and_leaves_the_first_untouched() {
    let receiver = Receiver::start().await;
    let event = deepfake("event-1", "session-1", 0.5);
    receiver.deliver(event.to_string()).await.received(false);
    let before = receiver.items().await;

    let mut other_data = event.clone();
    other_data["data"]["score"] = json!(0.6);
    let mut other_type = event.clone();
    other_type["type"] = json!("deepfake.other");
    for other in [other_data, other_type] {
        receiver
            .deliver(other.to_string())
            .await
            .expect(409, "event_conflict");
        // A repeat of it changes nothing.
        receiver
            .deliver(other.to_string())
            .await
            .expect(409, "event_conflict");
    }
    let after = receiver.items().await;
    assert!(after.contains(&before[0]));
    assert_eq!(after.len(), 3, "each conflicting body is kept, once");

    let listed = receiver.get("/results?outcome=rejected").await;
    assert_eq!(listed.body["count"], 2, "{listed:?}");
    for result in listed.body["results"].as_array().unwrap() {
        assert_eq!(result["reason"], "event_conflict");
        assert!(
            result["event_id"]
                .as_str()
                .unwrap()
                .starts_with("rejected:sha256:")
        );
        assert_eq!(result["problems"][0]["path"], "id");
    }
    let session = receiver.get("/results/session-1").await;
    assert_eq!(
        session.body["count"], 1,
        "a session's results are what was accepted: {session:?}"
    );
    // The first one is still the event, and still a duplicate.
    receiver.deliver(event.to_string()).await.received(true);
}

#[tokio::test]
async fn what_is_signed_and_no_event_is_refused_with_the_place_and_kept() {
    let long = "x".repeat(257);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"".to_vec(), "the body is not JSON"),
        (b"{".to_vec(), "the body is not JSON"),
        (b"{} {}".to_vec(), "the body is not JSON"),
        (b"\xef\xbb\xbf{}".to_vec(), "the body is not"),
        (
            b"{\"type\":\"\xff\"}".to_vec(),
            "the body is not UTF-8 from byte 9 on",
        ),
        (b"[1]".to_vec(), "the body is not a JSON object"),
        (b"\"text\"".to_vec(), "the body is not a JSON object"),
        (
            br#"{"id":"a","id":"a","type":"t","data":{}}"#.to_vec(),
            "id is there more than once",
        ),
        (
            br#"{"id":null,"id":"a","type":"t","data":{}}"#.to_vec(),
            "id is there more than once",
        ),
        (
            br#"{"event_id":"a","event_id":"a","type":"t","data":{}}"#.to_vec(),
            "event_id is there more than once",
        ),
        (
            br#"{"id":"a","type":"t","type":"t","data":{}}"#.to_vec(),
            "type is there more than once",
        ),
        (
            br#"{"id":"a","event_type":"t","event_type":"t","data":{}}"#.to_vec(),
            "event_type is there more",
        ),
        (
            br#"{"id":"a","type":"t","data":{},"data":{}}"#.to_vec(),
            "data is there more than once",
        ),
        (
            br#"{"id":"a","type":"t","data":{},"d\u0061ta":{}}"#.to_vec(),
            "data is there more than once",
        ),
        (
            br#"{"id":"a","event_id":"b","type":"t","data":{}}"#.to_vec(),
            "id and `event_id` are both there and differ",
        ),
        (
            br#"{"id":"a","type":"t","event_type":"u","data":{}}"#.to_vec(),
            "type and `event_type` are both",
        ),
        (br#"{"id":"a","data":{}}"#.to_vec(), "type is missing"),
        (br#"{"id":"a","type":null,"data":{}}"#.to_vec(), "type is missing"),
        (br#"{"id":"a","type":"t"}"#.to_vec(), "data is missing"),
        (
            br#"{"id":"a","type":"t","data":null}"#.to_vec(),
            "data is missing",
        ),
        (
            br#"{"id":"a","type":"t","data":[]}"#.to_vec(),
            "data is not an object",
        ),
        (br#"{"id":"a","type":"","data":{}}"#.to_vec(), "type is missing"),
        (
            br#"{"id":"a","type":"","event_type":null,"data":{}}"#.to_vec(),
            "type is missing",
        ),
        (br#"{"id":7,"type":"t","data":{}}"#.to_vec(), "id is not a string"),
        (
            br#"{"id":"a","type":{},"data":{}}"#.to_vec(),
            "type is not a string",
        ),
        (
            format!(r#"{{"id":"{long}","type":"t","data":{{}}}}"#).into(),
            "id is longer than 256 bytes",
        ),
        (
            format!(r#"{{"id":"a","event_type":"{long}","data":{{}}}}"#).into(),
            "event_type is longer than 256",
        ),
        (
            br#"{"id":"a\n","type":"t","data":{}}"#.to_vec(),
            "id has control characters",
        ),
        (
            br#"{"event_id":"\u007f","type":"t","data":{}}"#.to_vec(),
            "event_id has control characters",
        ),
        (
            br#"{"id":"sha256:a","type":"t","data":{}}"#.to_vec(),
            "id begins with",
        ),
        (
            br#"{"event_id":"rejected:a","type":"t","data":{}}"#.to_vec(),
            "event_id begins with",
        ),
        (
            br#"{"id":"a","type":"t","data":{"b":["\ud800"]}}"#.to_vec(),
            "data.b[0] has a string with half",
        ),
        (
            format!(
                r#"{{"id":"a","type":"t","timestamp":"{}","data":{{}}}}"#,
                at(86_400 + 60)
            )
            .into(),
            "more than 24 h ahead",
        ),
    ];
    let receiver = Receiver::start().await;
    let count = cases.len();
    for (body, message) in cases {
        let shown = String::from_utf8_lossy(&body).into_owned();
        let answer = receiver.deliver(&body).await.expect(400, "invalid_event");
        let got = answer.body["message"].as_str().unwrap();
        assert!(got.contains(message), "{shown}: {got}");
        receiver.deliver(&body).await.expect(400, "invalid_event");
        let kept = receiver.items().await.into_iter().filter(|item| {
            let stored = &item["body"];
            stored
                .as_s()
                .map(String::as_bytes)
                .or(stored.as_b().map(|b| b.as_ref()))
                == Ok(body.as_slice())
        });
        assert_eq!(kept.count(), 1, "kept verbatim, once: {shown}");
    }
    let items = receiver.items().await;
    assert_eq!(items.len(), count);
    for item in items {
        assert_eq!(item["outcome"].as_s().unwrap(), "rejected");
        assert_eq!(item["reason"].as_s().unwrap(), "invalid_event");
        assert!(item["event_id"].as_s().unwrap().starts_with("rejected:sha256:"));
    }
}

#[tokio::test]
async fn the_good_event_can_still_come_after_a_rejected_one_with_its_id() {
    let receiver = Receiver::start().await;
    let broken = r#"{"id":"event-1","type":"deepfake.completed"}"#;
    receiver.deliver(broken).await.expect(400, "invalid_event");
    receiver
        .deliver(deepfake("event-1", "session-1", 0.5).to_string())
        .await
        .received(false);
}

#[tokio::test]
async fn a_signed_time_older_than_the_retention_is_too_old() {
    let receiver = Receiver::with(
        Config {
            retention_days: 7,
            ..config()
        },
        None,
        None,
    )
    .await;
    let day = 86_400;
    let mut event = deepfake("event-1", "session-1", 0.5);
    event["data"]["timestamp"] = json!(at(-7 * day - 60));
    receiver
        .deliver(event.to_string())
        .await
        .expect(400, "event_too_old");
    // The top-level time goes before that of the data.
    event["timestamp"] = json!(at(-7 * day + 60));
    receiver.deliver(event.to_string()).await.received(false);
    let old = receiver.get("/results?outcome=rejected").await;
    assert_eq!(old.body["results"][0]["reason"], "event_too_old", "{old:?}");
    assert_eq!(old.body["results"][0]["type"], "deepfake.completed", "{old:?}");
}

#[tokio::test]
async fn an_accepted_event_can_never_be_replayed_as_new() {
    let receiver = Receiver::start().await;
    let body = deepfake("event-1", "session-1", 0.5).to_string();
    let start = Timestamp::now();
    let deliver = |now| receiver.ingest(body.as_bytes(), now);
    assert!(matches!(deliver(start).await, Ingested::Stored { .. }));
    // While the record lives.
    assert!(matches!(
        deliver(start.plus_days(89)).await,
        Ingested::Duplicate { .. }
    ));
    // After its time it may be gone, and what comes again is too old, whether it is or not.
    let gone = start.plus_days(91);
    let item = &receiver.items().await[0];
    let expires_at: i64 = item["expires_at"].as_n().unwrap().parse().unwrap();
    assert!(expires_at >= start.plus_days(90).as_millis() / 1000);
    assert!(expires_at * 1000 < gone.as_millis());
    let key = item["event_id"].clone();
    receiver
        .direct
        .delete_item()
        .table_name(TABLE)
        .key("event_id", key)
        .send()
        .await
        .unwrap();
    assert!(matches!(deliver(gone).await, Ingested::TooOld(_)));
    // At no moment in between is the record gone and the event still young enough.
    let last = Timestamp::from_millis(expires_at * 1000 + 1);
    assert!(matches!(deliver(last).await, Ingested::TooOld(_)));
    // Nor does a replay that begins before that moment write after it.
    let deadline = i64::try_from(deadline::REQUEST.as_millis()).unwrap();
    let before = Timestamp::from_millis(start.plus_days(90).as_millis() - deadline);
    assert!(matches!(deliver(before).await, Ingested::TooOld(_)));
}

#[tokio::test]
async fn an_event_without_an_id_is_keyed_by_its_body() {
    let receiver = Receiver::start().await;
    let mut event = deepfake("", "session-1", 0.5);
    event.as_object_mut().unwrap().remove("id");
    let id = receiver.deliver(event.to_string()).await.received(false);
    assert_eq!(id.strip_prefix("sha256:").map(str::len), Some(64));
    assert_eq!(receiver.deliver(event.to_string()).await.received(true), id);
    let stored = receiver.get(&format!("/events/{id}")).await;
    assert_eq!(stored.body["problems"][0]["path"], "id", "{stored:?}");
}

#[tokio::test]
async fn an_empty_or_null_name_counts_as_absent() {
    let receiver = Receiver::start().await;
    for (body, id) in [
        (
            json!({"id": "", "event_id": "event-1", "type": "", "event_type": "t", "data": {}}),
            "event-1",
        ),
        (
            json!({"id": "event-2", "event_id": "", "type": "t", "event_type": "", "data": {}}),
            "event-2",
        ),
        (
            json!({"id": null, "event_id": "event-3", "type": "t", "data": {}}),
            "event-3",
        ),
    ] {
        assert_eq!(receiver.deliver(body.to_string()).await.received(false), id);
    }
    let nameless = json!({"id": "", "event_id": null, "type": "t", "data": {}});
    let id = receiver.deliver(nameless.to_string()).await.received(false);
    assert!(id.starts_with("sha256:"), "{id}");
}

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
async fn both_envelopes_work_and_null_counts_as_absent() {
    let receiver = Receiver::start().await;
    let schema = json!({
        "event_id": "event-1", "id": null, "event_type": "sar.filed", "type": null, "api_version": "2026-01",
        "timestamp": at(-5), "metadata": {"tenant": "a"}, "data": {"case_id": "case-1"},
    });
    receiver.deliver(schema.to_string()).await.received(false);
    let stored = receiver.get("/events/event-1").await;
    assert_eq!(stored.body["type"], "sar.filed");
    assert_eq!(stored.body["occurred_at"], schema["timestamp"]);
    assert_eq!(stored.body["metadata"], json!({"tenant": "a"}));
    assert_eq!(stored.body.get("problems"), None, "{stored:?}");
    // The guide's envelope of the same event is the same event.
    let guide = json!({"id": "event-1", "type": "sar.filed", "data": {"case_id": "case-1"}});
    receiver.deliver(guide.to_string()).await.received(true);
    let both = json!({
        "id": "event-1", "event_id": "event-1", "type": "sar.filed", "event_type": "sar.filed", "data": {"case_id": "case-1"},
    });
    receiver.deliver(both.to_string()).await.received(true);
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
    ] {
        receiver.deliver(sar(id, days).to_string()).await.received(false);
        let stored = receiver.get(&format!("/events/{id}")).await;
        assert_eq!(days_kept(&stored.body), kept, "{id}");
    }
}

#[tokio::test]
async fn numbers_reach_the_reader_as_they_were_sent() {
    let receiver = Receiver::start().await;
    let data = r#"{"a":1.0,"b":0.1000000000000000055511151231257827,"c":12345678901234567890123,"d":1E400,"e":-0.0,"s":"\u00e9\/"}"#;
    receiver
        .deliver(format!(r#"{{"id":"event-1","type":"t","data": {data} }}"#))
        .await
        .received(false);
    let request = Request::get("/events/event-1").body(Body::empty()).unwrap();
    let response = tower::ServiceExt::oneshot(receiver.router.clone(), request)
        .await
        .unwrap();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    let text = std::str::from_utf8(&body).unwrap();
    assert!(text.contains(&format!(r#""data":{data}"#)), "{text}");
}

#[tokio::test]
async fn of_fifty_identical_deliveries_at_once_one_is_new() {
    let receiver = Receiver::start().await;
    for round in 0..3 {
        let body = deepfake(&format!("event-{round}"), "session-1", 0.5).to_string();
        let deliveries = (0..50).map(|_| receiver.deliver(&body));
        let answers = futures_util::future::join_all(deliveries).await;
        let new = answers
            .iter()
            .filter(|answer| answer.body["duplicate"] == false)
            .count();
        assert!(answers.iter().all(|answer| answer.status == 200));
        assert_eq!(new, 1);
    }
    assert_eq!(receiver.items().await.len(), 3);
}

#[tokio::test]
async fn an_event_costs_one_call_to_dynamodb_new_or_duplicate_and_a_conflict_two() {
    let receiver = Receiver::with(config(), None, Some(Faults::none())).await;
    let event = deepfake("event-1", "session-1", 0.5);
    for (event, cost) in [
        (event.clone(), 1),
        (event.clone(), 1),
        (deepfake("event-1", "session-2", 0.5), 2),
    ] {
        let before = receiver.calls();
        receiver.deliver(event.to_string()).await;
        assert_eq!(receiver.calls() - before, cost);
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

/// A record without its data, whose numbers the tests' own JSON can't hold.
async fn listed(receiver: &Receiver, id: &str) -> Value {
    let list = receiver.get("/results").await.body;
    let mut results = list["results"].as_array().unwrap().iter();
    results.find(|result| result["event_id"] == id).unwrap().clone()
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
