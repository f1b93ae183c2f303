//! The secret's cache against a real Secrets Manager API: rotation at every step, outages, forgeries.

use std::time::{Duration, Instant};

use aws_sdk_secretsmanager::operation::put_secret_value::builders::PutSecretValueFluentBuilder;
use aws_sdk_secretsmanager::primitives::Blob;
use emulators::{Fault, SecretsManager};
use sonotheia_webhook::aws;
use sonotheia_webhook::config::{Config, SecretSource};
use sonotheia_webhook::secrets::{Secrets, SecretsError, Stage};
use sonotheia_webhook::signature::Secret;
use sonotheia_webhook::telemetry::Telemetry;
use sonotheia_webhook::timestamp::Timestamp;

use testkit::{self, Log, REQUEST_ID, Receiver, TABLE, deepfake, loopback, post, sign, signed};

const ID: &str = "sonotheia/webhook";
const CACHE: i64 = 300;

struct Rotation {
    manager: SecretsManager,
    client: aws_sdk_secretsmanager::Client,
    secrets: Secrets,
    start: Timestamp,
}

impl Rotation {
    /// A Secrets Manager that holds `secret`, and a cold cache in front of it.
    async fn start(secret: &str) -> Self {
        let manager = SecretsManager::start(loopback().await).unwrap();
        let sdk = emulators::sdk_config(manager.endpoint());
        let client = aws_sdk_secretsmanager::Client::new(&sdk);
        client
            .create_secret()
            .name(ID)
            .secret_string(secret)
            .send()
            .await
            .unwrap();
        Self {
            secrets: cold_cache(manager.endpoint()),
            client,
            manager,
            start: Timestamp::now(),
        }
    }

    /// A cold cache, and that between it and Secrets Manager.
    async fn behind(mut self, fault: testkit::Fault) -> Self {
        let proxy = testkit::Proxy::start(self.manager.endpoint(), fault.always()).await;
        self.secrets = cold_cache(proxy.endpoint());
        self
    }

    /// A new current version, as a rotation makes it: pending, then promoted. (The emulator's short
    /// cut, a put of a current version, leaves `AWSPREVIOUS` on every older one.)
    async fn put(&self, secret: &str) {
        let put = self.client.put_secret_value().secret_string(secret);
        self.promote(put).await;
    }

    async fn put_binary(&self, secret: &[u8]) {
        let put = self.client.put_secret_value().secret_binary(Blob::new(secret));
        self.promote(put).await;
    }

    async fn promote(&self, put: PutSecretValueFluentBuilder) {
        let current = self.client.get_secret_value().secret_id(ID).send().await.unwrap();
        let put = put.secret_id(ID).version_stages("AWSPENDING");
        let pending = put.send().await.unwrap();
        let promote = self
            .client
            .update_secret_version_stage()
            .secret_id(ID)
            .version_stage("AWSCURRENT");
        promote
            .set_move_to_version_id(pending.version_id)
            .set_remove_from_version_id(current.version_id)
            .send()
            .await
            .unwrap();
    }

    /// Verifies a signature made with `secret`, so many seconds after the start.
    async fn verify(&self, secret: &str, seconds: i64) -> Result<Option<Stage>, SecretsError> {
        let signature = Secret::new(secret).unwrap().sign(b"body");
        let now = Timestamp::from_millis(self.start.as_millis() + seconds * 1000);
        self.secrets.verify(b"body", &signature, now).await.version
    }

    /// How many calls the next step makes.
    async fn calls<T>(&self, step: impl Future<Output = T>) -> (T, usize) {
        let before = self.manager.calls();
        let result = step.await;
        (result, self.manager.calls() - before)
    }
}

fn cold_cache(endpoint: &str) -> Secrets {
    let client = aws::secrets_manager(&emulators::sdk_config(endpoint));
    Secrets::managed(client, ID, Duration::from_secs(CACHE as u64))
}

#[tokio::test]
async fn a_secret_is_fetched_once_per_cache_period() {
    let r = Rotation::start("one").await;
    for (seconds, calls) in [(0, 1), (1, 0), (CACHE - 1, 0), (CACHE, 1), (2 * CACHE - 1, 0)] {
        let (verdict, made) = r.calls(r.verify("one", seconds)).await;
        assert_eq!(
            (verdict.unwrap(), made),
            (Some(Stage::Current), calls),
            "at {seconds} s"
        );
    }
}

#[tokio::test]
async fn the_prefetch_spares_the_first_delivery_the_call() {
    let r = Rotation::start("one").await;
    r.secrets.prefetch(r.start).await;
    assert_eq!(r.calls(r.verify("one", 0)).await.1, 0);
}

#[tokio::test]
async fn no_step_of_a_rotation_refuses_a_valid_signature() {
    // For every moment of the rotation within the cache period, with forgeries before and after:
    // the sender signs with the old secret until it switches, CACHE seconds after the put, and its
    // retries go on with the old one.
    for warm in [false, true] {
        for forged_before in [false, true] {
            for forged_after in [false, true] {
                for put_at in [0, 1, 31, CACHE - 1] {
                    let r = Rotation::start("zero").await;
                    r.put("one").await;
                    if warm {
                        assert_eq!(r.verify("one", 0).await.unwrap(), Some(Stage::Current));
                    }
                    if forged_before {
                        assert_eq!(r.verify("forged", 0).await.unwrap(), None);
                        assert_eq!(r.verify("zero", 0).await.unwrap(), Some(Stage::Previous));
                    }
                    r.put("two").await;
                    let told = format!("{warm} {forged_before} {forged_after} {put_at}");
                    for seconds in [put_at, put_at + 1, put_at + CACHE - 1] {
                        assert!(
                            r.verify("one", seconds).await.unwrap().is_some(),
                            "old at {seconds}: {told}"
                        );
                        if forged_after {
                            assert_eq!(r.verify("forged", seconds).await.unwrap(), None);
                        }
                    }
                    for seconds in [put_at + CACHE, put_at + CACHE + 1, put_at + 2 * CACHE + 1] {
                        let current = r.verify("two", seconds).await.unwrap();
                        assert_eq!(current, Some(Stage::Current), "new at {seconds}: {told}");
                        if forged_after {
                            assert_eq!(r.verify("forged", seconds).await.unwrap(), None);
                        }
                        let previous = r.verify("one", seconds).await.unwrap();
                        assert_eq!(previous, Some(Stage::Previous), "retry at {seconds}: {told}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_sender_that_switches_at_once_is_understood_by_the_refresh_on_a_mismatch() {
    let r = Rotation::start("one").await;
    r.verify("one", 0).await.unwrap();
    r.put("two").await;
    assert_eq!(r.verify("two", 1).await.unwrap(), Some(Stage::Current));
    assert_eq!(r.verify("one", 1).await.unwrap(), Some(Stage::Previous));
}

#[tokio::test]
async fn forgeries_cannot_drive_calls() {
    let r = Rotation::start("one").await;
    r.verify("one", 0).await.unwrap();
    let forge = |from: i64, to: i64| {
        let r = &r;
        async move {
            for seconds in from..to {
                for _ in 0..5 {
                    assert_eq!(r.verify("forged", seconds).await.unwrap(), None);
                }
            }
        }
    };
    // The previous version, once, and the current one again, once.
    assert_eq!(r.calls(forge(1, 31)).await.1, 2);
    // From then on one refresh in 30 s.
    assert_eq!(r.calls(forge(31, 61)).await.1, 1);
    assert_eq!(r.calls(forge(61, 91)).await.1, 1);
}

#[tokio::test]
async fn deliveries_at_once_ask_once() {
    let r = Rotation::start("one").await;
    let all = futures_util::future::join_all((0..50).map(|_| r.verify("one", 0)));
    let (verdicts, calls) = r.calls(all).await;
    assert!(
        verdicts
            .into_iter()
            .all(|verdict| verdict.unwrap() == Some(Stage::Current))
    );
    assert_eq!(calls, 1);
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
        // What may be a rotation is no forgery.
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

#[tokio::test]
async fn a_previous_secret_that_was_revoked_is_refused_after_the_cache_period() {
    let r = Rotation::start("one").await;
    let revoked = r.client.get_secret_value().secret_id(ID).send().await.unwrap();
    r.put("two").await;
    assert_eq!(r.verify("one", 0).await.unwrap(), Some(Stage::Previous));
    let revoke = r.client.update_secret_version_stage().secret_id(ID);
    revoke
        .version_stage("AWSPREVIOUS")
        .set_remove_from_version_id(revoked.version_id)
        .send()
        .await
        .unwrap();
    assert_eq!(r.verify("one", CACHE - 1).await.unwrap(), Some(Stage::Previous));
    assert_eq!(r.verify("one", CACHE + 1).await.unwrap(), None);
}

/// Forgeries, and a rotation after them, beside a previous version that can't be used.
async fn forgeries_get_a_verdict_and_drive_no_calls(r: &Rotation, told: &str) {
    r.verify("current", 0).await.unwrap();
    let forge = async {
        for seconds in 1..31 {
            assert_eq!(r.verify("forged", seconds).await.unwrap(), None, "{told}");
        }
    };
    assert_eq!(r.calls(forge).await.1, 2, "{told}");
    r.put("next").await;
    assert_eq!(
        r.verify("next", 31).await.unwrap(),
        Some(Stage::Current),
        "{told}"
    );
    assert_eq!(
        r.verify("current", 31).await.unwrap(),
        Some(Stage::Previous),
        "{told}"
    );
}

#[tokio::test]
async fn a_previous_version_that_cannot_be_used_counts_as_none() {
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
async fn a_previous_version_that_is_denied_counts_as_none_and_is_told_of_once() {
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
async fn while_the_previous_version_fails_a_mismatch_is_no_verdict_and_the_current_one_is_still_asked_for() {
    let fail = testkit::Fault::Rewrite(|request, answer| match request.contains("AWSPREVIOUS") {
        true => (
            500,
            r#"{"__type":"InternalServiceError","message":"injected"}"#.to_owned(),
        ),
        false => answer,
    });
    let r = Rotation::start("one").await.behind(fail).await;
    r.verify("one", 0).await.unwrap();
    let forge = async {
        for seconds in 1..10 {
            assert!(r.verify("forged", seconds).await.is_err());
        }
    };
    // The previous version, twice for the SDK's own retry, and the current one on the mismatch.
    assert_eq!(r.calls(forge).await.1, 3);
    r.put("two").await;
    assert_eq!(r.verify("two", 31).await.unwrap(), Some(Stage::Current));
}

#[tokio::test]
async fn a_clock_that_is_set_back_a_little_asks_for_nothing_and_a_lot_asks_again() {
    let r = Rotation::start("one").await;
    r.verify("one", 0).await.unwrap();
    assert_eq!(r.calls(r.verify("one", -30)).await.1, 0);
    assert_eq!(r.calls(r.verify("one", -3600)).await.1, 1);
    assert_eq!(r.calls(r.verify("one", -3599)).await.1, 0);
}

#[tokio::test]
async fn without_any_secret_it_is_unavailable_and_recovers() {
    for fault in [
        Fault::InternalError,
        Fault::Throttling,
        Fault::Hang(Duration::from_secs(20)),
    ] {
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
        // A start that can't fetch is a start all the same.
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
            // The operator mends the secret.
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
async fn forgeries_do_not_drive_calls_while_no_secret_can_be_had() {
    let r = Rotation::start("one").await;
    r.manager.break_with(Some(Fault::InternalError));
    let forgeries = async {
        for _ in 0..100 {
            assert!(r.verify("forged", 0).await.is_err());
        }
    };
    let ((), calls) = r.calls(forgeries).await;
    // Ten calls of two attempts each.
    assert!(calls <= 20, "{calls} calls");
    r.manager.break_with(None);
    assert_eq!(r.verify("one", 11).await.unwrap(), Some(Stage::Current));
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_unavailable_and_never_a_forgery() {
    let manager = SecretsManager::start(loopback().await).unwrap();
    let config = Config::new(TABLE, SecretSource::SecretsManager("nobody/made/this".into()));
    let receiver = Receiver::with(config, Some(&manager), None).await;
    receiver.deliver("{}").await.expect(503, "unavailable");
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_puts_nothing_of_the_secret_into_the_log() {
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
