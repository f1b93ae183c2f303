//! The shapes of Sonotheia's list that `reconcile` reads, and the shapes that it refuses.

use serde_json::{Value, json};

use super::mock::{Mock, Seen, answer};
use super::reconcile::{KEY, WITH_KEY, arguments};
use super::{document, failed, run_with, serve, succeeded, text};
use testkit::{SECRET, deepfake};

/// Pages of the usual shapes, each with the same two events, and the words for the recognised shape.
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
    for name in ["total", "count"] {
        let body = json!({"events": [deepfake("one", "session", 0.9)], name: 26}).to_string();
        let sender = Mock::start(move |_| answer(200, body.clone()));
        let output = run_with(
            &[&arguments(&sender, &server.table())[..], &more].concat(),
            WITH_KEY,
            "",
        );
        failed(&output, "the list has 26 events, its pages have 1");
    }
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
            "a page that was read before",
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
