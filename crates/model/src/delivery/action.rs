//! Everything that can happen.

use std::fmt;

use super::Request;
use crate::environment::Signature;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Time goes on, but not while a request that began in an earlier tick is still under way.
    Tick,
    /// The operator puts a new version of the secret, perhaps an unusable one.
    Rotate {
        is_usable: bool,
    },
    /// TTL deletes the item.
    Expire,
    /// The sender, the network or somebody who recorded it sends a delivery.
    Send(usize, Signature),
    LoseRequest(usize),
    /// An environment starts on a delivery: signature, time, first request to DynamoDB.
    Start {
        delivery: usize,
        environment: usize,
        /// Secrets Manager answers.
        is_up: bool,
    },
    /// DynamoDB executes a request.
    Arrive(Request, AnswerIs),
    /// A request is lost, throttled or failed, without effect.
    Fail(Request),
    /// The SDK gives up the current attempt.
    TimeOut(usize),
    /// An environment dies, and its knowledge with it. Its requests go on their way.
    Crash(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerIs {
    Heard,
    Lost,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = |f: &mut fmt::Formatter<'_>, request: &Request, what: &str| {
            let Request {
                delivery,
                step,
                attempt,
                ..
            } = request;
            write!(
                f,
                "delivery {delivery}, request {}, attempt {attempt}: {what}",
                step + 1
            )
        };
        match self {
            Self::Tick => f.write_str("time goes on"),
            Self::Rotate { is_usable: true } => f.write_str("the operator puts a new version of the secret"),
            Self::Rotate { is_usable: false } => {
                f.write_str("the operator puts an unusable version of the secret")
            }
            Self::Expire => f.write_str("TTL deletes the record"),
            Self::Send(delivery, None) => write!(f, "delivery {delivery} is sent, forged"),
            Self::Send(delivery, Some(version)) => {
                write!(f, "delivery {delivery} is sent, signed with version {version}")
            }
            Self::LoseRequest(delivery) => write!(f, "delivery {delivery} is lost on its way"),
            Self::Start {
                delivery,
                environment,
                is_up,
            } => {
                let down = if *is_up { "" } else { "; Secrets Manager is down" };
                write!(f, "delivery {delivery} begins in environment {environment}{down}")
            }
            Self::Arrive(of, AnswerIs::Heard) => request(f, of, "DynamoDB executes it"),
            Self::Arrive(of, AnswerIs::Lost) => {
                request(f, of, "DynamoDB executes it, and the answer is lost")
            }
            Self::Fail(of) => request(f, of, "fails"),
            Self::TimeOut(delivery) => write!(f, "delivery {delivery} gives up its attempt"),
            Self::Crash(environment) => write!(f, "environment {environment} dies"),
        }
    }
}
