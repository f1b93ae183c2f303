//! Versions of the secret that are unusable or denied.

use sonotheia_webhook::secrets::Stage;
use sonotheia_webhook::telemetry::Telemetry;
use testkit::{Log, REQUEST_ID};

use super::{CACHE, Rotation};

/// Sends forgeries, then rotates the secret, while the previous version is not usable.
async fn forgeries_get_a_verdict_and_drive_no_calls(r: &Rotation, context: &str) {
    r.verify("current", 0).await.unwrap();
    let forge = async {
        for seconds in 1..31 {
            assert_eq!(r.verify("forged", seconds).await.unwrap(), None, "{context}");
        }
    };
    assert_eq!(r.calls(forge).await.1, 2, "{context}");
    r.put("next").await;
    assert_eq!(
        r.verify("next", 31).await.unwrap(),
        Some(Stage::Current),
        "{context}"
    );
    assert_eq!(
        r.verify("current", 31).await.unwrap(),
        Some(Stage::Previous),
        "{context}"
    );
}

#[tokio::test]
async fn an_unusable_previous_version_counts_as_missing() {
    for unusable in ["{}", r#"{"webhook_secret":7}"#, " "] {
        let r = Rotation::start(unusable).await;
        r.put("current").await;
        forgeries_get_a_verdict_and_drive_no_calls(&r, unusable).await;
    }
    let r = Rotation::start("zero").await;
    r.put_binary(b"binary").await;
    r.put("current").await;
    forgeries_get_a_verdict_and_drive_no_calls(&r, "binary").await;
}

#[tokio::test]
async fn a_previous_version_that_is_denied_counts_as_missing_and_is_logged_once() {
    let deny = testkit::Fault::Rewrite(|request, answer| match request.contains("AWSPREVIOUS") {
        true => (
            400,
            r#"{"__type":"AccessDeniedException","message":"injected"}"#.to_owned(),
        ),
        false => answer,
    });
    let r = Rotation::start("zero").await.behind(deny).await;
    r.put("one").await;
    let log = Log::default();
    let _logged = tracing::subscriber::set_default(Telemetry::new(log.clone()).subscriber(&[]));
    for seconds in 0..31 {
        assert_eq!(r.verify("one", seconds).await.unwrap(), Some(Stage::Current));
        assert_eq!(r.verify("zero", seconds).await.unwrap(), None);
    }
    assert_eq!(log.text().lines().count(), 1, "{}", log.text());
    let error = log.last()["error"].as_str().unwrap().to_owned();
    assert!(
        error.contains("AWSPREVIOUS") && error.contains("AccessDeniedException"),
        "{error}"
    );
}

#[tokio::test]
async fn the_secret_is_a_plain_string_or_a_json_object_and_never_empty() {
    for (stored, secret) in [
        ("plain", Some("plain")),
        (r#"{"webhook_secret":"inner","other":1}"#, Some("inner")),
        (r#""quoted""#, Some(r#""quoted""#)),
        ("{not json", None),
        ("\u{feff}{\"webhook_secret\":\"inner\"}", None),
        ("{}", None),
        (r#"{"webhook_secret":7}"#, None),
        (r#"{"webhook_secret":""}"#, None),
        (" ", None),
    ] {
        let r = Rotation::start(stored).await;
        let verdict = r.verify(secret.unwrap_or("any"), 0).await;
        match secret {
            Some(_) => assert_eq!(verdict.unwrap(), Some(Stage::Current), "{stored}"),
            None => assert!(verdict.is_err(), "{stored}"),
        }
    }
}

#[tokio::test]
async fn an_unusable_current_version_counts_as_missing_and_the_previous_version_serves() {
    for unusable in ["{\"webhook_secret\":\"two\",}", " ", "{}", "binary"] {
        for warm in [false, true] {
            let r = Rotation::start("one").await;
            if warm {
                assert_eq!(r.verify("one", 0).await.unwrap(), Some(Stage::Current));
            }
            match unusable {
                "binary" => r.put_binary(b"two").await,
                text => r.put(text).await,
            }
            assert_eq!(
                r.verify("one", CACHE).await.unwrap(),
                Some(Stage::Previous),
                "{unusable}"
            );
            // The sender may have a secret that the receiver cannot read, so this is not a 401.
            assert!(r.verify("two", CACHE).await.is_err(), "{unusable}");
            assert!(r.verify(unusable, CACHE).await.is_err(), "{unusable}");
            let forgeries = async {
                for _ in 0..50 {
                    assert!(r.verify("forged", CACHE + 1).await.is_err());
                }
            };
            let ((), calls) = r.calls(forgeries).await;
            assert!(calls <= 1, "{unusable}: {calls} calls");
            // The operator repairs the secret.
            r.put("three").await;
            assert_eq!(
                r.verify("three", CACHE + 40).await.unwrap(),
                Some(Stage::Current),
                "{unusable}"
            );
        }
    }
}

#[tokio::test]
async fn an_unreadable_answer_of_secrets_manager_leaves_no_secret_in_the_log() {
    let r = Rotation::start("the secret itself").await;
    let garble = testkit::Fault::Rewrite(|_, (status, mut body)| {
        body.insert_str(1, r#""CreatedDate":"oops","#);
        (status, body)
    });
    let r = r.behind(garble).await;
    let log = Log::default();
    let _logged = tracing::subscriber::set_default(Telemetry::new(log.clone()).subscriber(&[]));
    r.secrets.prefetch(r.start).await;
    let line = log.last();
    let error = line["error"].as_str().unwrap();
    assert!(
        error.contains("AWSCURRENT") && error.contains(REQUEST_ID),
        "{error}"
    );
    assert!(!log.text().contains("the secret itself"), "{}", log.text());
}
