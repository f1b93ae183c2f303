//! The log line of an invocation, which is its metrics too (contract, section 7).

use serde_json::{Value, json};
use sonotheia_webhook::config::{Config, SecretSource};

use testkit::*;

/// A line's metrics, by the definitions CloudWatch would extract them by.
fn metrics(line: &Value) -> Vec<(String, String)> {
    let directives = line["_aws"]["CloudWatchMetrics"].as_array().expect("directives");
    assert!(
        line["_aws"]["Timestamp"]
            .as_i64()
            .is_some_and(|ms| ms > 1_700_000_000_000)
    );
    let mut metrics = Vec::new();
    for directive in directives {
        assert_eq!(directive["Namespace"], "SonotheiaWebhook");
        for dimension in directive["Dimensions"][0].as_array().expect("dimensions") {
            assert!(
                line[dimension.as_str().unwrap()].is_string(),
                "{dimension} has no value in {line}"
            );
        }
        for metric in directive["Metrics"].as_array().expect("metrics") {
            let name = metric["Name"].as_str().unwrap();
            assert!(line[name].is_number(), "{name} has no value in {line}");
            metrics.push((name.to_owned(), metric["Unit"].as_str().unwrap().to_owned()));
        }
    }
    metrics
}

fn names(line: &Value) -> Vec<String> {
    metrics(line).into_iter().map(|(name, _)| name).collect()
}

#[tokio::test]
async fn an_invocation_writes_one_line_with_the_contracts_keys() {
    let receiver = Receiver::start().await;
    let event = deepfake("event-1", "session-1", 0.5);
    let body = event.to_string();
    let mut request = signed(&body, SECRET);
    request
        .headers_mut()
        .insert("x-sonotheia-delivery-id", "delivery-1".parse().unwrap());
    receiver.send(request).await.received(false);
    assert_eq!(receiver.log.text().lines().count(), 1);
    let line = receiver.log.last();
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["event_id"], "event-1");
    assert_eq!(line["event_type"], "deepfake.completed");
    assert_eq!(line["outcome"], "accepted");
    assert_eq!(line["delivery_id"], "delivery-1");
    assert!(line["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0));
    assert!(line["request_id"].as_str().is_some_and(|id| id.len() == 32));
    assert_eq!(
        line["xray_trace_id"],
        Value::Null,
        "there is none outside of Lambda, and the key is there"
    );
    let metrics = metrics(&line);
    for (name, unit) in [
        ("Accepted", "Count"),
        ("ColdStart", "Count"),
        ("HandlerLatency", "Milliseconds"),
        ("StoreLatency", "Milliseconds"),
        ("DeliveryLag", "Milliseconds"),
    ] {
        assert!(metrics.contains(&(name.into(), unit.into())), "{name} in {line}");
    }
    assert_eq!(metrics.len(), 5, "{line}");
}

#[tokio::test]
async fn each_outcome_has_its_name_and_its_metric() {
    let config = Config {
        max_body_bytes: 1000,
        ..Config::new(TABLE, SecretSource::Fixed(SECRET.into()))
    };
    let receiver = Receiver::with(config, None, None).await;
    let event = deepfake("event-1", "session-1", 0.9);
    let mut other = event.clone();
    other["data"]["score"] = json!(0.1);
    let unknown = json!({"id": "event-2", "type": "unknown", "metadata": 1, "data": {"session_id": 1}});
    let forged = post("{}", &[]);
    let large = post([b' '; 1001], &[]);
    for (request, outcome, expected) in [
        (
            signed(event.to_string(), SECRET),
            "accepted",
            vec!["Accepted", "Alert", "Alert"],
        ),
        (signed(event.to_string(), SECRET), "duplicate", vec!["Duplicate"]),
        (signed(other.to_string(), SECRET), "conflict", vec!["Conflict"]),
        (signed("{}", SECRET), "rejected", vec!["Rejected"]),
        (
            signed(unknown.to_string(), SECRET),
            "accepted",
            vec!["Accepted", "UnknownEventType", "FieldProblem"],
        ),
        (forged, "invalid_signature", vec!["InvalidSignature"]),
        (large, "too_large", vec!["TooLarge"]),
    ] {
        receiver.send(request).await;
        let line = receiver.log.last();
        assert_eq!(line["outcome"], outcome);
        let counts: Vec<_> = metrics(&line)
            .into_iter()
            .filter(|(name, unit)| unit == "Count" && name != "ColdStart")
            .map(|(name, _)| name)
            .collect();
        let mut expected: Vec<_> = expected.into_iter().map(str::to_owned).collect();
        // The alert is counted once over all and once by its name.
        let mut counts_sorted = counts.clone();
        counts_sorted.sort();
        expected.sort();
        assert_eq!(counts_sorted, expected, "{line}");
    }
    assert_eq!(receiver.log.text().matches("\"ColdStart\":1").count(), 1);
    let alert: Value = serde_json::from_str(receiver.log.text().lines().next().unwrap()).unwrap();
    assert_eq!(alert["alert"], "high_deepfake_score");
    assert_eq!(
        alert["_aws"]["CloudWatchMetrics"][1]["Dimensions"],
        json!([["Service", "alert"]])
    );
}

#[tokio::test]
async fn an_unavailable_delivery_is_counted_with_what_is_known_of_it() {
    let fault = Fault::Answer(500, "InternalServerError");
    let config = Config::new(TABLE, SecretSource::Fixed(SECRET.into()));
    let receiver = Receiver::with(config, None, Some(fault.always())).await;
    receiver
        .deliver(deepfake("event-1", "s", 0.5).to_string())
        .await
        .expect(503, "unavailable");
    let line = receiver.log.last();
    assert_eq!(line["outcome"], "unavailable");
    assert_eq!(line["event_id"], "event-1");
    assert!(names(&line).contains(&"Unavailable".to_owned()));
}

#[tokio::test]
async fn no_secret_signature_or_body_is_logged() {
    let receiver = Receiver::start().await;
    let mut event = deepfake("event-1", "session-1", 0.5);
    event["data"]["note"] = json!("private words");
    let body = event.to_string();
    let bad = body.replace(r#""data":{"#, r#""data":{"half":"\ud800","#);
    let broken = &body[..body.len() - 1];
    let signature = sign(&body, SECRET);
    receiver.deliver(&body).await.received(false);
    receiver.deliver(&bad).await.expect(400, "invalid_event");
    receiver.deliver(broken).await.expect(400, "invalid_event");
    receiver
        .deliver("[\"private words\"]")
        .await
        .expect(400, "invalid_event");
    receiver
        .send(post(&body, &[&sign(&body, "another")]))
        .await
        .expect(401, "invalid_signature");
    let log = receiver.log.text();
    for private in [
        SECRET,
        signature.as_str(),
        &sign(&body, "another"),
        "private words",
        "session-1",
    ] {
        assert!(!log.contains(private), "{private:?} in {log}");
    }
    // Nor does the refusal that is stored and answered quote it.
    let rejected = receiver.get("/results?outcome=rejected").await;
    assert_eq!(rejected.body["count"], 3);
    assert!(
        !rejected.body.to_string().contains("private words"),
        "{rejected:?}"
    );
}

#[tokio::test]
async fn forged_headers_are_cut_and_escaped_and_stay_one_line() {
    let receiver = Receiver::start().await;
    let mut request = post("{}", &[]);
    let hostile = format!("\",\"outcome\":\"accepted{}", "x".repeat(1000));
    request
        .headers_mut()
        .insert("x-sonotheia-delivery-id", hostile.parse().unwrap());
    request
        .headers_mut()
        .insert("x-sonotheia-event-id", "y".repeat(1000).parse().unwrap());
    receiver.send(request).await.expect(401, "invalid_signature");
    assert_eq!(receiver.log.text().lines().count(), 1);
    let line = receiver.log.last();
    assert_eq!(line["outcome"], "invalid_signature");
    assert_eq!(line["delivery_id"].as_str().unwrap().chars().count(), 256);
    assert_eq!(line["event_id"], Value::Null, "unsigned ids are logged as claims");
    assert_eq!(line["claimed_event_id"].as_str().unwrap().len(), 256);
}

#[tokio::test]
async fn an_answer_of_dynamodb_that_cannot_be_read_puts_no_body_into_the_log() {
    let garble = Fault::Rewrite(|_, (status, body)| (status, body.replace('}', "!")));
    let config = Config::new(TABLE, SecretSource::Fixed(SECRET.into()));
    let receiver = Receiver::with(config, None, Some(garble.always())).await;
    let _logged = tracing::subscriber::set_default(receiver.app.telemetry.subscriber(emulators::ERRORS_ONLY));
    let mut event = deepfake("event-1", "session-1", 0.5);
    event["data"]["note"] = json!("private words");
    // The first one is stored, and the second one refused with the item that is there.
    for _ in 0..2 {
        receiver
            .deliver(event.to_string())
            .await
            .expect(503, "unavailable");
    }
    for path in ["/events/event-1", "/results/session-1", "/results"] {
        receiver.get(path).await.expect(503, "unavailable");
    }
    let log = receiver.log.text();
    assert_eq!(log.matches(REQUEST_ID).count(), 5, "{log}");
    assert!(
        !log.contains("private words") && !log.contains("session-1"),
        "{log}"
    );
}

#[tokio::test]
async fn the_log_says_what_went_wrong_with_a_call_to_aws() {
    for (fault, causes) in [
        (Fault::Hang, vec!["PutItem", "the call timed out"]),
        (
            Fault::CutBefore,
            vec!["PutItem", "the server closed the connection"],
        ),
        (
            Fault::Answer(400, "AccessDeniedException"),
            vec!["AccessDeniedException", "HTTP status 400"],
        ),
        (
            Fault::Answer(400, "ProvisionedThroughputExceededException"),
            vec!["ProvisionedThroughputExceededException", "HTTP status 400"],
        ),
    ] {
        let config = Config::new(TABLE, SecretSource::Fixed(SECRET.into()));
        let receiver = Receiver::with(config, None, Some(fault.always())).await;
        let _logged =
            tracing::subscriber::set_default(receiver.app.telemetry.subscriber(emulators::ERRORS_ONLY));
        let event = deepfake("event-1", "session-1", 0.5).to_string();
        let answer = receiver.deliver(event).await.expect(503, "unavailable");
        let log = receiver.log.text();
        let line: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["request_id"], answer.body["request_id"]);
        for cause in causes {
            assert!(
                line["cause"].as_str().unwrap().contains(cause),
                "{cause} in {line}"
            );
        }
        // The service's message may quote the item.
        assert!(!log.contains("injected"), "{log}");
        // The SDK's own events are errors of the transport.
        assert!(!log.contains("aws_smithy"), "{log}");
    }
}

#[tokio::test]
async fn problems_unknown_types_and_lags_are_counted_once_and_of_accepted_events_alone() {
    let receiver = Receiver::start().await;
    let old = json!({"type": "unknown", "timestamp": "0001-01-01T00:00:00Z", "data": {}});
    let mut event =
        json!({"id": "event-1", "type": "unknown", "metadata": 1, "timestamp": at(-1), "data": {}});
    let mut requests = vec![
        (old.to_string(), false),
        (event.to_string(), true),
        (event.to_string(), false),
    ];
    event["data"]["other"] = json!(1);
    requests.push((event.to_string(), false));
    for (body, counted) in requests {
        receiver.deliver(body).await;
        let line = receiver.log.last();
        for metric in ["UnknownEventType", "FieldProblem", "DeliveryLag"] {
            assert_eq!(
                names(&line).iter().any(|name| name == metric),
                counted,
                "{metric} in {line}"
            );
        }
    }
}
