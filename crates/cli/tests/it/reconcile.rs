//! `reconcile`, against a mock of Sonotheia's list of the events that it could not deliver.

use serde_json::{Value, json};

use super::mock::{Mock, answer};
use super::{document, failed, interrupted, run_with, serve, succeeded, text};
use testkit::{SECRET, at, deepfake};

pub const KEY: &str = "sk_a_key_of_these_tests";

/// Sonotheia's API: a key, one call, pages by cursor.
fn sender(pages: Vec<Value>) -> Mock {
    Mock::start(move |seen| {
        // Sonotheia's documents name both ways.
        if seen.header("authorization") != format!("Bearer {KEY}") || seen.header("x-api-key") != KEY {
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

/// A run of `reconcile` against a mock, over a table.
pub fn arguments<'a>(sender: &'a Mock, table: &[&'a str]) -> Vec<&'a str> {
    let since = ["--since", "2026-01-05T00:00:00Z", "--base-url", &sender.url];
    [&["reconcile"], &since[..], table].concat()
}

pub const WITH_KEY: &[(&str, &str)] = &[("SONOTHEIA_API_KEY", KEY)];

#[test]
fn every_missing_event_is_stored_once_and_the_stored_events_stay() {
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
        counts(document(&run(&["--json"]))),
        [4, 3, 1, 0].map(|n| json!(n))
    );
    assert_eq!(document(&run(&["--json"]))["applied"], false);
    let shown = run(&[]);
    let shown = succeeded(&shown);
    assert!(
        shown.contains("3 missing, 1 here already") && shown.contains("Nothing was written"),
        "{shown}"
    );
    failed(&server.over_table(&["event", "missing-3"]), "no event");
    let shown = run(&["--apply"]);
    let shown = succeeded(&shown);
    assert!(
        shown.contains("3 were missing and are stored, 1 here already"),
        "{shown}"
    );
    assert!(
        shown.contains("a list in `events`; each item is an event; the next page is named by `next_cursor`"),
        "{shown}"
    );
    assert_eq!(
        counts(document(&run(&["--apply", "--json"]))),
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
fn an_event_that_cannot_be_stored_is_reported_and_fails_the_command() {
    let server = serve(&[], Some(SECRET));
    server.deliver(&deepfake("here", "session", 0.9).to_string());
    let sender = sender(vec![json!([
        deepfake("here", "session", 0.1),
        {"id": "no type", "data": {}},
        {"type": "sar.filed", "id": "old", "data": {"timestamp": at(-91 * 86_400)}},
        {"type": "sar.filed", "id": "too large", "data": {"text": "x".repeat(358_400)}},
        {"type": "sar.filed", "id": "larger than the deployment's", "data": {"text": "x".repeat(300_000)}},
        deepfake("good", "session", 0.2),
    ])]);
    let more = ["--apply", "--retention-days", "90", "--max-body-bytes", "262144"];
    let run = |more: &[&str]| {
        let arguments = [&arguments(&sender, &server.table())[..], more].concat();
        run_with(&arguments, &[WITH_KEY[0], ("RETENTION_DAYS", "3650")], "")
    };
    let output = run(&more);
    failed(&output, "5 of Sonotheia's events cannot be stored");
    let shown = text(&output.stdout);
    for says in [
        "another type or other data",
        "type is missing",
        "90 days",
        "the limit is 262144 (--max-body-bytes)",
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
    // An item of DynamoDB has no room for the largest event, whatever the options say.
    failed(&run(&["--apply"]), "cannot be stored");
    failed(&server.over_table(&["event", "too large"]), "no event too large");
    succeeded(&server.over_table(&["event", "larger than the deployment's"]));
    assert_eq!(run(&["--max-body-bytes", "358401"]).status.code(), Some(2));
}

#[test]
fn an_event_without_an_id_is_never_stored_twice() {
    let server = serve(&[], Some(SECRET));
    let body = r#"{ "type":"sar.filed",  "data":{"case_id":"c"} }"#;
    server.deliver(body);
    let event: Value = serde_json::from_str(body).unwrap();
    // The list has the same event with other blanks, so its bytes have another hash.
    let again = sender(vec![json!([event])]);
    for more in [&[][..], &["--apply"]] {
        let output = run_with(
            &[&arguments(&again, &server.table())[..], more].concat(),
            WITH_KEY,
            "",
        );
        failed(&output, "1 of Sonotheia's events cannot be stored");
        assert!(
            text(&output.stdout).contains("has no id"),
            "{}",
            text(&output.stdout)
        );
    }
    // As text, it has the bytes of the delivery.
    let exact = sender(vec![json!([{"payload": body}])]);
    let output = run_with(
        &[&arguments(&exact, &server.table())[..], &["--apply", "--json"]].concat(),
        WITH_KEY,
        "",
    );
    assert_eq!(document(&output)["present"], 1);
    assert_eq!(document(&server.over_url(&["results", "--json"]))["count"], 1);
}

#[test]
fn a_page_that_fails_leaves_a_report_of_the_events_before_it() {
    let server = serve(&[], Some(SECRET));
    let first = json!({"events": [deepfake("one", "session", 0.9)], "next_cursor": "x"}).to_string();
    let sender = Mock::start(move |seen| {
        if seen.path.contains("cursor=x") {
            answer(500, "{}")
        } else {
            answer(200, first.clone())
        }
    });
    let more = ["--apply", "--json", "--retention-days", "90"];
    let output = run_with(
        &[&arguments(&sender, &server.table())[..], &more].concat(),
        WITH_KEY,
        "",
    );
    failed(
        &output,
        "stopped after 1 events: those that were missing are stored; run the command again",
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["complete"], &report["missing"]),
        (&json!(false), &json!(1))
    );
}

#[test]
fn an_interrupt_sums_up_the_work_so_far() {
    let server = serve(&[], Some(SECRET));
    let first = json!({"events": [deepfake("one", "session", 0.9)], "next_cursor": "x"}).to_string();
    let sender = Mock::start(move |seen| {
        if seen.path.contains("cursor=x") {
            std::thread::sleep(std::time::Duration::from_secs(8));
        }
        answer(200, first.clone())
    });
    let more = ["--apply", "--json", "--retention-days", "90"];
    let arguments = [&arguments(&sender, &server.table())[..], &more].concat();
    let begun = std::time::Instant::now();
    let output = interrupted(&arguments, WITH_KEY, || sender.seen().len() == 2);
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(6),
        "it waited for the answer"
    );
    failed(&output, "interrupted: 1 events were read; run the command again");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["complete"], &report["missing"]),
        (&json!(false), &json!(1))
    );
}

#[test]
fn an_empty_table_needs_the_retention_by_an_option() {
    let server = serve(&[], Some(SECRET));
    let sender = sender(vec![json!([deepfake("one", "session", 0.9)])]);
    let arguments = arguments(&sender, &server.table());
    failed(&run_with(&arguments, WITH_KEY, ""), "--retention-days N");
    succeeded(&run_with(
        &[&arguments[..], &["--retention-days", "90"]].concat(),
        WITH_KEY,
        "",
    ));
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
    failed(&output, "it does not accept the key");
    assert!(!text(&output.stderr).contains("another-key"));
    succeeded(&run_with(&arguments, WITH_KEY, ""));
    assert_eq!(sender.seen().len(), 2);
    drop(sender);
    let nobody = ["reconcile", "--base-url", "http://127.0.0.1:9"];
    let output = run_with(&[&nobody, &server.table()[..]].concat(), WITH_KEY, "");
    failed(&output, "no answer from Sonotheia's API");
}
