//! The request that starts a process: its answer leaves within 4.5 s of the process's start (contract, section 2).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use emulators::{DynamoDb, SecretsManager};
use serde_json::json;
use sonotheia_webhook::deadline::{DYNAMODB, PREFETCH, SECRETS_MANAGER};
use testkit::*;

use crate::lambda::{Lambda, PATIENCE, delivery, status};

/// The contract's time for an answer.
const LIMIT: Duration = Duration::from_millis(4500);

const SECRET_ID: &str = "webhook";

/// The services behind proxies, with the table and the secret.
struct BackEnds {
    _dynamodb: DynamoDb,
    _manager: SecretsManager,
    table: Proxy,
    secrets: Proxy,
}

impl BackEnds {
    /// Starts the services. Secrets Manager has these versions, the current one last.
    async fn start(table: Faults, secrets: Faults, versions: &[&str]) -> Self {
        let dynamodb = DynamoDb::start(loopback().await, None).unwrap();
        let direct = aws_sdk_dynamodb::Client::new(&emulators::sdk_config(dynamodb.endpoint()));
        emulators::create_table(&direct, TABLE).await.unwrap();
        let manager = SecretsManager::start(loopback().await).unwrap();
        let direct = aws_sdk_secretsmanager::Client::new(&emulators::sdk_config(manager.endpoint()));
        let (first, later) = versions.split_first().unwrap();
        let create = direct.create_secret().name(SECRET_ID).secret_string(*first);
        create.send().await.unwrap();
        for version in later {
            emulators::rotate(&direct, SECRET_ID, version).await.unwrap();
        }
        Self {
            table: Proxy::start(dynamodb.endpoint(), table).await,
            secrets: Proxy::start(manager.endpoint(), secrets).await,
            _dynamodb: dynamodb,
            _manager: manager,
        }
    }

    /// Starts the function. Returns it with the time of its start.
    fn function(&self, more: &[(&str, &str)]) -> (Lambda, Instant) {
        let secrets = [
            ("SONOTHEIA_WEBHOOK_SECRET_ARN", SECRET_ID),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", self.secrets.endpoint()),
        ];
        let begun = Instant::now();
        let lambda = Lambda::start_with(self.table.endpoint(), &[&secrets, more].concat());
        (lambda, begun)
    }
}

#[tokio::test]
async fn while_both_back_ends_hang_the_first_answer_leaves_in_time_and_a_later_delivery_has_its_own_time() {
    let is_broken = Arc::new(AtomicBool::new(true));
    let faults = || {
        let is_broken = is_broken.clone();
        Faults::new(move |_, _| match is_broken.load(Ordering::SeqCst) {
            true => Fault::Hang,
            false => Fault::Delay(Duration::from_millis(200)),
        })
    };
    let back_ends = BackEnds::start(faults(), faults(), &[SECRET]).await;
    let (mut lambda, begun) = back_ends.function(&[]);
    let invocation = lambda.invoke("one", &delivery("event-1")).await;
    assert_eq!(status(invocation).await, 503);
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());

    is_broken.store(false, Ordering::SeqCst);
    tokio::time::sleep_until((begun + LIMIT).into()).await;
    let invocation = lambda.invoke("two", &delivery("event-1")).await;
    assert_eq!(status(invocation).await, 200);
}

#[tokio::test]
async fn with_a_slow_secret_and_a_table_that_hangs_the_first_answer_leaves_in_time() {
    // The start fetches ahead, without an answer. The delivery fetches again: the first attempt has no answer, and the
    // second one has an answer late. Then all time for the write passes.
    const LATE: Duration = Duration::from_millis(250);
    let slow = Faults::new(|number, _| {
        if number < 2 {
            Fault::Hang
        } else {
            Fault::Delay(LATE)
        }
    });
    let back_ends = BackEnds::start(Fault::Hang.always(), slow, &[SECRET]).await;
    let (mut lambda, begun) = back_ends.function(&[]);
    let invocation = lambda.invoke("one", &delivery("event-1")).await;
    assert_eq!(status(invocation).await, 503);
    let time = begun.elapsed();
    assert!(time < LIMIT, "{time:?}");
    assert!(time > PREFETCH + SECRETS_MANAGER.attempt + LATE, "{time:?}");
    assert!(back_ends.table.requests() > 1, "the delivery reached DynamoDB");
}

#[tokio::test]
async fn with_two_slow_secrets_and_a_table_that_hangs_several_first_answers_leave_in_time() {
    // The delivery is signed with the previous secret, so the receiver fetches two versions, one after the other, and then
    // all time for the write passes. The sum is over the contract's time.
    const LATE: Duration = Duration::from_millis(800);
    assert!(PREFETCH + 2 * LATE + DYNAMODB.operation > LIMIT);
    let slow = Fault::Delay(LATE).always();
    let back_ends = BackEnds::start(Fault::Hang.always(), slow, &[SECRET, "the new secret"]).await;
    let (mut lambda, begun) = back_ends.function(&[("AWS_LAMBDA_MAX_CONCURRENCY", "3")]);
    let mut invocations = Vec::new();
    for id in ["one", "two", "three"] {
        invocations.push(lambda.invoke(id, &delivery(id)).await);
    }
    for invocation in invocations {
        let answer = invocation.answer(PATIENCE).await.unwrap();
        assert_eq!(answer.reply["statusCode"], 503, "{}", answer.reply);
        let time = answer.at - begun;
        assert!(time < LIMIT, "{time:?}");
        assert!(time > PREFETCH + 2 * LATE, "{time:?}");
    }
    assert!(back_ends.table.requests() > 1, "a delivery reached DynamoDB");
}

#[tokio::test]
async fn a_forgery_that_starts_a_process_causes_only_the_read_of_the_start() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = calls.clone();
    let table = Faults::new(move |_, request| {
        let operation = request.header("x-amz-target").unwrap_or_default();
        seen.lock().unwrap().push(operation.to_owned());
        Fault::None
    });
    let back_ends = BackEnds::start(table, Faults::none(), &[SECRET]).await;
    let (mut lambda, _) = back_ends.function(&[]);
    let mut forgery = delivery("event-1");
    forgery["body"] = json!(deepfake("event-2", "session-1", 0.5).to_string());
    for id in ["one", "two"] {
        let invocation = lambda.invoke(id, &forgery).await;
        assert_eq!(status(invocation).await, 401);
    }
    assert_eq!(*calls.lock().unwrap(), ["DynamoDB_20120810.GetItem"]);
}
