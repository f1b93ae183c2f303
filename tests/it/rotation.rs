//! The cache of the secret on an emulated Secrets Manager: every step of a rotation, and the cache period.

mod forgeries;
mod outages;
mod versions;

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use aws_sdk_secretsmanager::operation::put_secret_value::builders::PutSecretValueFluentBuilder;
use aws_sdk_secretsmanager::primitives::Blob;
use emulators::SecretsManager;
use sonotheia_webhook::aws;
use sonotheia_webhook::config::{Config, SecretSource};
use sonotheia_webhook::secrets::{Secrets, SecretsError, Stage};
use sonotheia_webhook::signature::Secret;
use sonotheia_webhook::timestamp::Timestamp;

use testkit::{Receiver, TABLE, loopback, signed};

const ID: &str = "sonotheia/webhook";
const CACHE: i64 = 300;

/// The longest time that a test may take. A defect that makes a verification ask for ever then fails the tests.
const LIMIT: Duration = Duration::from_secs(120);

/// Ends the test process with a message if the test has not dropped this value within [`LIMIT`]. A timer of the test's own
/// runtime could not end a loop that never waits.
struct Limit(#[expect(dead_code, reason = "its drop ends the watch")] Sender<()>);

impl Limit {
    fn start() -> Self {
        let (alive, watch) = mpsc::channel();
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        std::thread::spawn(move || {
            if watch.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                eprintln!("{test} did not end within {LIMIT:?}");
                std::process::exit(101);
            }
        });
        Self(alive)
    }
}

struct Rotation {
    manager: SecretsManager,
    client: aws_sdk_secretsmanager::Client,
    secrets: Secrets,
    start: Timestamp,
    _limit: Limit,
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
            _limit: Limit::start(),
        }
    }

    /// A cold cache, with a proxy between it and Secrets Manager.
    async fn behind(mut self, fault: testkit::Fault) -> Self {
        let proxy = testkit::Proxy::start(self.manager.endpoint(), fault.always()).await;
        self.secrets = cold_cache(proxy.endpoint());
        self
    }

    /// Puts a new current version as a rotation does: pending, then promoted. (A direct put of a current version leaves
    /// `AWSPREVIOUS` on every older version in the emulator.)
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

    /// Verifies a signature made with `secret`, `seconds` after the start.
    async fn verify(&self, secret: &str, seconds: i64) -> Result<Option<Stage>, SecretsError> {
        let signature = Secret::new(secret).unwrap().sign(b"body");
        let now = Timestamp::from_millis(self.start.as_millis() + seconds * 1000);
        self.secrets.verify(b"body", &signature, now).await.version
    }

    /// Runs `step` and counts its calls to Secrets Manager.
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
async fn the_log_counts_the_calls_of_a_delivery_and_the_deliveries_with_the_previous_secret() {
    let r = Rotation::start("one").await;
    let config = Config::new(TABLE, SecretSource::SecretsManager(ID.into()));
    let receiver = Receiver::with(config, Some(&r.manager), None).await;
    let deliver = async |secret: &str| {
        let answer = receiver.send(signed("{}", secret));
        let (answer, calls) = r.calls(answer).await;
        answer.expect(400, "invalid_event");
        let line = receiver.log.last();
        let refreshes = line["SecretRefresh"].as_u64().unwrap_or_default();
        assert_eq!(refreshes, calls as u64, "{line}");
        (calls, line["PreviousSecretUsed"] == 1)
    };
    assert_eq!(deliver("one").await, (1, false));
    assert_eq!(deliver("one").await, (0, false));
    r.put("two").await;
    // The sender switches at once: the receiver asks for the previous version, then for a newer current one.
    assert_eq!(deliver("two").await, (2, false));
    assert_eq!(deliver("one").await, (1, true));
}

#[tokio::test]
async fn the_first_delivery_after_the_prefetch_makes_no_call() {
    let r = Rotation::start("one").await;
    r.secrets.prefetch(r.start).await;
    assert_eq!(r.calls(r.verify("one", 0)).await.1, 0);
}

#[tokio::test]
async fn no_step_of_a_rotation_rejects_a_valid_signature() {
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
                    let context = format!("{warm} {forged_before} {forged_after} {put_at}");
                    for seconds in [put_at, put_at + 1, put_at + CACHE - 1] {
                        assert!(
                            r.verify("one", seconds).await.unwrap().is_some(),
                            "old at {seconds}: {context}"
                        );
                        if forged_after {
                            assert_eq!(r.verify("forged", seconds).await.unwrap(), None);
                        }
                    }
                    for seconds in [put_at + CACHE, put_at + CACHE + 1, put_at + 2 * CACHE + 1] {
                        let current = r.verify("two", seconds).await.unwrap();
                        assert_eq!(current, Some(Stage::Current), "new at {seconds}: {context}");
                        if forged_after {
                            assert_eq!(r.verify("forged", seconds).await.unwrap(), None);
                        }
                        let previous = r.verify("one", seconds).await.unwrap();
                        assert_eq!(previous, Some(Stage::Previous), "retry at {seconds}: {context}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn the_refresh_on_a_mismatch_finds_the_secret_of_a_sender_that_switches_at_once() {
    let r = Rotation::start("one").await;
    r.verify("one", 0).await.unwrap();
    r.put("two").await;
    assert_eq!(r.verify("two", 1).await.unwrap(), Some(Stage::Current));
    assert_eq!(r.verify("one", 1).await.unwrap(), Some(Stage::Previous));
}

#[tokio::test]
async fn the_receiver_rejects_a_revoked_previous_secret_after_the_cache_period() {
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

#[tokio::test]
async fn a_clock_that_is_set_back_neither_ends_nor_prolongs_the_cache_period() {
    let r = Rotation::start("one").await;
    r.verify("one", 0).await.unwrap();
    assert_eq!(r.calls(r.verify("one", -30)).await.1, 0);
    assert_eq!(r.calls(r.verify("one", -3600)).await.1, 0);
    assert_eq!(r.calls(r.verify("one", -3600 + CACHE - 1)).await.1, 0);
    assert_eq!(r.calls(r.verify("one", -3600 + CACHE + 1)).await.1, 1);
}
