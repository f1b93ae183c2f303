//! Bodies, headers and odd members of an invocation, as each front sends them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{FRONTS, event, invoke};
use testkit::*;

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
async fn a_body_that_is_not_text_reaches_the_signature_check_unchanged() {
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
async fn a_repeated_signature_header_is_refused_where_the_front_passes_both_on() {
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
async fn a_delivery_without_a_signature_header_is_refused() {
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
async fn an_invocation_that_is_not_an_http_request_gets_an_answer_and_never_a_function_error() {
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
        let (status, answer, reply) = invoke(&receiver, &event).await;
        assert_eq!((status, &answer["code"]), (500, &json!("internal")), "{front}");
        assert_line(&receiver, 500);
        // The answer has the shape of a usual answer.
        let (_, _, usual) = invoke(&receiver, &self::event(template, "{}", &sign("", SECRET))).await;
        let members = |reply: &Value| {
            reply
                .as_object()
                .expect("an object")
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(members(&reply), members(&usual), "{front}");
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
    let outcome = if status == 500 { "internal" } else { "refused" };
    assert_eq!(line["outcome"], outcome);
    assert_eq!(line["request_id"], "8476a536-e9f4-11e8-9739-2dfe598c3fcd");
}

#[tokio::test]
async fn blanks_and_tabs_around_the_signature_are_ignored() {
    let receiver = Receiver::start().await;
    for (i, (front, template)) in FRONTS.into_iter().enumerate() {
        let body = deepfake(&format!("event-{i}"), "session-1", 0.5).to_string();
        // The template is JSON text, so the tabs are escaped.
        let signature = format!("\\t {}\\t", sign(&body, SECRET));
        let (status, answer, _) = invoke(&receiver, &event(template, &body, &signature)).await;
        assert_eq!(status, 200, "{front}: {answer}");
    }
}

#[tokio::test]
async fn header_values_outside_of_ascii_are_read() {
    let receiver = Receiver::start().await;
    for (i, (front, template)) in FRONTS.into_iter().enumerate() {
        let body = deepfake(&format!("event-{i}"), "session-1", 0.5).to_string();
        let template = template.replace("Sonotheia-Webhook/1.0", "Sönotheia ☎");
        let (status, answer, _) = invoke(&receiver, &event(&template, &body, &sign(&body, SECRET))).await;
        assert_eq!(status, 200, "{front}: {answer}");
    }
}

#[tokio::test]
async fn only_body_signature_and_route_decide_what_a_signed_delivery_gets() {
    let receiver = Receiver::start().await;
    for (front, template) in FRONTS {
        type Change = (&'static str, &'static dyn Fn(&mut Value));
        let odd: [Change; 9] = [
            ("the Host of the console's test event", &|event| {
                event["headers"]["Host"] = json!("1234567890.execute-api.{dns_suffix}");
            }),
            ("a control character in a header", &|event| {
                event["headers"]["x-odd"] = json!("a\u{7}\n")
            }),
            ("a header that is not a string", &|event| {
                event["headers"]["x-odd"] = json!({"a": [1]})
            }),
            ("a blank in the query", &|event| {
                event["rawQueryString"] = json!("a b\u{1}=é")
            }),
            ("a query that is a number", &|event| {
                event["queryStringParameters"] = json!(7)
            }),
            ("an identity of another shape", &|event| {
                event["requestContext"]["identity"] = json!([1])
            }),
            ("an authorizer of another shape", &|event| {
                event["requestContext"]["authorizer"] = json!("x")
            }),
            ("a stage of another shape", &|event| {
                event["requestContext"]["stage"] = json!({"a": 1})
            }),
            ("stage variables of another shape", &|event| {
                event["stageVariables"] = json!("x")
            }),
        ];
        for (i, (name, make)) in odd.iter().enumerate() {
            let body = deepfake(&format!("{front} {i}"), "session-1", 0.5).to_string();
            let mut event = event(template, &body, &sign(&body, SECRET));
            make(&mut event);
            let (status, answer, _) = invoke(&receiver, &event).await;
            assert_eq!(status, 200, "{front}, {name}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_base64_body_may_have_line_breaks_no_padding_or_the_alphabet_for_urls() {
    let receiver = Receiver::start().await;
    for (i, (front, template)) in FRONTS.into_iter().enumerate() {
        let mut body = deepfake(&format!("event-{i}"), "session-1", 0.5);
        body["data"]["note"] = json!("?>~ÿþ");
        let body = body.to_string();
        let encoded = STANDARD.encode(&body);
        let lines: Vec<_> = encoded
            .as_bytes()
            .chunks(76)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        for spelled in [
            lines.join("\r\n"),
            encoded.trim_end_matches('=').to_owned(),
            encoded.replace('+', "-").replace('/', "_"),
        ] {
            let mut event = event(template, &spelled, &sign(&body, SECRET));
            event["isBase64Encoded"] = json!(true);
            let (status, answer, _) = invoke(&receiver, &event).await;
            assert_eq!(status, 200, "{front}: {answer}");
        }
    }
}

#[tokio::test]
async fn more_headers_than_a_map_can_hold_do_not_decide_what_a_delivery_gets() {
    let receiver = Receiver::start().await;
    let body = deepfake("event-1", "session-1", 0.5).to_string();
    let (_, template) = FRONTS[0];
    let mut event = event(template, &body, &sign(&body, SECRET));
    // Each map fits into a `HeaderMap`, and both together do not.
    for (map, prefix) in [("multiValueHeaders", "m"), ("headers", "s")] {
        for n in 0..13_000 {
            event[map][format!("x-{prefix}-{n}")] = json!("v");
        }
    }
    let (status, answer, _) = invoke(&receiver, &event).await;
    assert_eq!(status, 200, "{answer}");
}
