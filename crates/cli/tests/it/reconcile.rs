//! `reconcile`, against a mock of the sender's list of what it could not deliver.

use serde_json::{Value, json};

use super::mock::{Mock, answer};
use super::{document, failed, run_with, serve, succeeded, text};
use testkit::{SECRET, at, deepfake};

const KEY: &str = "sk_a_key_of_these_tests";

/// The sender's API: a key, one call, pages by cursor.
fn sender(pages: Vec<Value>) -> Mock {
    Mock::start(move |seen| {
        if seen.header("authorization") != format!("Bearer {KEY}") {
            return answer(401, "{}");
        }
        let Some(query) = seen
            .path
            .strip_prefix("/v1/webhooks/events?status=failed&since=2026-01-05T00%3A00%3A00.000Z")
        else {
            return answer(404, "{}");
        };
        let number: usize = query
            .strip_prefix("&cursor=page%20")
            .map_or(0, |number| number.parse().unwrap());
        let next = (number + 1 < pages.len()).then(|| format!("page {}", number + 1));
        answer(
            200,
            json!({"events": pages[number], "next_cursor": next}).to_string(),
        )
    })
}

fn arguments<'a>(sender: &'a Mock, table: &[&'a str]) -> Vec<&'a str> {
    let since = ["--since", "2026-01-05T00:00:00Z", "--base-url", &sender.url];
    [&["reconcile"], &since[..], table].concat()
}

const WITH_KEY: &[(&str, &str)] = &[("SONOTHEIA_API_KEY", KEY)];

#[test]
fn every_missing_event_is_stored_once_and_those_that_are_there_stay() {
    let server = serve(&[], Some(SECRET));
    let here = deepfake("here", "session", 0.9);
    server.deliver(&here.to_string());
    let missing = |n: usize| {
        json!({
            "event_id": format!("missing-{n}"), "event_type": "sar.filed", "timestamp": at(-600), "api_version": "v1",
            "data": {"case_id": "c"},
        })
    };
    let sender = sender(vec![
        json!([here, missing(1)]),
        json!([]),
        json!([missing(2), missing(3)]),
    ]);
    let arguments = arguments(&sender, &server.table())
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    let run = |more: &[&str]| {
        let arguments: Vec<_> = arguments
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect();
        run_with(&arguments, WITH_KEY, "")
    };
    let counts = |report: Value| ["count", "missing", "present", "refused"].map(|key| report[key].clone());

    assert_eq!(
        counts(document(&run(&["--dry-run", "--json"]))),
        [4, 3, 1, 0].map(|n| json!(n))
    );
    failed(&server.over_table(&["event", "missing-3"]), "no event");
    let shown = run(&[]);
    let shown = succeeded(&shown);
    assert!(
        shown.contains("3 were missing and are stored, 1 here already"),
        "{shown}"
    );
    assert_eq!(
        counts(document(&run(&["--json"]))),
        [4, 0, 4, 0].map(|n| json!(n))
    );

    let all = document(&server.over_url(&["results", "--json"]));
    assert_eq!(all["count"], 4);
    let stored = document(&server.over_url(&["event", "missing-2", "--json"]));
    assert_eq!(
        (&stored["outcome"], &stored["data"]),
        (&json!("accepted"), &json!({"case_id": "c"}))
    );
}

#[test]
fn an_event_that_can_not_be_stored_is_reported_and_fails_it() {
    let server = serve(&[], Some(SECRET));
    server.deliver(&deepfake("here", "session", 0.9).to_string());
    let sender = sender(vec![json!([
        deepfake("here", "session", 0.1),
        {"id": "no type", "data": {}},
        {"type": "sar.filed", "id": "old", "data": {"timestamp": at(-91 * 86_400)}},
        {"type": "sar.filed", "id": "large", "data": {"text": "x".repeat(300_000)}},
        deepfake("good", "session", 0.2),
    ])]);
    let output = run_with(&arguments(&sender, &server.table()), WITH_KEY, "");
    failed(&output, "4 of the sender's events can't be stored");
    let shown = text(&output.stdout);
    for says in [
        "another type or other data",
        "type is missing",
        "90 days",
        "over 262144 bytes",
        "1 were missing",
    ] {
        assert!(shown.contains(says), "{says} in {shown}");
    }
    let all = document(&server.over_url(&["results", "--json"]));
    assert_eq!(all["count"], 2, "{all}");
    assert_eq!(
        document(&server.over_url(&["event", "here", "--json"]))["data"]["score"],
        0.9
    );
}

#[test]
fn any_other_answer_is_an_error_that_says_what_was_expected() {
    let server = serve(&[], Some(SECRET));
    let one = deepfake("one", "session", 0.9);
    let cases: Vec<(u16, String, &str)> = vec![
        (200, "<html>".into(), "it is not JSON"),
        (200, json!([[one], null]).to_string(), "it is not an object"),
        (200, json!({"data": [one]}).to_string(), "unknown field `data`"),
        (
            200,
            json!({"events": [one], "has_more": true}).to_string(),
            "unknown field `has_more`",
        ),
        (
            200,
            json!({"events": ["one"]}).to_string(),
            "an event is not an object",
        ),
        (
            200,
            json!({"events": [], "next_cursor": "x"}).to_string(),
            "leads back",
        ),
        (401, "{}".into(), "SONOTHEIA_API_KEY"),
        (404, "{}".into(), "--base-url"),
        (429, "{}".into(), "wait a while"),
        (500, "{}".into(), "try again later"),
        (302, "{}".into(), "--base-url"),
    ];
    for (status, body, says) in cases {
        let sender = Mock::start(move |_| answer(status, body.clone()));
        let output = run_with(&arguments(&sender, &server.table()), WITH_KEY, "");
        failed(&output, says);
        assert_eq!(text(&output.stdout), "", "{says}");
        assert!(!text(&output.stderr).contains(KEY));
    }
}

#[test]
fn the_key_comes_from_the_environment_and_goes_nowhere_else() {
    let server = serve(&[], Some(SECRET));
    let sender = sender(vec![json!([])]);
    let arguments = arguments(&sender, &server.table());
    failed(&run_with(&arguments, &[], ""), "SONOTHEIA_API_KEY is not set");
    failed(
        &run_with(&arguments, &[("SONOTHEIA_API_KEY", " ")], ""),
        "SONOTHEIA_API_KEY is not set",
    );
    failed(
        &run_with(&arguments, &[("SONOTHEIA_API_KEY", "a\nb")], ""),
        "line break",
    );
    assert_eq!(sender.seen().len(), 0);
    let output = run_with(&arguments, &[("SONOTHEIA_API_KEY", "another-key")], "");
    failed(&output, "it does not take the key");
    assert!(!text(&output.stderr).contains("another-key"));
    succeeded(&run_with(&arguments, WITH_KEY, ""));
    assert_eq!(sender.seen().len(), 2);
    drop(sender);
    let nobody = ["reconcile", "--base-url", "http://127.0.0.1:9"];
    let output = run_with(&[&nobody, &server.table()[..]].concat(), WITH_KEY, "");
    failed(&output, "no answer from Sonotheia's API");
}
