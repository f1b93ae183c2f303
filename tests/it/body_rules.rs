//! The contract's rules for a signed body, at their limits.

use serde_json::{Value, json};
use sonotheia_webhook::ingest::Ingested;
use sonotheia_webhook::timestamp::{Parsed, Timestamp};
use testkit::*;

async fn stored(receiver: &Receiver, body: &str, id: &str) -> Value {
    assert_eq!(receiver.deliver(body).await.received(false), id, "{body}");
    receiver.get(&format!("/events/{id}")).await.body
}

fn paths(record: &Value) -> Vec<&str> {
    let problems = record["problems"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    problems
        .iter()
        .map(|problem| problem["path"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn the_limit_of_a_name_counts_bytes_and_not_characters() {
    let receiver = Receiver::start().await;
    let (longest, longer) = ("é".repeat(128), format!("{}a", "é".repeat(128)));
    for (id, event_type) in [(longest.as_str(), "t"), ("event-1", longest.as_str())] {
        let body = json!({"id": id, "type": event_type, "data": {}}).to_string();
        receiver.deliver(body).await.received(false);
    }
    for (id, event_type, path) in [(longer.as_str(), "t", "id"), ("event-2", longer.as_str(), "type")] {
        let body = json!({"id": id, "type": event_type, "data": {}}).to_string();
        let answer = receiver.deliver(body).await.expect(400, "invalid_event");
        let message = answer.body["message"].as_str().unwrap();
        assert_eq!(message, format!("{path} is longer than 256 bytes"));
    }
}

#[tokio::test]
async fn every_control_character_in_a_name_is_refused_and_its_neighbours_are_not() {
    let receiver = Receiver::start().await;
    let controls = (0..=0x1f_u32).chain(0x7f..=0x9f);
    for code in controls {
        for name in ["id", "event_id", "type", "event_type"] {
            let other = if name.ends_with("id") { "type" } else { "id" };
            let body = format!(r#"{{"{name}":"a\u{code:04x}b","{other}":"c","data":{{}}}}"#);
            let answer = receiver.deliver(&body).await.expect(400, "invalid_event");
            let message = answer.body["message"].as_str().unwrap();
            assert_eq!(message, format!("{name} has control characters"), "{code:04x}");
        }
    }
    for code in [0x20, 0x7e, 0xa0] {
        let body = format!(r#"{{"id":"a\u{code:04x}b","type":"t","data":{{}}}}"#);
        receiver.deliver(&body).await.received(false);
    }
}

#[tokio::test]
async fn a_reserved_prefix_counts_only_at_the_beginning_of_an_id() {
    let receiver = Receiver::start().await;
    for id in [
        "a-sha256:b",
        " sha256:b",
        "SHA256:b",
        "sha256",
        "xrejected:b",
        "rejected",
    ] {
        let body = json!({"id": id, "type": "sha256:t", "data": {}}).to_string();
        assert_eq!(receiver.deliver(body).await.received(false), id);
    }
    for id in ["sha256:", "sha256:b", "rejected:", "rejected:sha256:b"] {
        for name in ["id", "event_id"] {
            let body = json!({name: id, "type": "t", "data": {}}).to_string();
            receiver.deliver(body).await.expect(400, "invalid_event");
        }
    }
}

#[tokio::test]
async fn a_null_member_counts_as_absent_wherever_it_stands() {
    let receiver = Receiver::start().await;
    let body = json!({
        "id": "event-1", "event_id": null, "type": "deepfake.completed", "event_type": null, "timestamp": null,
        "metadata": null, "api_version": null,
        "data": {
            "session_id": "s", "score": 0.5, "label": "uncertain", "confidence": null, "recommended_action": null,
            "latency_ms": null, "audio_metadata": null, "analysis": null, "timestamp": null, "compliance": null,
        },
    });
    let record = stored(&receiver, &body.to_string(), "event-1").await;
    assert_eq!(paths(&record), Vec::<&str>::new(), "{record}");
    assert_eq!(
        (record.get("occurred_at"), record.get("metadata")),
        (None, None),
        "{record}"
    );
    // A field that must be there is missing if it is null.
    let body = json!({"id": "event-2", "type": "sar.filed", "data": {"case_id": null}}).to_string();
    assert_eq!(
        paths(&stored(&receiver, &body, "event-2").await),
        ["data.case_id"]
    );
}

#[tokio::test]
async fn a_time_that_cannot_be_read_counts_as_absent_and_is_a_problem() {
    let receiver = Receiver::start().await;
    let readable = at(-60);
    let bad = [
        json!(1_769_000_400),
        json!("1769000400"),
        json!(true),
        json!({}),
        json!(""),
        json!("2026-01-21"),
    ];
    for (i, time) in bad.into_iter().enumerate() {
        let id = format!("outer-{i}");
        let body = json!({"id": id, "type": "sar.filed", "timestamp": time, "data": {"case_id": "c", "timestamp": readable}});
        let record = stored(&receiver, &body.to_string(), &id).await;
        assert_eq!(paths(&record), ["timestamp"], "{record}");
        assert_eq!(
            record["occurred_at"], readable,
            "the time of the data counts: {record}"
        );
        let id = format!("inner-{i}");
        let body = json!({"id": id, "type": "sar.filed", "data": {"case_id": "c", "timestamp": time}});
        let record = stored(&receiver, &body.to_string(), &id).await;
        assert_eq!(paths(&record), ["data.timestamp"], "{record}");
        assert_eq!(record.get("occurred_at"), None, "{record}");
    }
}

#[test]
fn a_leap_second_is_a_time_where_there_can_be_one() {
    let Some(Parsed::Moment(time)) = Timestamp::parse("2016-12-31T23:59:60Z") else {
        panic!("the leap second of 2016 is not read");
    };
    assert_eq!(time.to_string(), "2016-12-31T23:59:59.999Z");
    assert_eq!(Timestamp::parse("2026-01-21T12:00:60Z"), None);
    assert_eq!(Timestamp::parse("2016-12-31T23:59:61Z"), None);
}

#[tokio::test]
async fn a_signed_time_exactly_at_a_limit_is_accepted_and_a_millisecond_beyond_it_is_not() {
    let receiver = Receiver::start().await;
    let rules = receiver.app.config.rules();
    let now = Timestamp::from_millis(1_769_000_400_123);
    let at = |millis: i64| Timestamp::from_millis(now.as_millis() + millis);
    let ingest = async |time: Timestamp| {
        let body = json!({"id": time.to_string(), "type": "t", "timestamp": time.to_string(), "data": {}});
        receiver.ingest(body.to_string().as_bytes(), now).await
    };
    let day = 86_400_000;
    assert!(matches!(ingest(at(day)).await, Ingested::Stored { .. }));
    assert!(matches!(ingest(at(day + 1)).await, Ingested::Invalid(_)));
    // An event that gets too old before its write could end is too old already (invariant F).
    let margin = i64::try_from(rules.write_limit.as_millis()).unwrap();
    let oldest = margin - i64::from(rules.retention_days) * day;
    assert!(matches!(ingest(at(oldest)).await, Ingested::Stored { .. }));
    let Ingested::TooOld(problem) = ingest(at(oldest - 1)).await else {
        panic!("the event is not too old");
    };
    let message = problem.to_string();
    for part in [
        "timestamp",
        &at(oldest - 1).to_string(),
        "90 days",
        "RETENTION_DAYS",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[tokio::test]
async fn a_record_lives_from_the_later_of_receipt_and_signed_time() {
    let receiver = Receiver::start().await;
    let millis = |record: &Value, key: &str| match Timestamp::parse(record[key].as_str().unwrap()) {
        Some(Parsed::Moment(time)) => time.as_millis(),
        other => panic!("{other:?}"),
    };
    for (i, offset) in [-86_400, 0, 3600, 86_000].into_iter().enumerate() {
        let id = format!("event-{i}");
        let body = json!({"id": id, "type": "t", "timestamp": at(offset), "data": {}}).to_string();
        let record = stored(&receiver, &body, &id).await;
        let from = millis(&record, "received_at").max(millis(&record, "occurred_at"));
        // `expires_at` has whole seconds, rounded up.
        let kept = millis(&record, "expires_at") - from - 90 * 86_400_000;
        assert!((0..1000).contains(&kept), "{record}");
    }
}

#[tokio::test]
async fn a_rejected_event_that_asks_for_its_own_retention_gets_it_too() {
    let receiver = Receiver::start().await;
    let sar = |case: &str, days: u32| {
        let data = json!({"case_id": case, "compliance": {"retention_period_days": days}});
        json!({"id": "event-1", "type": "sar.submitted", "data": data}).to_string()
    };
    receiver.deliver(sar("case-1", 1825)).await.received(false);
    // Longer than the receiver's 90 days, and shorter.
    for (days, kept) in [(1825, 1825), (30, 90)] {
        let conflict = sar("case-2", days);
        receiver.deliver(&conflict).await.expect(409, "event_conflict");
        let record = receiver.app.store.get(&rejected_key(conflict.as_bytes())).await;
        let record = record.unwrap().unwrap();
        let Some(Parsed::Moment(received)) = Timestamp::parse(&record.received_at) else {
            panic!("{}", record.received_at);
        };
        let rest = record.expires_at.as_millis() - received.plus_days(kept).as_millis();
        assert!((0..1000).contains(&rest), "{days}: {rest}");
    }
}

#[tokio::test]
async fn a_time_with_an_offset_is_the_same_moment_in_utc() {
    let receiver = Receiver::start().await;
    let utc = Timestamp::from_millis(Timestamp::now().as_millis() / 1000 * 1000);
    let local = Timestamp::from_millis(utc.as_millis() + 19_800_000)
        .to_string()
        .replace('Z', "+05:30");
    let body = json!({"id": "event-1", "type": "t", "timestamp": local, "data": {}}).to_string();
    assert_eq!(
        stored(&receiver, &body, "event-1").await["occurred_at"],
        utc.to_string()
    );
}

#[tokio::test]
async fn compliance_that_is_not_an_object_is_a_problem_of_its_type_and_never_a_retention() {
    let receiver = Receiver::start().await;
    for (i, compliance) in [json!("1825"), json!([1825]), json!(1825), json!(true)]
        .into_iter()
        .enumerate()
    {
        let id = format!("event-{i}");
        let data = json!({"session_id": "s", "case_id": "c", "status": "open", "compliance": compliance});
        let body = json!({"id": id, "type": "sar.submitted", "data": data}).to_string();
        assert_eq!(paths(&stored(&receiver, &body, &id).await), ["data.compliance"]);
    }
}

#[tokio::test]
async fn the_claims_of_a_rejected_body_are_strings_or_absent() {
    let receiver = Receiver::start().await;
    let deep = format!("{}{}", "[".repeat(4000), "]".repeat(4000));
    let cases = [
        (
            r#"{"id":"","event_id":"b","type":"","event_type":"u"}"#.to_owned(),
            json!("b"),
            json!("u"),
        ),
        (
            r#"{"id":"","event_id":null,"type":""}"#.to_owned(),
            Value::Null,
            Value::Null,
        ),
        (
            r#"{"id":{"a":1},"event_id":"b","type":[1]}"#.to_owned(),
            json!("b"),
            Value::Null,
        ),
        (
            format!(r#"{{"id":{deep},"type":{deep}}}"#),
            Value::Null,
            Value::Null,
        ),
        (
            r#"{"id":"\ud800","type":"t"}"#.to_owned(),
            Value::Null,
            json!("t"),
        ),
        (r#"["id","a"]"#.to_owned(), Value::Null, Value::Null),
    ];
    for (body, id, event_type) in cases {
        let receiver_key = {
            receiver.deliver(&body).await.expect(400, "invalid_event");
            format!(
                "rejected:sha256:{}",
                hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&body))
            )
        };
        let record = receiver.get(&format!("/events/{receiver_key}")).await.body;
        assert_eq!(record["body"], body, "{record}");
        assert_eq!(
            (&record["claimed_event_id"], &record["claimed_type"]),
            (&id, &event_type),
            "{record}"
        );
    }
}

#[tokio::test]
async fn a_401_has_a_challenge() {
    let receiver = Receiver::start().await;
    let answer = receiver
        .send(post("{}", &[]))
        .await
        .expect(401, "invalid_signature");
    let challenge = answer.headers["www-authenticate"].to_str().unwrap();
    assert!(
        challenge.starts_with("HMAC-SHA256 ") && challenge.contains("X-Sonotheia-Signature"),
        "{challenge}"
    );
}
