//! `reconcile`, against a mock of Sonotheia's list of the events that it could not deliver.

use serde_json::{Value, json};

use super::mock::{Mock, Seen, answer};
use super::{document, failed, interrupted, run_with, serve, succeeded, text};
use testkit::{SECRET, at, deepfake};

const KEY: &str = "sk_a_key_of_these_tests";

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

fn arguments<'a>(sender: &'a Mock, table: &[&'a str]) -> Vec<&'a str> {
    let since = ["--since", "2026-01-05T00:00:00Z", "--base-url", &sender.url];
    [&["reconcile"], &since[..], table].concat()
}

const WITH_KEY: &[(&str, &str)] = &[("SONOTHEIA_API_KEY", KEY)];

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
    assert_eq!(document(&run(&["--dry-run", "--json"]))["applied"], false);
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

/// Pages of the usual shapes, each with the same two events, and the words for what was recognised.
#[test]
fn the_usual_shapes_of_a_list_are_read_to_their_end() {
    let one = deepfake("one", "session", 0.9);
    let two = deepfake("two", "session", 0.2);
    let wrapped = |event: &Value| json!({"event_id": event["id"], "status": "failed", "payload": event});
    let as_text = |event: &Value| json!({"id": "dlv", "payload": event.to_string()});
    let cases: Vec<(Value, Value, &str, &str)> = vec![
        (
            json!({"data": [one], "next": "p2"}),
            json!({"data": [two], "next": null}),
            "&cursor=p2",
            "a list in `data`",
        ),
        (
            json!({"results": [wrapped(&one)], "has_more": true, "next_cursor": "p2"}),
            json!({"results": [wrapped(&two)], "has_more": false}),
            "&cursor=p2",
            "each item holds an event in `payload`",
        ),
        (
            json!({"items": [{"event": one}], "cursor": "p2"}),
            json!({"items": [{"event": two}]}),
            "&cursor=p2",
            "each item holds an event in `event`",
        ),
        (
            json!({"events": [one], "has_more": true}),
            json!({"events": [two], "has_more": false}),
            "&starting_after=one",
            "`has_more` and the last item's id",
        ),
        (
            json!({"data": [as_text(&one)], "next_page": 2}),
            json!({"data": [as_text(&two)], "next_page": null}),
            "&page=2",
            "as text in `payload`",
        ),
        (
            json!({"events": [one], "next": "/v1/webhooks/events?page=2"}),
            json!({"events": [two]}),
            "/v1/webhooks/events?page=2",
            "named by `next`",
        ),
        (
            json!({"data": {"events": [one]}, "pagination": {"page": 1, "total_pages": 2}}),
            json!({"data": {"events": [two]}, "pagination": {"page": 2, "total_pages": 2}}),
            "&page=2",
            "a list in `data.events`",
        ),
    ];
    for (first, second, asks, says) in cases {
        let server = serve(&[], Some(SECRET));
        let (first, second) = (first.to_string(), second.to_string());
        let sender = Mock::start(move |seen| {
            answer(
                200,
                if seen.path.ends_with(asks) {
                    second.clone()
                } else {
                    first.clone()
                },
            )
        });
        let more = ["--apply", "--retention-days", "90"];
        let output = run_with(
            &[&arguments(&sender, &server.table())[..], &more].concat(),
            WITH_KEY,
            "",
        );
        let shown = succeeded(&output);
        assert!(
            shown.contains(says) && shown.contains("2 were missing and are stored"),
            "{shown}"
        );
        assert_eq!(sender.seen().len(), 2);
        assert_eq!(document(&server.over_url(&["results", "--json"]))["count"], 2);
    }
}

#[test]
fn a_link_header_names_the_next_page_at_the_same_address_only() {
    let server = serve(&[], Some(SECRET));
    let thief = Mock::start(|_| answer(200, "[]"));
    let with_link = |target: String| {
        move |seen: &Seen| {
            let mut answer = answer(200, json!([deepfake("one", "session", 0.9)]).to_string());
            if !seen.path.contains("page=2") {
                let link = format!("<{target}>; rel=\"next\"");
                answer.headers_mut().insert("link", link.parse().unwrap());
            }
            answer
        }
    };
    let more = ["--retention-days", "90", "--json"];
    let sender = Mock::start(with_link("/v1/webhooks/events?page=2".into()));
    let output = run_with(
        &[&arguments(&sender, &server.table())[..], &more].concat(),
        WITH_KEY,
        "",
    );
    let report = document(&output);
    assert_eq!(
        (&report["count"], &report["missing"], &report["present"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert!(
        report["shape"].as_str().unwrap().contains("a bare list"),
        "{report}"
    );

    let sender = Mock::start(with_link(format!("{}/v1/webhooks/events?page=2", thief.url)));
    let output = run_with(
        &[&arguments(&sender, &server.table())[..], &more].concat(),
        WITH_KEY,
        "",
    );
    failed(&output, "the key goes to --base-url only");
    assert_eq!(thief.seen().len(), 0);
}

#[test]
fn a_list_without_a_next_page_is_reported_as_one_page() {
    let server = serve(&[], Some(SECRET));
    let body = json!({"events": [deepfake("one", "session", 0.9)], "count": 1}).to_string();
    let sender = Mock::start(move |_| answer(200, body.clone()));
    let more = ["--retention-days", "90"];
    let output = run_with(
        &[&arguments(&sender, &server.table())[..], &more].concat(),
        WITH_KEY,
        "",
    );
    let shown = succeeded(&output);
    assert!(
        shown.contains("one page, the answer names no next page"),
        "{shown}"
    );
    let body = json!({"events": [deepfake("one", "session", 0.9)], "total": 26}).to_string();
    let sender = Mock::start(move |_| answer(200, body.clone()));
    let output = run_with(
        &[&arguments(&sender, &server.table())[..], &more].concat(),
        WITH_KEY,
        "",
    );
    failed(&output, "the list has 26 events, its pages have 1");
}

#[test]
fn any_other_answer_is_an_error_that_says_the_fault() {
    let server = serve(&[], Some(SECRET));
    let one = deepfake("one", "session", 0.9);
    let cases: Vec<(u16, String, &str)> = vec![
        (200, "<html>".into(), "HTML"),
        (200, json!([[one], null]).to_string(), "item 1 is not an object"),
        (
            200,
            json!({"message": "hello"}).to_string(),
            "it has no list; its members are `message`",
        ),
        (
            200,
            json!({"events": [one], "data": [one]}).to_string(),
            "more than one list: `data`, `events`",
        ),
        (
            200,
            json!({"events": [one, {"payload": one}]}).to_string(),
            "items are of two kinds",
        ),
        (
            200,
            json!({"events": ["one"]}).to_string(),
            "item 1 is not an object",
        ),
        (
            200,
            json!({"events": [], "next_cursor": "x"}).to_string(),
            "an earlier page as the next one",
        ),
        (
            200,
            json!({"events": [], "continuation": "x"}).to_string(),
            "`continuation` may name a next page",
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
