//! Everything that can happen.

use std::fmt;

use super::Request;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Time goes on, but not while a request that began in an earlier tick is still under way.
    Tick,
    /// The operator erases the payload of the record.
    Erase,
    /// TTL deletes the item.
    Expire,
    /// The sender, the network or somebody who recorded it sends a delivery.
    Send(usize),
    LoseRequest(usize),
    /// An environment starts on a delivery: signature, time, first request to DynamoDB.
    Start(usize, Signature),
    /// DynamoDB executes a request.
    Arrive(Request, AnswerIs),
    /// A request is lost, throttled or failed, without effect.
    Fail(Request),
    /// The SDK gives up the current attempt.
    TimeOut(usize),
    /// The environment of a delivery dies. Its requests go on their way.
    Crash(usize),
}

/// The result of the verification. The state machine of the secret shows that there is no other: `accepted`, `never_401` and
/// `forged` in its invariants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    Right,
    /// Only a forgery gets this result.
    Wrong,
    /// The environment cannot tell, because Secrets Manager is down.
    Unknown,
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
            Self::Erase => f.write_str("the operator erases the record"),
            Self::Expire => f.write_str("TTL deletes the record"),
            Self::Send(delivery) => write!(f, "delivery {delivery} is sent"),
            Self::LoseRequest(delivery) => write!(f, "delivery {delivery} is lost on its way"),
            Self::Start(delivery, Signature::Right) => {
                write!(f, "delivery {delivery} begins, and its signature is right")
            }
            Self::Start(delivery, Signature::Wrong) => {
                write!(f, "delivery {delivery} begins, and its signature is wrong")
            }
            Self::Start(delivery, Signature::Unknown) => {
                write!(f, "delivery {delivery} begins, and Secrets Manager is down")
            }
            Self::Arrive(of, AnswerIs::Heard) => request(f, of, "DynamoDB executes it"),
            Self::Arrive(of, AnswerIs::Lost) => {
                request(f, of, "DynamoDB executes it, and the answer is lost")
            }
            Self::Fail(of) => request(f, of, "fails"),
            Self::TimeOut(delivery) => write!(f, "delivery {delivery} gives up its attempt"),
            Self::Crash(delivery) => write!(f, "the environment of delivery {delivery} dies"),
        }
    }
}
