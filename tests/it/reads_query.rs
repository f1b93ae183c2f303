//! The query parameters and the cursors of the reads.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::reads::{ago, deliver_at, ids, plain};
use testkit::*;

#[tokio::test]
async fn a_bad_query_value_is_refused_by_name() {
    let receiver = Receiver::start().await;
    for (path, parameter) in [
        ("/results?limit=0", "limit"),
        ("/results?limit=101", "limit"),
        ("/results?limit=ten", "limit"),
        ("/results?limit=", "limit"),
        ("/results?limit=1&limit=2", "limit"),
        ("/results?outcome=maybe", "outcome"),
        ("/results?type=", "type"),
        ("/results?from=yesterday", "from"),
        ("/results?to=2026-01-21", "to"),
        ("/results?to=0000-01-01T00:00:00%2B23:59", "to"),
        ("/results?from=9999-12-31T23:59:59-23:59", "from"),
        ("/results?limit=%2B5", "limit"),
        ("/results?to=2026-01-21T12:00:00", "to"),
        (
            "/results?from=2026-01-22T00:00:00Z&to=2026-01-21T00:00:00Z",
            "from",
        ),
        ("/results?cursor=x", "cursor"),
        ("/results?cursor=%00", "cursor"),
        ("/results?cursor=", "cursor"),
        ("/results?tpye=a", "tpye"),
        ("/results/session-1?limit=-1", "limit"),
        ("/results/session-1?cursor=AAAA", "cursor"),
        ("/results/session-1?type=a", "type"),
    ] {
        let answer = receiver.get(path).await.expect(400, "invalid_query");
        let message = answer.body["message"].as_str().unwrap();
        assert!(message.contains(&format!("`{parameter}`")), "{path}: {message}");
    }
}

#[tokio::test]
async fn a_cursor_of_another_query_is_refused_and_never_a_defect() {
    let receiver = Receiver::start().await;
    for i in 0..5 {
        deliver_at(
            &receiver,
            &plain(&format!("event-{i}"), "t", "s"),
            ago(50 - i * 10),
        )
        .await;
    }
    let next = |answer: Answer| answer.body["next"].as_str().expect("a next").to_owned();
    let of_all = next(receiver.get("/results?limit=1").await);
    let of_session = next(receiver.get("/results/s?limit=1").await);
    receiver
        .get(&format!("/results/s?cursor={of_all}"))
        .await
        .expect(400, "invalid_query");
    receiver
        .get(&format!("/results?cursor={of_session}"))
        .await
        .expect(400, "invalid_query");
    // Whichever shard the newest record fell into: here, into the first.
    let first_shard = format!("{} event-4{}", ago(10), "\n.".repeat(15));
    let of_all_from_the_first = URL_SAFE_NO_PAD.encode(first_shard);
    receiver
        .get(&format!("/results/s?cursor={of_all_from_the_first}"))
        .await
        .expect(400, "invalid_query");
    let early = ago(1000);
    receiver
        .get(&format!("/results?to={early}&cursor={of_all}"))
        .await
        .expect(400, "invalid_query");
    // A time that the receiver can read, but that no record has in this form.
    for time in [
        "2026-01-21T12:00:00Z",
        "2026-01-21 12:00:00.000Z",
        "2026-01-21T13:00:00.000+01:00",
    ] {
        let of_session = URL_SAFE_NO_PAD.encode(format!("{time} event-1"));
        receiver
            .get(&format!("/results/s?cursor={of_session}"))
            .await
            .expect(400, "invalid_query");
        let of_all = URL_SAFE_NO_PAD.encode(format!("{time}\n{}", "\n".repeat(15)));
        receiver
            .get(&format!("/results?cursor={of_all}"))
            .await
            .expect(400, "invalid_query");
    }
    // Another session's: DynamoDB goes on from that place in this session.
    let answer = receiver.get(&format!("/results/other?cursor={of_session}")).await;
    assert_eq!((answer.status.as_u16(), &answer.body["count"]), (200, &json!(0)));
}

#[tokio::test]
async fn a_page_that_ends_at_the_last_record_has_no_next() {
    let receiver = Receiver::start().await;
    let event = json!({"id": "event-1", "type": "t", "data": {}}).to_string();
    receiver.deliver(event).await.received(false);
    for limit in [1, 2, 100] {
        let page = receiver.get(&format!("/results?limit={limit}")).await.body;
        assert_eq!(page["count"], 1, "{page}");
        let Some(next) = page["next"].as_str() else {
            continue;
        };
        // DynamoDB does not know yet that the shard ends here; the page after that has no record and no `next`.
        assert_eq!(limit, 1, "{page}");
        let rest = receiver
            .get(&format!("/results?limit={limit}&cursor={next}"))
            .await
            .body;
        assert_eq!(
            (&rest["count"], &rest["next"]),
            (&json!(0), &Value::Null),
            "{rest}"
        );
    }
}

#[tokio::test]
async fn a_cursor_exactly_at_the_bounds_of_its_query_works() {
    let receiver = Receiver::start().await;
    let moment = ago(60);
    for i in 0..40 {
        let event = json!({"id": format!("event-{i:02}"), "type": "t", "data": {}}).to_string();
        receiver.ingest(event.as_bytes(), moment).await;
    }
    // Every record, and so every cursor, lies at `from` and at `to`.
    let query = format!("/results?from={moment}&to={moment}&limit=3");
    let (mut seen, mut next) = (Vec::new(), String::new());
    loop {
        let page = receiver.get(&format!("{query}{next}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        seen.extend(ids(&page));
        match page.body["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    seen.sort();
    assert_eq!(seen, (0..40).map(|i| format!("event-{i:02}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_type_of_256_bytes_can_be_asked_for_and_a_longer_one_cannot() {
    let receiver = Receiver::start().await;
    // Two bytes each.
    let longest = "é".repeat(128);
    let event = json!({"id": "event-1", "type": longest, "data": {}}).to_string();
    receiver.deliver(event).await.received(false);
    let encoded = "%C3%A9".repeat(128);
    let page = receiver.get(&format!("/results?type={encoded}")).await;
    assert_eq!(ids(&page), ["event-1"]);
    receiver
        .get(&format!("/results?type={encoded}a"))
        .await
        .expect(400, "invalid_query");
}
