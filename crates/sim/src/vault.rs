//! The embedded Secrets Manager, called in this process without a socket, and the rotation of its secret.

use std::collections::HashMap;
use std::sync::Mutex;

use aws_sdk_secretsmanager::Client;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use winterbaume_core::{MockRequest, MockService};
use winterbaume_secretsmanager::SecretsManagerService;

use crate::table::Reply;
use crate::world::lock;

/// The secret's name.
pub const SECRET_ID: &str = "webhook";

/// `SECRET_CACHE_SECONDS` of the simulated receivers.
pub const SECRET_CACHE_SECONDS: u64 = 60;

/// A text that every secret begins with and that no log line may hold.
pub const SECRET_MARK: &str = "hush-hush";

/// Secrets Manager with one secret.
#[derive(Default)]
pub struct Vault {
    service: SecretsManagerService,
    /// The true times of the rotations, in milliseconds since the epoch. The first is the creation.
    rotations: Mutex<Vec<i64>>,
    /// The answers that the proxy of the defect `stale-secret` repeats.
    repeated: Mutex<HashMap<Vec<u8>, Reply>>,
}

impl Vault {
    /// Runs one operation.
    pub async fn call(&self, target: &str, body: &[u8]) -> Reply {
        let mut headers = HeaderMap::new();
        let target = HeaderValue::from_str(target).expect("a target");
        headers.insert(HeaderName::from_static("x-amz-target"), target);
        let request = MockRequest {
            method: "POST".to_owned(),
            // The service reads the region from the host name.
            uri: format!("https://secretsmanager.{}.amazonaws.com/", emulators::REGION),
            headers,
            body: body.to_vec().into(),
        };
        let answer = self.service.handle(request).await;
        Reply {
            status: answer.status,
            body: String::from_utf8_lossy(&answer.body).into_owned(),
        }
    }

    /// As [`call`](Self::call), through a proxy that repeats its first answer to a request.
    pub async fn call_stale(&self, target: &str, body: &[u8]) -> Reply {
        if let Some(reply) = lock(&self.repeated).get(body) {
            return reply.clone();
        }
        let reply = self.call(target, body).await;
        if reply.status == 200 {
            lock(&self.repeated).insert(body.to_vec(), reply.clone());
        }
        reply
    }

    /// The text of a version of the secret.
    pub fn secret(version: usize) -> String {
        format!("{SECRET_MARK}-{version}")
    }

    /// Creates the secret, or makes a new version the current one. `client` meets no faults.
    pub async fn rotate(&self, client: &Client, now_ms: i64) {
        let version = {
            let mut rotations = lock(&self.rotations);
            rotations.push(now_ms);
            rotations.len() - 1
        };
        let text = Self::secret(version);
        if version == 0 {
            let created = client
                .create_secret()
                .name(SECRET_ID)
                .secret_string(text)
                .send()
                .await;
            created.expect("the secret");
        } else {
            emulators::rotate(client, SECRET_ID, &text)
                .await
                .expect("a rotation");
        }
    }

    /// The number of the current version.
    pub fn current(&self) -> usize {
        lock(&self.rotations).len().saturating_sub(1)
    }

    /// The version that the sender uses: it switches `SECRET_CACHE_SECONDS` after the rotation (contract, section 5).
    pub fn used_by_sender(&self, now_ms: i64) -> usize {
        let rotations = lock(&self.rotations);
        let current = rotations.len() - 1;
        let since = now_ms - rotations[current];
        if current > 0 && since < SECRET_CACHE_SECONDS as i64 * 1000 {
            current - 1
        } else {
            current
        }
    }

    /// The time since which a version is neither the current nor the previous one.
    pub fn revoked_ms(&self, version: usize) -> Option<i64> {
        lock(&self.rotations).get(version + 2).copied()
    }
}
