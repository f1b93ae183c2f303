//! Lambda's events, through the handler that the function runs. `tests/events/README.md` describes the fixtures.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
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
    if event["version"] == "2.0" || reply.get("multiValueHeaders").is_none() {
        // `cargo lambda watch` reads the answer by this type.
        serde_json::from_value::<ApiGatewayV2httpResponse>(reply.clone()).expect("an answer of payload 2.0");
    }
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
    let outcome = if status == 500 { "internal" } else { "refused" };
    assert_eq!(line["outcome"], outcome);
    assert_eq!(line["request_id"], "8476a536-e9f4-11e8-9739-2dfe598c3fcd");
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

/// A GET, as the front sends it for a path that the client has encoded. `resource` is the resource that API Gateway matched.
fn get_event(front: &str, template: &str, path: &str, resource: &str, query: &[(&str, &str)]) -> Value {
    let mut event = event(template, "", "");
    let decoded = percent_decode(path);
    let joined = query
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join("&");
    match front {
        "HTTP API" | "function URL" => {
            // HTTP APIs decode the path, and function URLs do not.
            event["rawPath"] = json!(if front == "HTTP API" { &decoded } else { path });
            event["rawQueryString"] = json!(joined);
            event["requestContext"]["http"]["method"] = json!("GET");
            if front == "HTTP API" {
                event["routeKey"] = json!(format!("GET {resource}"));
                event["requestContext"]["routeKey"] = json!(format!("GET {resource}"));
            }
        }
        _ => {
            event["path"] = json!(path);
            event["httpMethod"] = json!("GET");
            if front == "REST API" {
                event["resource"] = json!(resource);
            }
            let several: serde_json::Map<_, _> = query
                .iter()
                .map(|(name, value)| ((*name).to_owned(), json!([value])))
                .collect();
            let single: serde_json::Map<_, _> = query
                .iter()
                .map(|(name, value)| ((*name).to_owned(), json!(value)))
                .collect();
            if front != "ALB" {
                event["multiValueQueryStringParameters"] = several.into();
            }
            if front != "ALB, multi-value" {
                event["queryStringParameters"] = single.into();
            }
        }
    }
    event
}

fn percent_decode(path: &str) -> String {
    let bytes = path.as_bytes();
    let (mut decoded, mut i) = (Vec::new(), 0);
    while i < bytes.len() {
        let byte = bytes
            .get(i + 1..i + 3)
            .and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        match (bytes[i], byte) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                i += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8(decoded).unwrap()
}

#[tokio::test]
async fn an_id_is_read_back_by_its_encoded_form_on_every_front() {
    let receiver = Receiver::start().await;
    for (id, encoded) in [
        ("event/1 +ü%", "event%2F1%20%2B%C3%BC%25"),
        ("a%2Fb", "a%252Fb"),
        ("a/b", "a%2Fb"),
        ("a#b&c=d", "a%23b%26c%3Dd"),
        ("results/x", "results%2Fx"),
    ] {
        receiver
            .deliver(deepfake(id, "session-1", 0.5).to_string())
            .await
            .received(false);
        for (front, template) in FRONTS {
            for end in ["", "/"] {
                let path = format!("/events/{encoded}{end}");
                let event = get_event(front, template, &path, "/events/{event_id}", &[]);
                let (status, answer, _) = invoke(&receiver, &event).await;
                assert_eq!(
                    (status, &answer["event_id"]),
                    (200, &json!(id)),
                    "{front} {path}: {answer}"
                );
            }
        }
    }
}

#[tokio::test]
async fn queries_are_read_from_every_front() {
    let receiver = Receiver::start().await;
    receiver
        .deliver(deepfake("event-1", "session-1", 0.5).to_string())
        .await
        .received(false);
    for (front, template) in FRONTS {
        for (wanted, count) in [("deepfake.completed", 1), ("sar.filed", 0)] {
            let query = [("type", wanted), ("limit", "1")];
            let event = get_event(front, template, "/results/", "/results", &query);
            let (status, answer, _) = invoke(&receiver, &event).await;
            assert_eq!(
                (status, &answer["count"]),
                (200, &json!(count)),
                "{front}: {answer}"
            );
        }
    }
}

#[tokio::test]
async fn a_path_is_used_as_the_front_matched_it_on_every_front() {
    let receiver = Receiver::start().await;
    receiver
        .deliver(deepfake("event-1", "session-1", 0.5).to_string())
        .await
        .received(false);
    for (front, template) in FRONTS {
        for path in [
            "/webhook/../results",
            "/webhook/%2e%2e/results",
            "/./results",
            "//results",
            "/results//",
            "/webhook/..%2Fresults",
            "/x/../events/event-1",
            "/%72esults",
        ] {
            // Without a matched resource only the path decides. A REST API matched its open resource for these.
            let resource = if front == "REST API" {
                "/{unknown+}"
            } else {
                "$default"
            };
            let mut event = get_event(front, template, path, resource, &[]);
            if front == "HTTP API" {
                if path == "/%72esults" {
                    continue; // An HTTP API decodes this path before it matches, so it is the route.
                }
                event["routeKey"] = json!("$default");
            }
            let (status, answer, _) = invoke(&receiver, &event).await;
            assert_eq!(
                (status, &answer["code"]),
                (404, &json!("not_found")),
                "{front} {path}: {answer}"
            );
        }
    }
}

#[tokio::test]
async fn behind_a_base_path_the_matched_resource_is_the_route() {
    let receiver = Receiver::start().await;
    let body = deepfake("event-1", "session-1", 0.5).to_string();
    let mut delivery = event(FRONTS[0].1, &body, &sign(&body, SECRET));
    delivery["path"] = json!("/hooks/v1/webhook");
    delivery["resource"] = json!("/webhook");
    assert_eq!(invoke(&receiver, &delivery).await.0, 200);
    let read = get_event(
        "REST API",
        FRONTS[0].1,
        "/hooks/events/event-1",
        "/events/{event_id}",
        &[],
    );
    assert_eq!(invoke(&receiver, &read).await.0, 200);
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
