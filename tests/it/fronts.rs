//! Lambda's events, through the handler that the function runs. `tests/events/README.md` describes the fixtures.

mod deliveries;
mod routes;

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
    // A REST API refuses members that it does not know.
    assert_eq!(
        reply.get("cookies").is_some(),
        event["version"] == "2.0",
        "{reply}"
    );
    if event["version"] == "2.0" {
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
