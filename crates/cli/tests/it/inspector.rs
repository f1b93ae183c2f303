//! The inspector over HTTP.

use std::io::{BufRead, BufReader};

use serde_json::{Value, json};
use sonotheia_webhook::event::types::known_types;

use super::{Server, serve};
use testkit::{Receiver, SECRET, deepfake, sign};

/// Sends a request, and returns its answer whatever the status.
pub fn request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (u16, axum::http::HeaderMap, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let mut request = axum::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = agent.run(request.body(body).unwrap()).unwrap();
    let body = response
        .body_mut()
        .with_config()
        .limit(1 << 24)
        .read_to_vec()
        .unwrap();
    let text = String::from_utf8_lossy(&body).into_owned();
    (response.status().as_u16(), response.headers().clone(), text)
}

/// Reads a path of the page as JSON.
pub fn get(url: &str, path: &str) -> Value {
    let (status, _, text) = request("GET", &format!("{url}{path}"), &[], b"");
    assert_eq!(status, 200, "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// Posts an order of the page.
pub fn post(url: &str, path: &str, order: &Value) -> (u16, String) {
    let json = ("content-type", "application/json");
    let (status, _, text) = request(
        "POST",
        &format!("{url}{path}"),
        &[json],
        order.to_string().as_bytes(),
    );
    (status, text)
}

pub fn press(server: &Server, what: &str) {
    assert_eq!(
        post(&server.url, "/inspector/send", &json!({"what": what})),
        (204, String::new())
    );
}

/// Posts a body with a signature as it is.
pub fn deliver(server: &Server, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    let (status, _, text) = request("POST", &format!("{}/webhook", server.url), headers, body);
    (status, text)
}

/// The first `count` rows of the stream.
pub fn rows(server: &Server, count: usize) -> Vec<Value> {
    let url = format!("{}/inspector/deliveries", server.url);
    let response = ureq::get(url).call().unwrap();
    let lines = BufReader::new(response.into_body().into_reader()).lines();
    lines
        .filter_map(|line| {
            line.unwrap()
                .strip_prefix("data: {")
                .map(|data| format!("{{{data}"))
        })
        .map(|data| serde_json::from_str(&data).unwrap())
        .take(count)
        .collect()
}

pub fn detail(server: &Server, n: usize) -> Value {
    get(&server.url, &format!("/inspector/deliveries/{n}"))
}

#[tokio::test]
async fn on_lambda_there_is_no_page() {
    let receiver = Receiver::start().await;
    for path in [
        "/",
        "/inspector/page.js",
        "/inspector/deliveries",
        "/inspector/records",
    ] {
        receiver.get(path).await.expect(404, "not_found");
    }
}

#[test]
fn the_page_is_for_this_machine_and_loads_only_its_own_files() {
    let server = serve(&[], Some(SECRET));
    let page = format!("{}/", server.url);
    let (status, headers, text) = request("GET", &page, &[], b"");
    assert_eq!(status, 200);
    assert!(text.contains("<title>Sonotheia webhooks</title>"));
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(headers["x-content-type-options"], "nosniff");
    // Each file that the page names is there, and names no other origin.
    for file in [
        "page.css",
        "detail.css",
        "page.js",
        "rows.js",
        "detail.js",
        "keys.js",
        "source.js",
        "text.js",
    ] {
        let (status, _, text) = request("GET", &format!("{page}inspector/{file}"), &[], b"");
        assert_eq!(status, 200, "{file}");
        for part in [
            "http://",
            "https://",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "eval(",
        ] {
            assert!(!text.contains(part), "{file} has {part}");
        }
    }
    for path in [
        "",
        "inspector/about",
        "inspector/records",
        "inspector/deliveries",
        "inspector/search?text=a",
    ] {
        let (status, headers, _) = request("GET", &format!("{page}{path}"), &[("host", "evil.example")], b"");
        assert_eq!(status, 403, "{path}");
        assert!(headers.contains_key("x-request-id") || headers.contains_key("content-security-policy"));
    }
}

#[test]
fn only_the_page_itself_can_send() {
    let server = serve(&[], Some(SECRET));
    let forged = br#"{"what":"forged"}"#;
    let json = ("content-type", "application/json");
    for path in ["send", "replay"] {
        let url = format!("{}/inspector/{path}", server.url);
        for headers in [
            &[("content-type", "text/plain")][..],
            &[json, ("origin", "http://evil.example")],
            &[json, ("sec-fetch-site", "cross-site")],
            &[json, ("host", "evil.example")],
        ] {
            assert_eq!(request("POST", &url, headers, forged).0, 403, "{headers:?}");
        }
    }
    let unknown = json!({"what": "sample", "type": "no", "envelope": "guide"});
    assert_eq!(post(&server.url, "/inspector/send", &unknown).0, 400);
    assert_eq!(
        post(&server.url, "/inspector/replay", &json!({"delivery": 1})).0,
        400
    );
    assert_eq!(
        post(&server.url, "/inspector/replay", &json!({"record": "no"})).0,
        400
    );
    let origin = ("origin", server.url.as_str());
    let send = format!("{}/inspector/send", server.url);
    assert_eq!(request("POST", &send, &[json, origin], forged).0, 204);
    assert_eq!(rows(&server, 1)[0]["outcome"], "invalid signature");
    // The receiver answers everything else.
    for (method, path) in [("POST", "/"), ("GET", "/nothing"), ("GET", "/inspector")] {
        let (status, headers, body) = request(method, &format!("{}{path}", server.url), &[], b"");
        assert_eq!(
            (status, &headers["content-type"]),
            (404, &"application/json".parse().unwrap()),
            "{body}"
        );
    }
}

#[test]
fn each_delivery_is_a_row_with_the_reason_and_the_problems() {
    let server = serve(&["--previous-secret", "the old secret"], Some(SECRET));
    let one = deepfake("one", "session", 0.95).to_string();
    server.deliver(&one);
    server.deliver(&deepfake("one", "session", 0.10).to_string());
    server.deliver("[]");
    let body = deepfake("two", "session", 0.5).to_string();
    let post = |signature: &str, body: &str| {
        deliver(&server, &[("x-sonotheia-signature", signature)], body.as_bytes())
    };
    let old = post(&sign(&body, "the old secret"), &body);
    let other = post(&format!("sha256={}", sign(&one, SECRET)), &body);
    // The sender learns nothing of the cause: the answers differ only in their ids.
    let without_id = |answer: &str| {
        let mut answer: Value = serde_json::from_str(answer).unwrap();
        answer["request_id"] = Value::Null;
        answer
    };
    assert_eq!((old.0, without_id(&old.1)), (401, without_id(&other.1)));
    post("test_signature", &body);
    post(&sign(&body, SECRET), &"x".repeat(300_000));
    server.deliver(r#"{"id":"three","type":"deepfake.completed","data":{"session_id":"s","score":2}}"#);

    let rows = rows(&server, 8);
    let field = |name: &str| rows.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    let outcomes = [
        "accepted",
        "conflict",
        "rejected",
        "invalid signature",
        "invalid signature",
        "invalid signature",
        "too large",
        "accepted",
    ];
    assert_eq!(field("outcome"), outcomes.map(Value::from));
    assert_eq!(
        field("status"),
        [200, 409, 400, 401, 401, 401, 413, 200].map(Value::from)
    );
    assert_eq!(rows[0]["alert"], "high_deepfake_score");
    assert_eq!(rows[0]["session_id"], "session");
    assert!(rows[0]["duration_ms"].as_f64().unwrap() > 0.0);
    assert!(rows[0].get("reason").is_none());
    for (n, says) in [
        (1, "another type or other data"),
        (2, "not a JSON object"),
        (3, "previous secret"),
        (4, "the body of event one"),
        (5, "64 hex digits"),
        (6, "262144 bytes"),
    ] {
        assert!(rows[n]["reason"].as_str().unwrap().contains(says), "{}", rows[n]);
    }
    assert!(rows[3].get("event_id").is_none() && rows[3].get("type").is_none());
    let problems: Vec<_> = rows[7]["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| &problem["path"])
        .collect();
    assert!(
        problems.contains(&&json!("data.score")) && problems.contains(&&json!("data.label")),
        "{problems:?}"
    );
    assert_eq!(rows[7]["problem_count"], problems.len());

    let found = |text: &str| get(&server.url, &format!("/inspector/search?text={text}"));
    assert_eq!(found("THREE"), json!([8]));
    assert_eq!(found("nothing-has-this"), json!([]));
}

#[test]
fn every_button_makes_the_delivery_that_it_names() {
    let server = serve(&[], Some(SECRET));
    let buttons = [
        ("duplicate", "duplicate"),
        ("conflict", "conflict"),
        ("problems", "accepted"),
        ("invalid", "rejected"),
        ("too_old", "rejected"),
        ("too_large", "too large"),
        ("forged", "invalid signature"),
        ("tampered", "invalid signature"),
        ("unsigned", "invalid signature"),
    ];
    for (what, _) in buttons {
        press(&server, what);
    }
    // The first button has no event to repeat, so it sends one first.
    let rows = rows(&server, buttons.len() + 1);
    for ((what, outcome), row) in buttons.iter().zip(&rows[1..]) {
        assert_eq!(row["outcome"], *outcome, "{what}: {row}");
    }
    assert_eq!(rows[3]["problem_count"], 2, "{}", rows[3]);
    assert!(
        rows[5]["reason"].as_str().unwrap().contains("RETENTION_DAYS"),
        "{}",
        rows[5]
    );
    for envelope in ["guide", "schema"] {
        assert_eq!(
            post(
                &server.url,
                "/inspector/send",
                &json!({"what": "all", "envelope": envelope})
            )
            .0,
            204
        );
    }
    let all = self::rows(&server, 10 + 2 * known_types().count());
    assert!(
        all[10..]
            .iter()
            .all(|row| row["outcome"] == "accepted" && row["problem_count"] == 0)
    );
}
