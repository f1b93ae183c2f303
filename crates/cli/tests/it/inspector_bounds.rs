//! The bounds of the inspector: numbers under concurrency, memory, and the secret.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::inspector::{deliver, detail, get, request, rows};
use super::{Running, run, serve, succeeded};
use testkit::{SECRET, sign};

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
