//! The secret during a run: its versions, its rotations, and failures of Secrets Manager.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use emulators::Fault;

use super::run::{Run, count};
use crate::back_ends::BackEnds;
use crate::{lock, plan};

/// `SECRET_CACHE_SECONDS`. The sender switches this long after a new version was put.
pub const CACHE_SECONDS: u32 = 1;

/// The number of rotations.
const ROTATIONS: usize = 3;

/// The share of the planned deliveries that is left when Secrets Manager fails for the first time. Until then a 503 answer
/// has no reason but a failure of DynamoDB.
const FIRST_FAILURE: f64 = 0.5;

/// The share of the planned deliveries between two failures of Secrets Manager.
const BETWEEN_FAILURES: f64 = 0.025;

/// The duration of a failure of Secrets Manager.
const FAILURE: Duration = Duration::from_millis(200);

/// The time between two looks at the progress of the run.
const POLL: Duration = Duration::from_millis(5);

/// A version of the secret.
pub fn secret(seed: u64, version: usize) -> String {
    format!("secret-{seed}-of-version-{version}")
}

/// All versions of the secret.
pub fn secrets(seed: u64) -> impl Iterator<Item = String> {
    (0..=ROTATIONS).map(move |version| secret(seed, version))
}

/// Rotates the secret at equal distances of the run, and makes Secrets Manager fail in the second half. The sender switches
/// as the contract says, `SECRET_CACHE_SECONDS` after each rotation.
pub async fn rotate_and_break(run: Arc<Run>, back_ends: Arc<BackEnds>) {
    const FAULTS: [Fault; 2] = [Fault::InternalError, Fault::Throttling];
    let all = run.queue.planned() as f64;
    let left = || run.queue.planned() as f64 / all;
    let mut rng = plan::rng(run.seed, 6);
    let mut next_failure = FIRST_FAILURE;
    for version in 1..=ROTATIONS {
        let rotate_at = 1.0 - version as f64 / (ROTATIONS + 1) as f64;
        while left() > rotate_at {
            if left() < next_failure {
                next_failure -= BETWEEN_FAILURES;
                let fault = FAULTS[rng.usize(0..FAULTS.len())];
                *lock(&run.secrets_failed) = Some(Instant::now());
                back_ends.secrets_manager.break_with(Some(fault));
                tokio::time::sleep(FAILURE).await;
                back_ends.secrets_manager.break_with(None);
                run.count(count::SECRETS_FAILED);
            }
            tokio::time::sleep(POLL).await;
        }
        let new = secret(run.seed, version);
        {
            let mut secrets = run.secrets.write().await;
            *lock(&run.rotated) = Some(Instant::now());
            if let Err(error) = back_ends.rotate(&new).await {
                run.violations
                    .note(format!("the secret cannot be rotated: {error}"));
                return;
            }
            secrets.push(new);
        }
        run.count(count::ROTATED);
        let margin = Duration::from_millis(50);
        tokio::time::sleep(Duration::from_secs(u64::from(CACHE_SECONDS)) + margin).await;
        let _no_delivery_is_under_way = run.secrets.write().await;
        run.signing.store(version, Ordering::SeqCst);
    }
}
