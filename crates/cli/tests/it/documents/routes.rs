//! The OpenAPI document against the real router.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;
use jsonschema::Validator;
use serde_json::{Value, json};
use sonotheia_webhook::store::Erasure;
use sonotheia_webhook::timestamp::Timestamp;
use testkit::{Answer, Receiver, SECRET, TABLE, deepfake, post, signed};

use super::{document, file, validator};

/// The document with closed objects, so that an undescribed member of an answer is a fault.
struct Closed(Value);

impl Closed {
    fn new() -> Self {
        let mut document = document(&["openapi"]);
        let schemas = document["components"]["schemas"].as_object_mut().unwrap();
        for (_, schema) in schemas
            .iter_mut()
            .filter(|(name, _)| !name.contains('.') && *name != "Event")
        {
            if schema["type"] == "object" {
                schema["additionalProperties"] = json!(false);
            }
        }
        Self(document)
    }

    fn validator(&self, schema: &Value) -> Validator {
        let mut schema = schema.clone();
        schema["components"] = self.0["components"].clone();
        validator(&schema)
    }

    /// Checks an answer of this operation against its description.
    #[track_caller]
    fn describes(&self, path: &str, method: &str, answer: &Answer) {
        let status = answer.status.as_str();
        let described = &self.0["paths"][path][method]["responses"][status];
        assert!(
            described.is_object(),
            "{method} {path} does not describe {answer:?}"
        );
        for (name, header) in described["headers"].as_object().unwrap() {
            let value = answer
                .headers
                .get(name.as_str())
                .map(|value| value.to_str().unwrap());
            if header["required"] == true {
                assert!(value.is_some(), "{name} in {answer:?}");
            }
            if let Some(value) = value {
                assert!(
                    self.validator(&header["schema"]).is_valid(&json!(value)),
                    "{name}: {value}"
                );
            }
        }
        for name in ["allow", "retry-after", "www-authenticate"] {
            let headers = described["headers"].as_object().unwrap();
            let is_described = headers.keys().any(|header| header.eq_ignore_ascii_case(name));
            assert_eq!(
                answer.headers.contains_key(name),
                is_described,
                "{name} in {answer:?}"
            );
        }
        let schema = &described["content"]["application/json"]["schema"];
        let fault = self
            .validator(schema)
            .iter_errors(&answer.body)
            .next()
            .map(|fault| fault.to_string());
        assert_eq!(fault, None, "{answer:?}");
    }
}

fn request(method: &str, path: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap()
}

/// From now on, DynamoDB refuses every call of the receiver.
async fn lose_the_table(receiver: &Receiver) {
    let deletion = receiver.direct.delete_table().table_name(TABLE).send().await;
    deletion.unwrap();
}

#[tokio::test]
async fn every_answer_to_a_delivery_is_described() {
    let receiver = Receiver::start().await;
    let document = Closed::new();
    let event = deepfake("event-1", "session-1", 0.9);
    let mut conflict = event.clone();
    conflict["data"]["score"] = json!(0.1);
    let mut old = deepfake("event-old", "session-1", 0.9);
    old["data"]["timestamp"] = json!("2001-01-01T00:00:00Z");
    let large = "x".repeat(receiver.app.config.max_body_bytes + 1);
    for (request, status) in [
        (signed(event.to_string(), SECRET), 200),
        (signed(event.to_string(), SECRET), 200),
        (signed(conflict.to_string(), SECRET), 409),
        (signed(old.to_string(), SECRET), 400),
        (signed("no event", SECRET), 400),
        (post("{}", &[]), 401),
        (signed(large, SECRET), 413),
        (request("PUT", "/webhook"), 405),
    ] {
        let answer = receiver.send(request).await;
        assert_eq!(answer.status, status, "{answer:?}");
        document.describes("/webhook", "post", &answer);
    }
    lose_the_table(&receiver).await;
    let broken = receiver
        .deliver(deepfake("event-2", "session-1", 0.1).to_string())
        .await;
    assert!(broken.status.is_server_error(), "{broken:?}");
    document.describes("/webhook", "post", &broken);
}

#[tokio::test]
async fn every_answer_to_a_read_is_described() {
    let receiver = Receiver::start().await;
    let document = Closed::new();
    let mut event = deepfake("event-1", "session-1", 0.9);
    event["metadata"] = json!({"source": "a test"});
    event["data"]["label"] = json!("a problem");
    receiver.deliver(event.to_string()).await.received(false);
    receiver
        .deliver(deepfake("event-erased", "session-2", 0.2).to_string())
        .await
        .received(false);
    receiver
        .deliver(json!({"type": "new.type", "data": {}}).to_string())
        .await
        .received(false);
    receiver
        .deliver("{\"id\":\"claimed\",\"type\":\"claimed.type\"}")
        .await
        .expect(400, "invalid_event");
    receiver.deliver(b"\xff").await.expect(400, "invalid_event");
    let store = &receiver.app.store;
    let record = store.get("event-erased").await.unwrap().unwrap();
    let erasure = store.erase(&record, Timestamp::now()).await.unwrap();
    assert_eq!(erasure, Erasure::Erased);

    let list = receiver.get("/results").await;
    assert_eq!(list.body["count"], 5);
    for result in list.body["results"].as_array().unwrap() {
        for query in ["", "?include=body"] {
            let id = result["event_id"].as_str().unwrap().replace(':', "%3A");
            let answer = receiver.get(&format!("/events/{id}{query}")).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            document.describes("/events/{event_id}", "get", &answer);
        }
    }
    for (path, target, status) in [
        ("/health", "/health", 200),
        ("/results", "/results", 200),
        ("/results", "/results?limit=1&outcome=accepted", 200),
        ("/results", "/results?limit=0", 400),
        ("/results", "/results?cursor=none", 400),
        ("/results/{session_id}", "/results/session-1", 200),
        ("/results/{session_id}", "/results/session-none", 404),
        ("/results/{session_id}", "/results/session-1?limit=many", 400),
        ("/events/{event_id}", "/events/none", 404),
        ("/events/{event_id}", "/events/event-1?include=all", 400),
    ] {
        let answer = receiver.get(target).await;
        assert_eq!(answer.status, status, "{target}: {answer:?}");
        document.describes(path, "get", &answer);
        let put = receiver.send(request("PUT", target)).await;
        assert_eq!(put.status, 405, "{put:?}");
        document.describes(path, "get", &put);
    }
    lose_the_table(&receiver).await;
    for (path, target) in [
        ("/results", "/results"),
        ("/results/{session_id}", "/results/session-1"),
        ("/events/{event_id}", "/events/event-1"),
    ] {
        let answer = receiver.get(target).await;
        assert!(answer.status.is_server_error(), "{answer:?}");
        document.describes(path, "get", &answer);
    }
}

/// The API's template, the router and the document have the same routes.
#[tokio::test]
async fn the_document_has_the_routes_of_the_router_and_of_the_template() {
    let document = document(&["openapi"]);
    let receiver = Receiver::start().await;
    let paths = document["paths"].as_object().unwrap();
    for (path, methods) in paths {
        let target = path.replace("{session_id}", "a").replace("{event_id}", "a");
        let answer = receiver
            .send(request("TRACE", &target))
            .await
            .expect(405, "method_not_allowed");
        let allowed = answer.headers["allow"].to_str().unwrap().to_lowercase();
        // The router answers HEAD wherever it answers GET.
        let allowed: BTreeSet<_> = allowed
            .split(',')
            .map(str::trim)
            .filter(|method| *method != "head")
            .collect();
        let described: BTreeSet<_> = methods.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(allowed, described, "{path}");
    }
    let template: serde_yaml_ng::Value = serde_yaml_ng::from_str(&file("infra/http-api.yaml")).unwrap();
    let resources = template["Resources"].as_mapping().unwrap().values();
    let routes = resources.filter_map(|resource| resource["Properties"]["RouteKey"].as_str());
    let routes: BTreeSet<_> = routes.map(|route| route.strip_prefix("ANY ").unwrap()).collect();
    assert_eq!(routes, paths.keys().map(String::as_str).collect());
}
