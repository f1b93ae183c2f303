//! The inspector over HTTP.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sonotheia_webhook::event::types::known_types;

use super::{Running, Server, run, serve, sonotheia, succeeded};
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

fn press(server: &Server, what: &str) {
    assert_eq!(
        post(&server.url, "/inspector/send", &json!({"what": what})),
        (204, String::new())
    );
}

/// Posts a body with a signature as it is.
fn deliver(server: &Server, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    let (status, _, text) = request("POST", &format!("{}/webhook", server.url), headers, body);
    (status, text)
}

/// The first `count` rows of the stream.
fn rows(server: &Server, count: usize) -> Vec<Value> {
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

fn detail(server: &Server, n: usize) -> Value {
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
fn two_thousand_four_hundred_concurrent_deliveries_are_two_thousand_four_hundred_rows() {
    let server = serve(&[], Some(SECRET));
    let send = [
        "send",
        "--url",
        &server.url,
        "--secret",
        SECRET,
        "--corrupt",
        "100",
        "--count",
        "2400",
        "--concurrency",
        "32",
    ];
    succeeded(&run(&send, ""));
    let numbers: Vec<_> = rows(&server, 2_400)
        .iter()
        .map(|row| row["n"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (1..=2_400).collect::<Vec<_>>());
}

/// The largest memory that a process ever had, in bytes.
#[cfg(target_os = "linux")]
fn peak_memory(process: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.0.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[cfg(target_os = "linux")]
#[test]
fn hostile_bodies_and_headers_cost_little_memory_time_and_text() {
    let server = serve(&[], Some(SECRET));
    let nested = |open: &str, close: &str, n: usize| open.repeat(n) + "1" + &close.repeat(n);
    let members = |n: usize| {
        (0..n)
            .map(|n| format!("\"m{n}\":{n}"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let event = |data: &str| format!(r#"{{"id":"evt","type":"t","data":{data}}}"#);
    let bodies = [
        "[".repeat(64 << 10),
        nested("[", "]", 120_000),
        nested("{\"a\":", "}", 40_000),
        event(&format!("{{\"a\":{}}}", nested("[", "]", 120))),
        event(&format!("{{{}}}", members(18_000))),
        event(&format!("{{\"a\":\"{}\"}}", "\\u0001".repeat(40_000))),
        event(&format!("{{\"session_id\":\"{}\"}}", "s".repeat(250_000))),
        format!("[{}1]", "[],".repeat(80_000)),
        "\u{202e}\u{7}".repeat(60_000),
        "\n".repeat(250_000),
        "x".repeat(600_000),
    ];
    let long = "h".repeat(3_000);
    let names: Vec<_> = (0..80).map(|n| format!("x-h{n}")).collect();
    for body in &bodies {
        for signature in [String::new(), sign(body, SECRET)] {
            let mut headers: Vec<(&str, &str)> =
                names.iter().map(|name| (name.as_str(), long.as_str())).collect();
            headers.push(("x-sonotheia-signature", &signature));
            let begun = Instant::now();
            let (status, _) = deliver(&server, &headers, body.as_bytes());
            // 503: a machine under load. The inspector keeps these deliveries, too.
            assert!([200, 400, 401, 409, 413, 503].contains(&status), "{status}");
            assert!(begun.elapsed() < Duration::from_secs(10), "{}", &body[..20]);
        }
    }
    let count = 2 * bodies.len();
    let mut stream = 0;
    for (n, row) in rows(&server, count).iter().enumerate() {
        stream += row.to_string().len();
        let begun = Instant::now();
        let text = detail(&server, n + 1).to_string();
        // The command for curl holds the body once, in base64 at most; the rest is bounded by itself.
        assert!(text.len() < 1_100_000, "{n}: {}", text.len());
        assert!(detail(&server, n + 1)["body"]["text"].as_str().unwrap().len() < 70_000);
        assert!(begun.elapsed() < Duration::from_secs(10), "{n}");
    }
    assert!(stream < 64 << 10, "{stream}");
    // Many large deliveries push out the older ones.
    for n in 0..300 {
        let body = format!("{n}{}", "[".repeat(200_000));
        deliver(
            &server,
            &[("x-sonotheia-signature", &"0".repeat(64))],
            body.as_bytes(),
        );
    }
    let (status, ..) = request("GET", &format!("{}/inspector/deliveries/1", server.url), &[], b"");
    assert_eq!(status, 404);
    let peak = peak_memory(&server.process);
    assert!(peak < 300 << 20, "{} MB", peak >> 20);
}

#[test]
fn the_whole_of_a_delivery_has_bytes_headers_and_answer_and_never_the_secret() {
    const KEY: &str = "a-secret-that-nobody-may-see";
    let server = serve(&[], Some(KEY));
    let body = "{ \"id\": \"e\u{202e}\",\n\"type\": \"sar.filed\", \"data\": {\"case_id\": \"it's\"} }";
    let signature = format!("sha256={}", sign(body, KEY));
    let signed = [
        ("x-sonotheia-signature", signature.as_str()),
        ("x-mine", "a"),
        ("authorization", KEY),
    ];
    assert_eq!(deliver(&server, &signed, body.as_bytes()).0, 200);
    let forged = sign("another body", "another secret");
    let unsigned = [
        ("x-sonotheia-signature", forged.as_str()),
        ("x-webhook-secret", KEY),
        ("x-token", &format!("Bearer {KEY}")),
    ];
    assert_eq!(deliver(&server, &unsigned, b"\xff\x00{").0, 401);
    assert_eq!(deliver(&server, &[("x-sonotheia-signature", KEY)], b"{}").0, 401);

    let one = detail(&server, 1);
    let header = |detail: &Value, name: &str| {
        let headers = detail["headers"].as_array().unwrap().clone();
        headers
            .into_iter()
            .find(|header| header[0] == name)
            .map(|header| header[1].clone())
    };
    assert_eq!(header(&one, "x-sonotheia-signature").unwrap(), signature);
    assert_eq!(header(&one, "x-mine").unwrap(), "a");
    assert!(
        one["body"]["text"]
            .as_str()
            .unwrap()
            .contains("\n  \"data\": {\n    "),
        "{one}"
    );
    assert!(
        one["hex"]
            .as_str()
            .unwrap()
            .starts_with("00000000  7b 20 22 69 64 22"),
        "{one}"
    );
    assert!(
        one["answer"]["text"]
            .as_str()
            .unwrap()
            .contains("\"duplicate\": false"),
        "{one}"
    );
    let two = detail(&server, 2);
    assert_eq!(header(&two, "x-sonotheia-signature").unwrap(), forged);
    assert!(two["curl"].as_str().unwrap().contains(&forged), "{two}");
    let (_, headers, _) = request(
        "GET",
        &format!("{}/inspector/deliveries/1/body", server.url),
        &[],
        b"",
    );
    assert_eq!(headers["content-disposition"], "attachment; filename=\"body\"");
    let (_, _, raw) = request(
        "GET",
        &format!("{}/inspector/deliveries/1/body", server.url),
        &[],
        b"",
    );
    assert_eq!(raw, body);

    let expected = [sign("\u{fffd}\u{0}{", KEY), sign("{}", KEY)];
    for n in 1..=3 {
        let text = detail(&server, n).to_string();
        assert!(!text.contains(KEY), "{text}");
        // Nobody may copy the right signature of a forged body.
        assert!(
            !expected.iter().any(|signature| text.contains(signature)),
            "{text}"
        );
    }
    assert!(rows(&server, 3).iter().all(|row| !row.to_string().contains(KEY)));
    assert!(!get(&server.url, "/inspector/about").to_string().contains(KEY));
}

#[test]
fn a_conflict_stands_beside_the_first_delivery() {
    let server = serve(&[], Some(SECRET));
    for what in ["conflict", "conflict"] {
        press(&server, what);
    }
    let rows = rows(&server, 3);
    assert_eq!(rows[0]["outcome"], "accepted");
    for n in [2, 3] {
        let detail = detail(&server, n);
        assert_eq!(detail["row"]["outcome"], "conflict", "{detail}");
        assert_eq!(detail["row"]["event_id"], rows[0]["event_id"]);
        let lines = detail["first"]["lines"].as_array().unwrap();
        let differ = json!({"differ": {"first": "  \"score\": 0.93,", "this": "  \"score\": 0.07,"}});
        assert!(lines.contains(&differ), "{detail}");
    }
    // The record of the conflict has the same comparison.
    let records = get(&server.url, "/inspector/records?limit=100");
    let record = records["rows"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["outcome"] == "conflict")
        .unwrap()
        .clone();
    let key = record["event_id"].as_str().unwrap().replace(':', "%3A");
    let detail = get(&server.url, &format!("/inspector/record?id={key}"));
    assert_eq!(detail["row"]["claimed_event_id"], rows[0]["event_id"], "{detail}");
    assert!(detail["first"]["lines"].is_array(), "{detail}");
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
    let all = super::inspector::rows(&server, 10 + 2 * known_types().count());
    assert!(
        all[10..]
            .iter()
            .all(|row| row["outcome"] == "accepted" && row["problem_count"] == 0)
    );
}

#[test]
fn a_delivery_and_a_record_can_be_replayed_and_history_outlives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("events.db");
    let data = ["--data", data.to_str().unwrap()];
    let mut server = serve(&data, Some(SECRET));
    server.deliver(&deepfake("one", "session", 0.95).to_string());
    server.deliver("[]");
    for (n, outcome) in [(1, "duplicate"), (2, "rejected")] {
        assert_eq!(
            post(&server.url, "/inspector/replay", &json!({"delivery": n})).0,
            204
        );
        assert_eq!(rows(&server, n + 2)[n + 1]["outcome"], outcome);
    }
    press(&server, "too_large");
    // The inspector has a part of this body only.
    assert_eq!(
        post(&server.url, "/inspector/replay", &json!({"delivery": 5})).0,
        400
    );
    assert_eq!(server.process.terminate(), Some(0));

    let server = serve(&data, Some(SECRET));
    let records = get(&server.url, "/inspector/records?limit=100");
    let rows_of = records["rows"].as_array().unwrap();
    assert_eq!(rows_of.len(), 2, "{records}");
    let one = rows_of.iter().find(|row| row["event_id"] == "one").unwrap();
    assert_eq!(
        (&one["outcome"], &one["session_id"]),
        (&json!("accepted"), &json!("session"))
    );
    let rejected = rows_of.iter().find(|row| row["outcome"] == "rejected").unwrap();
    assert!(
        rejected["reason"].as_str().unwrap().contains("not a JSON object"),
        "{rejected}"
    );
    let detail = get(&server.url, "/inspector/record?id=one");
    assert!(
        detail["body"]["text"].as_str().unwrap().contains("0.95"),
        "{detail}"
    );
    assert_eq!(
        post(&server.url, "/inspector/replay", &json!({"record": "one"})).0,
        204
    );
    assert_eq!(rows(&server, 1)[0]["outcome"], "duplicate");
    let (status, _, text) = request("GET", &format!("{}/inspector/record?id=no", server.url), &[], b"");
    assert_eq!(status, 404, "{text}");
    let (status, ..) = request(
        "GET",
        &format!("{}/inspector/records?limit=0", server.url),
        &[],
        b"",
    );
    assert_eq!(status, 400);
}

/// An `inspect` over the table of a `serve`, and its address.
pub fn inspect(server: &Server) -> (Running, String) {
    let mut command = sonotheia(&[&["inspect", "--port", "0"], server.table().as_slice()].concat());
    let mut process = Running::start(&mut command);
    let banner = process.output_to("Table: ");
    let url = banner
        .lines()
        .find_map(|line| line.strip_prefix("Inspector: "))
        .unwrap();
    let url = url.trim_end_matches('/').to_owned();
    (process, url)
}

#[test]
fn inspect_reads_a_table_and_writes_nothing() {
    let server = serve(&[], Some(SECRET));
    press(&server, "conflict");
    let (mut process, url) = inspect(&server);
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    assert_eq!(get(&url, "/inspector/about")["table"], "sonotheia-events");
    let records = get(&url, "/inspector/records?limit=100");
    assert_eq!(records["rows"].as_array().unwrap().len(), 2);
    server.deliver(&deepfake("one", "session", 0.95).to_string());
    let detail = get(&url, "/inspector/record?id=one");
    assert_eq!((&detail["can_replay"], detail.get("curl")), (&json!(false), None));
    // There is no webhook, no button, and no other read.
    for (method, path) in [
        ("POST", "/webhook"),
        ("POST", "/inspector/send"),
        ("POST", "/inspector/replay"),
        ("GET", "/inspector/deliveries"),
        ("GET", "/results"),
        ("POST", "/"),
        ("DELETE", "/inspector/record?id=one"),
    ] {
        let json = ("content-type", "application/json");
        let (status, _, text) = request(method, &format!("{url}{path}"), &[json], br#"{"what":"forged"}"#);
        assert!(
            [403, 404, 405].contains(&status),
            "{method} {path}: {status} {text}"
        );
    }
    for host in ["evil.example", "127.0.0.1.evil.example", "192.168.0.2"] {
        for path in ["/", "/inspector/records", "/inspector/about"] {
            assert_eq!(
                request("GET", &format!("{url}{path}"), &[("host", host)], b"").0,
                403,
                "{host}{path}"
            );
        }
    }
    assert_eq!(process.terminate(), Some(0));
    let missing = run(
        &[
            "inspect",
            "--port",
            "0",
            "--table",
            "no-such-table",
            "--dynamodb",
            server.table().last().unwrap(),
        ],
        "",
    );
    super::failed(&missing, "no-such-table");
}
