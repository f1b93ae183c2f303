//! Secrets Manager fails, throttles, hangs, or has no such secret.

use std::time::{Duration, Instant};

use emulators::{Fault, SecretsManager};
use sonotheia_webhook::config::{Config, SecretSource};
use sonotheia_webhook::secrets::Stage;
use sonotheia_webhook::timestamp::Timestamp;
use testkit::{Receiver, TABLE, deepfake, loopback, post, sign, signed};

use super::{CACHE, ID, Limit, Rotation};

/// The receiver cannot know whether its secrets are the newest once a refresh has failed, however young they are.
#[tokio::test]
async fn after_a_failed_refresh_a_mismatch_gets_no_401_until_a_refresh_succeeds() {
    for fault in [Fault::InternalError, Fault::Throttling] {
        let r = Rotation::start("one").await;
        r.verify("one", 0).await.unwrap();
        assert_eq!(r.verify("forged", 1).await.unwrap(), None, "{fault:?}");
        r.put_behind_the_fault("two", fault).await;
        let mismatches = async {
            for seconds in 31..61 {
                for secret in ["two", "forged"] {
                    assert!(
                        r.verify(secret, seconds).await.is_err(),
                        "{fault:?} at {seconds} s"
                    );
                }
                assert_eq!(r.verify("one", seconds).await.unwrap(), Some(Stage::Current));
            }
        };
        // One refresh in 30 s, of at most two attempts.
        let ((), calls) = r.calls(mismatches).await;
        assert!((1..=2).contains(&calls), "{fault:?}: {calls} calls");
        r.manager.break_with(None);
        assert_eq!(r.verify("forged", 62).await.unwrap(), None, "{fault:?}");
        assert_eq!(
            r.verify("two", 62).await.unwrap(),
            Some(Stage::Current),
            "{fault:?}"
        );
        assert_eq!(
            r.verify("one", 62).await.unwrap(),
            Some(Stage::Previous),
            "{fault:?}"
        );
    }
}

impl Rotation {
    /// Rotates the secret during an outage: Secrets Manager works for the operator only.
    async fn put_behind_the_fault(&self, secret: &str, fault: Fault) {
        self.put_and_mend(secret).await;
        self.manager.break_with(Some(fault));
    }
}

#[tokio::test]
async fn the_last_good_secret_serves_while_secrets_manager_fails() {
    for fault in [
        Fault::InternalError,
        Fault::Throttling,
        Fault::Hang(Duration::from_secs(20)),
    ] {
        let r = Rotation::start("one").await;
        r.put("two").await;
        r.verify("one", 0).await.unwrap();
        r.manager.break_with(Some(fault));
        let begun = Instant::now();
        assert_eq!(
            r.verify("two", CACHE).await.unwrap(),
            Some(Stage::Current),
            "{fault:?}"
        );
        assert_eq!(
            r.verify("one", CACHE).await.unwrap(),
            Some(Stage::Previous),
            "{fault:?}"
        );
        assert!(
            begun.elapsed() < Duration::from_millis(3500),
            "a bounded call for each version"
        );
        // The operator may have rotated the secret, so this is not a 401.
        assert!(r.verify("three", CACHE).await.is_err(), "{fault:?}");
        r.put_and_mend("three").await;
        assert_eq!(
            r.verify("three", CACHE + 12).await.unwrap(),
            Some(Stage::Current),
            "{fault:?}"
        );
    }
}

impl Rotation {
    async fn put_and_mend(&self, secret: &str) {
        self.manager.break_with(None);
        self.put(secret).await;
    }
}

#[tokio::test]
async fn while_secrets_manager_hangs_one_delivery_in_ten_seconds_waits_for_it() {
    let r = Rotation::start("one").await;
    r.verify("one", 0).await.unwrap();
    r.manager.break_with(Some(Fault::Hang(Duration::from_secs(20))));
    // The call at CACHE fails 1.5 s later, and the ten seconds count from there.
    for (seconds, asks) in [
        (0, true),
        (1, false),
        (5, false),
        (11, false),
        (12, true),
        (13, false),
    ] {
        let (verdict, calls) = r.calls(r.verify("one", CACHE + seconds)).await;
        assert_eq!(verdict.unwrap(), Some(Stage::Current));
        assert_eq!(calls > 0, asks, "{seconds} s after the cache period");
    }
}

/// Secrets Manager answers calls for the current version only.
fn fail_the_previous_version() -> testkit::Fault {
    testkit::Fault::Rewrite(|request, answer| match request.contains("AWSPREVIOUS") {
        true => (
            500,
            r#"{"__type":"InternalServiceError","message":"injected"}"#.to_owned(),
        ),
        false => answer,
    })
}

#[tokio::test]
async fn while_the_call_for_the_previous_version_fails_a_mismatch_gets_no_401_and_the_receiver_still_asks_for_the_current_version()
 {
    let r = Rotation::start("one")
        .await
        .behind(fail_the_previous_version())
        .await;
    r.verify("one", 0).await.unwrap();
    let forge = async {
        for seconds in 1..10 {
            assert!(r.verify("forged", seconds).await.is_err());
        }
    };
    // The SDK calls twice for the previous version (its own retry), and once for the current version on the mismatch.
    assert_eq!(r.calls(forge).await.1, 3);
    r.put("two").await;
    assert_eq!(r.verify("two", 31).await.unwrap(), Some(Stage::Current));
}

#[tokio::test]
async fn the_secret_that_was_current_serves_while_the_call_for_the_previous_version_fails() {
    // The receiver learns of the rotation by a mismatch, or at the end of the cache period.
    for seconds in [1, CACHE] {
        let r = Rotation::start("one")
            .await
            .behind(fail_the_previous_version())
            .await;
        assert_eq!(r.verify("one", 0).await.unwrap(), Some(Stage::Current));
        r.put("two").await;
        for (secret, stage) in [("two", Stage::Current), ("one", Stage::Previous)] {
            let verdict = r.verify(secret, seconds).await;
            assert_eq!(verdict.unwrap(), Some(stage), "{secret} at {seconds} s");
        }
        assert!(r.verify("forged", seconds).await.is_err(), "at {seconds} s");
    }
}

#[tokio::test]
async fn without_any_secret_the_receiver_answers_503_and_recovers() {
    for fault in [
        Fault::InternalError,
        Fault::Throttling,
        Fault::Hang(Duration::from_secs(20)),
    ] {
        let _limit = Limit::start();
        let manager = SecretsManager::start(loopback().await).unwrap();
        let client = aws_sdk_secretsmanager::Client::new(&emulators::sdk_config(manager.endpoint()));
        client
            .create_secret()
            .name(ID)
            .secret_string("one")
            .send()
            .await
            .unwrap();
        manager.break_with(Some(fault));
        let config = Config::new(TABLE, SecretSource::SecretsManager(ID.into()));
        let receiver = Receiver::with(config, Some(&manager), None).await;
        // The receiver starts although it cannot fetch the secret.
        receiver.app.prefetch(Timestamp::now()).await;

        let body = deepfake("event-1", "session-1", 0.5).to_string();
        let begun = Instant::now();
        for request in [
            signed(&body, "one"),
            signed(&body, "forged"),
            post(&body, &[&sign("", "x")]),
        ] {
            let answer = receiver.send(request).await.expect(503, "unavailable");
            assert!(answer.headers.contains_key("retry-after"), "{fault:?}");
        }
        assert!(begun.elapsed() < Duration::from_secs(3 * 4), "{fault:?}");
        assert!(receiver.items().await.is_empty());

        manager.break_with(None);
        receiver.send(signed(&body, "one")).await.received(false);
        receiver
            .send(signed(&body, "forged"))
            .await
            .expect(401, "invalid_signature");
    }
}

#[tokio::test]
async fn a_secret_that_does_not_exist_gets_503_and_never_401() {
    let _limit = Limit::start();
    let manager = SecretsManager::start(loopback().await).unwrap();
    let config = Config::new(TABLE, SecretSource::SecretsManager("nobody/made/this".into()));
    let receiver = Receiver::with(config, Some(&manager), None).await;
    receiver.deliver("{}").await.expect(503, "unavailable");
}
