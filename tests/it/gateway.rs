//! Lambda's events, through the handler that the function runs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_http::lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use sonotheia_webhook::lambda::Handler;
use tower::Service;

use testkit::*;

const FRONTS: [(&str, &str); 5] = [
    ("REST API", include_str!("../events/rest.json")),
    ("HTTP API", include_str!("../events/http.json")),
    ("function URL", include_str!("../events/function_url.json")),
    ("ALB", include_str!("../events/alb.json")),
    ("ALB, multi-value", include_str!("../events/alb_multi_value.json")),
];

/// Invokes the handler with an event and reads its reply as the front would.
async fn invoke(receiver: &Receiver, event: &Value) -> (u16, Value, Value) {
    let mut gateway = Handler::new(receiver.app.clone());
    let payload = serde_json::from_str(&event.to_string()).expect("any JSON is a payload");
    let mut context = Context::default();
    context.request_id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd".into();
    context.xray_trace_id = Some("Root=1-6970c8c0-0123456789abcdef01234567".into());
    let Ok(reply) = gateway.call(LambdaEvent::new(payload, context)).await;
    let reply = serde_json::to_value(&reply).expect("a reply");
    let status = reply["statusCode"].as_u64().expect("a status") as u16;
    let body = reply["body"].as_str().expect("a text body");
    assert_eq!(reply["isBase64Encoded"], false, "{reply}");
    (status, serde_json::from_str(body).expect("JSON"), reply)
}

fn event(template: &str, body: &str, signature: &str) -> Value {
    let filled = template.replace("SIGNATURE", signature);
    let mut event: Value = serde_json::from_str(&filled).unwrap();
    event["body"] = json!(body);
    event
}

#[tokio::test]
async fn every_front_delivers_plain_and_base64_bodies() {
    let receiver = Receiver::start().await;
    for (i, (front, template)) in FRONTS.into_iter().enumerate() {
        let mut body = deepfake(&format!("event-{i}"), "session-1", 0.5);
        body["data"]["note"] = json!("é \u{2028} \\ \" 😀");
        let body = body.to_string();
        let plain = event(template, &body, &sign(&body, SECRET));
        let (status, answer, _) = invoke(&receiver, &plain).await;
        assert_eq!(
            (status, &answer["duplicate"]),
            (200, &json!(false)),
            "{front}: {answer}"
        );

        // The signature is over the decoded bytes.
        let mut encoded = event(template, &STANDARD.encode(&body), &sign(&body, SECRET));
        encoded["isBase64Encoded"] = json!(true);
        let (status, answer, _) = invoke(&receiver, &encoded).await;
        assert_eq!(
            (status, &answer["duplicate"]),
            (200, &json!(true)),
            "{front}: {answer}"
        );

        let forged = event(template, &body, &sign("another body", SECRET));
        assert_eq!(invoke(&receiver, &forged).await.0, 401, "{front}");
        let log = receiver.log.last();
        assert_eq!(log["delivery_id"], "delivery-1");
        assert_eq!(log["request_id"], "8476a536-e9f4-11e8-9739-2dfe598c3fcd");
        assert_eq!(log["xray_trace_id"], "Root=1-6970c8c0-0123456789abcdef01234567");
    }
}

#[tokio::test]
async fn the_stage_is_no_part_of_the_path() {
    let receiver = Receiver::start().await;
    for path in ["/live/webhook", "/webhook"] {
        let body = deepfake(path, "session-1", 0.5).to_string();
        let mut event = event(include_str!("../events/http.json"), &body, &sign(&body, SECRET));
        event["rawPath"] = json!(path);
        event["requestContext"]["stage"] = json!("live");
        let (status, answer, _) = invoke(&receiver, &event).await;
        assert_eq!(status, 200, "{path}: {answer}");
    }
}

#[tokio::test]
async fn what_the_gateway_takes_for_no_route_is_none_however_its_path_reads() {
    let receiver = Receiver::start().await;
    receiver
        .deliver(deepfake("event-1", "session-1", 0.5).to_string())
        .await
        .received(false);
    // The template's catch-all is open to anybody. A path that API Gateway matched with it must not
    // get at the reads, which are behind IAM.
    for path in [
        "/results",
        "/results/session-1",
        "/events/event-1",
        "//results",
        "/%72esults",
        "/webhook",
        "/nope",
    ] {
        for resource in ["/{unknown+}", "/results"] {
            let mut event = event(include_str!("../events/rest.json"), "", "");
            event["httpMethod"] = json!("GET");
            event["path"] = json!(path);
            event["resource"] = json!(resource);
            let (status, answer, _) = invoke(&receiver, &event).await;
            if resource == "/{unknown+}" {
                assert_eq!(
                    (status, &answer["code"]),
                    (404, &json!("not_found")),
                    "{path}: {answer}"
                );
            } else if path == "/results" {
                assert_eq!(status, 200, "{answer}");
            }
        }
    }
}

#[tokio::test]
async fn a_session_id_with_a_slash_in_it_is_read_back_through_a_rest_api() {
    let receiver = Receiver::start().await;
    receiver
        .deliver(deepfake("event/1 é", "session/1 é", 0.5).to_string())
        .await
        .received(false);
    // A REST API hands the path on as it was sent.
    for (resource, path) in [
        ("/results/{session_id}", "/results/session%2F1%20%C3%A9"),
        ("/events/{event_id}", "/events/event%2F1%20%C3%A9"),
    ] {
        let mut event = event(include_str!("../events/rest.json"), "", "");
        event["httpMethod"] = json!("GET");
        event["path"] = json!(path);
        event["resource"] = json!(resource);
        let (status, answer, _) = invoke(&receiver, &event).await;
        assert_eq!(status, 200, "{path}: {answer}");
    }
}

#[tokio::test]
async fn bodies_that_are_no_text_reach_the_signature_check_as_they_are() {
    let receiver = Receiver::start().await;
    let body = b"\x00\xff not UTF-8";
    for (front, template) in FRONTS {
        let mut event = event(template, &STANDARD.encode(body), &sign(body, SECRET));
        event["isBase64Encoded"] = json!(true);
        let (status, answer, _) = invoke(&receiver, &event).await;
        assert_eq!(
            (status, &answer["code"]),
            (400, &json!("invalid_event")),
            "{front}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_signature_header_that_comes_twice_is_refused_where_the_front_hands_us_both() {
    let receiver = Receiver::start().await;
    let body = deepfake("event-1", "session-1", 0.5).to_string();
    let good = sign(&body, SECRET);
    for (front, template) in FRONTS {
        let mut event = event(template, &body, &good);
        for (headers, name) in [
            ("headers", "X-Sonotheia-Signature"),
            ("headers", "x-sonotheia-signature"),
        ] {
            // HTTP APIs and function URLs join them.
            if event.get("version").is_some() && event[headers].get(name).is_some() {
                event[headers][name] = json!(format!("{good},{good}"));
            }
        }
        if let Some(headers) = event.get_mut("multiValueHeaders").and_then(Value::as_object_mut) {
            for (name, values) in headers {
                if name.eq_ignore_ascii_case("x-sonotheia-signature") {
                    *values = json!([good, good]);
                }
            }
        }
        let (status, answer, _) = invoke(&receiver, &event).await;
        // An ALB without multi-value headers keeps the last one, and tells nobody.
        let expected = if front == "ALB" { 200 } else { 401 };
        assert_eq!(status, expected, "{front}: {answer}");
    }
}

#[tokio::test]
async fn no_signature_header_is_refused() {
    let receiver = Receiver::start().await;
    for (front, template) in FRONTS {
        let mut event = event(template, "{}", &sign("{}", SECRET));
        for headers in ["headers", "multiValueHeaders"] {
            if let Some(headers) = event.get_mut(headers).and_then(Value::as_object_mut) {
                headers.retain(|name, _| !name.eq_ignore_ascii_case("x-sonotheia-signature"));
            }
        }
        assert_eq!(invoke(&receiver, &event).await.0, 401, "{front}");
    }
}

#[tokio::test]
async fn an_empty_or_absent_body_is_a_body() {
    let receiver = Receiver::start().await;
    for (front, template) in FRONTS {
        for body in [json!(""), Value::Null] {
            let mut event = event(template, "", &sign("", SECRET));
            event["body"] = body;
            let (status, answer, _) = invoke(&receiver, &event).await;
            assert_eq!(
                (status, &answer["code"]),
                (400, &json!("invalid_event")),
                "{front}"
            );
        }
    }
}

#[tokio::test]
async fn what_no_front_would_send_is_answered_and_never_a_function_error() {
    let receiver = Receiver::start().await;
    for payload in [
        json!({}),
        json!({"key1": "value1"}),
        json!([1]),
        json!(null),
        json!("text"),
    ] {
        let (status, answer, reply) = invoke(&receiver, &payload).await;
        assert_eq!(
            (status, &answer["code"]),
            (400, &json!("invalid_request")),
            "{reply}"
        );
        assert_eq!(reply["headers"]["content-type"], "application/json");
        assert_line(&receiver, 400);
    }
    for (front, template) in FRONTS {
        let mut event = event(template, "not base64!", &sign("", SECRET));
        event["isBase64Encoded"] = json!(true);
        let (status, answer, _) = invoke(&receiver, &event).await;
        assert_eq!((status, &answer["code"]), (500, &json!("internal")), "{front}");
        assert_line(&receiver, 500);
    }
    assert_eq!(receiver.log.text().matches("\"ColdStart\":1").count(), 1);
}

/// The line of an invocation that no route saw.
#[track_caller]
fn assert_line(receiver: &Receiver, status: u16) {
    let line = receiver.log.last();
    assert_eq!(
        (&line["level"], &line["status"]),
        (&json!("INFO"), &json!(status))
    );
    assert_eq!(line["outcome"], "refused");
    assert_eq!(line["request_id"], "8476a536-e9f4-11e8-9739-2dfe598c3fcd");
}

#[tokio::test]
async fn header_values_outside_of_ascii_are_taken() {
    let receiver = Receiver::start().await;
    for (i, (front, template)) in FRONTS.into_iter().enumerate() {
        let body = deepfake(&format!("event-{i}"), "session-1", 0.5).to_string();
        let template = template.replace("Sonotheia-Webhook/1.0", "Sönotheia ☎");
        let (status, answer, _) = invoke(&receiver, &event(&template, &body, &sign(&body, SECRET))).await;
        assert_eq!(status, 200, "{front}: {answer}");
    }
}

#[tokio::test]
async fn reads_take_paths_and_queries_from_every_front() {
    let receiver = Receiver::start().await;
    receiver
        .deliver(deepfake("event/1 +ü%", "session-1", 0.5).to_string())
        .await
        .received(false);
    let encoded = "/events/event%2F1%20+%C3%BC%25";
    for (front, template) in FRONTS {
        let mut event = event(template, "", "");
        if event.get("version").is_some() {
            event["rawPath"] = json!(encoded);
            event["requestContext"]["http"]["method"] = json!("GET");
        } else {
            event["path"] = json!(encoded);
            event["httpMethod"] = json!("GET");
        }
        let (status, answer, _) = invoke(&receiver, &event).await;
        assert_eq!(
            (status, &answer["event_id"]),
            (200, &json!("event/1 +ü%")),
            "{front}: {answer}"
        );

        if event.get("version").is_some() {
            event["rawPath"] = json!("/results");
            event["rawQueryString"] = json!("type=deepfake.completed&limit=1");
        } else {
            event["path"] = json!("/results");
            let key = if event.get("multiValueHeaders").is_some() {
                event["multiValueQueryStringParameters"] =
                    json!({"type": ["deepfake.completed"], "limit": ["1"]});
                "multiValueQueryStringParameters"
            } else {
                event["queryStringParameters"] = json!({"type": "deepfake.completed", "limit": "1"});
                "queryStringParameters"
            };
            assert!(event.get(key).is_some());
        }
        let (status, answer, _) = invoke(&receiver, &event).await;
        assert_eq!((status, &answer["count"]), (200, &json!(1)), "{front}: {answer}");
    }
}
