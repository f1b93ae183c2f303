//! Routes, paths and queries, as each front sends them.

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{FRONTS, event, invoke};
use testkit::*;

/// A GET, as the front sends it for a path that the client has encoded. `resource` is the resource that API Gateway matched.
fn get_event(front: &str, template: &str, path: &str, resource: &str, query: &[(&str, &str)]) -> Value {
    let mut event = event(template, "", "");
    let decoded = percent_decode_str(path).decode_utf8().expect("a path in UTF-8");
    let joined = query
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join("&");
    match front {
        "HTTP API" | "function URL" => {
            // HTTP APIs decode the path, and function URLs do not.
            event["rawPath"] = json!(if front == "HTTP API" { &*decoded } else { path });
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

#[tokio::test]
async fn the_stage_is_not_a_part_of_the_path() {
    let receiver = Receiver::start().await;
    for path in ["/live/webhook", "/webhook"] {
        let body = deepfake(path, "session-1", 0.5).to_string();
        let mut event = event(
            include_str!("../../events/http.json"),
            &body,
            &sign(&body, SECRET),
        );
        event["rawPath"] = json!(path);
        event["requestContext"]["stage"] = json!("live");
        let (status, answer, _) = invoke(&receiver, &event).await;
        assert_eq!(status, 200, "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_path_without_a_route_at_the_gateway_has_no_route_in_the_receiver() {
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
            let mut event = event(include_str!("../../events/rest.json"), "", "");
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
        let mut event = event(include_str!("../../events/rest.json"), "", "");
        event["httpMethod"] = json!("GET");
        event["path"] = json!(path);
        event["resource"] = json!(resource);
        let (status, answer, _) = invoke(&receiver, &event).await;
        assert_eq!(status, 200, "{path}: {answer}");
    }
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
