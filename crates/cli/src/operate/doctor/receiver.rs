//! The receiver as the sender sees it: a forged event, a signed event, and the clock.

use std::time::{Duration, SystemTime};

use axum::http::Uri;
use emulators::sample_events::{self, Envelope};
use serde::Deserialize;
use sonotheia_webhook::signature::Secret;
use sonotheia_webhook::store::Store;
use sonotheia_webhook::timestamp::Timestamp;
use ureq::Agent;

use super::report::{Found, Report, with_causes, wrong};
use crate::args::random_hex;
use crate::client::{self, Answer};
use crate::failure::Failure;
use crate::interrupt::blocking;
use crate::program;

/// The largest difference of two clocks. AWS refuses requests whose time is 5 minutes off.
const MAX_SKEW: Duration = Duration::from_secs(60);

const MAX_ANSWER_BYTES: u64 = 1 << 16;

const LOG: &str = "see the function's log";

/// A receiver at an address.
pub struct Receiver {
    agent: Agent,
    url: Uri,
}

impl Receiver {
    /// Prepares requests. This makes no call.
    pub fn new(url: Uri) -> Result<Self, Failure> {
        client::check(&url)?;
        let agent = client::agent(client::config(&url).build());
        Ok(Self { agent, url })
    }

    /// Sends a forged event, and if `probe`, a signed one; looks for its record in `store`.
    pub async fn check(
        &self,
        report: &mut Report,
        secret: Option<Secret>,
        probe: bool,
        store: Option<Store>,
    ) -> Result<(), Failure> {
        let id = format!("evt_doctor_{}", random_hex::<8>()?);
        let event = sample_events::event("system.health_check", Envelope::Schema, &id, "", Timestamp::now());
        let body = event.map(|event| event.to_string()).unwrap_or_default();
        // A random key, so that the signature is a forgery.
        let forger = Secret::new(random_hex::<32>()?)?;

        // The forged event comes first, because it changes nothing. Its answer has the receiver's clock, too.
        let forged = match self.post(&body, &forger).await {
            Ok(answer) => answer,
            Err(failure) => {
                report.add("receiver", unanswered(&failure));
                return Ok(());
            }
        };
        report.add("receiver", Found::Fine(format!("{} answers", self.url)));
        report.add("clock", clock(forged.date.as_deref(), SystemTime::now()));
        report.add("forged event", refused(&forged));
        match (probe, secret) {
            (false, _) => {}
            (true, None) => {
                let option = "--secret TEXT, --secret-id ID or SONOTHEIA_WEBHOOK_SECRET";
                report.add(
                    "signed event",
                    Found::skipped("there is no secret to sign with", option),
                );
            }
            (true, Some(secret)) => {
                let (found, is_stored) = self.probe(&body, &secret).await;
                report.add("signed event", found);
                if is_stored && let Some(store) = store {
                    report.add("record", record(&store, &id).await);
                }
            }
        }
        Ok(())
    }

    async fn post(&self, body: &str, secret: &Secret) -> Result<Answer, Failure> {
        let (agent, url, body) = (self.agent.clone(), self.url.clone(), body.to_owned());
        let signature = secret.sign(body.as_bytes()).to_string();
        blocking(move || {
            let request = agent
                .post(&url)
                .header("Content-Type", "application/json")
                .header("X-Sonotheia-Signature", signature)
                .header("User-Agent", "sonotheia-doctor");
            Answer::read(&url, request.send(body), MAX_ANSWER_BYTES)
        })
        .await
    }

    /// Sends the event twice. Also returns true if the receiver says that it stored the event.
    async fn probe(&self, body: &str, secret: &Secret) -> (Found, bool) {
        for is_second in [false, true] {
            let answer = match self.post(body, secret).await {
                Ok(answer) => answer,
                Err(failure) => return (unanswered(&failure), is_second),
            };
            if answer.status != 200 {
                let what = format!("the receiver answered it with {}", answer.status);
                return (wrong(what, mend(answer.status)), is_second);
            }
            #[derive(Deserialize)]
            struct Receipt {
                duplicate: bool,
            }
            match serde_json::from_slice::<Receipt>(&answer.body) {
                Ok(receipt) if receipt.duplicate == is_second => {}
                Ok(_) => {
                    let what = "the two deliveries of one event were not answered with \"duplicate\":false and then \"duplicate\":true";
                    let mend = "check that all receivers use one table, whose only key is event_id";
                    return (wrong(what, mend), true);
                }
                Err(_) => {
                    let what = "the answer is not this receiver's";
                    return (wrong(what, "see what runs at that address"), false);
                }
            }
        }
        let text = "accepted, and the second delivery was a duplicate".to_owned();
        (Found::Fine(text), true)
    }
}

/// What to do about the answer to a signed event.
fn mend(status: u16) -> &'static str {
    match status {
        401 => {
            "it has another secret: compare the secret registered with Sonotheia, Secrets Manager's and this one"
        }
        403 => {
            "a part in front of the function refuses it: see the gateway's resource policy and the firewall"
        }
        404 | 405 => "this is not the webhook's address; the stack's output WebhookUrl is",
        413 => "the limit for bodies is too small: see the stack's parameter MaxBodyBytes",
        429 => "a limit for requests is too low: see the stack's parameter RateLimit, and try again later",
        503 => "it cannot reach its table or its secret: see the function's log for `not available`",
        _ => LOG,
    }
}

/// A request without an answer.
fn unanswered(failure: &Failure) -> Found {
    match failure {
        Failure::Http { url, source } => {
            let address = format!(
                "start a receiver on this machine with `{} serve`, or give its address with --url",
                program::name()
            );
            wrong(format!("no answer from {url}: {source}"), source.mend(&address))
        }
        other => wrong(with_causes(other), LOG),
    }
}

/// The answer to a forged event.
fn refused(answer: &Answer) -> Found {
    match answer.status {
        401 => Found::Fine("refused with 401".to_owned()),
        200..=299 => wrong(
            format!(
                "a forged event was answered with {}, so anybody can send events",
                answer.status
            ),
            "this is not this receiver, or another program answers for it; see what runs at that address",
        ),
        503 => wrong(
            "the receiver answered it with 503: it has no usable secret, or it cannot reach Secrets Manager",
            "see the function's log for `not available`, and its permission to read the secret",
        ),
        403 => wrong(
            "a part in front of the receiver refused it with 403, and would refuse Sonotheia too",
            "see the gateway's resource policy and the firewall",
        ),
        status => wrong(
            format!("the receiver answered it with {status}, and not with 401"),
            "give the webhook's address, the stack's output WebhookUrl",
        ),
    }
}

async fn record(store: &Store, id: &str) -> Found {
    match store.get(id).await {
        Ok(Some(_)) => Found::Fine(format!("{id} is in the table")),
        Ok(None) => wrong(
            "the event that was accepted is not in the table",
            "the receiver has another table: compare EVENTS_TABLE with --table, and the regions",
        ),
        Err(error) => Found::Unknown(format!("could not be checked: {error}")),
    }
}

fn clock(date: Option<&str>, now: SystemTime) -> Found {
    let Some(then) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else {
        return Found::Unknown("could not be checked: the answer has no Date".to_owned());
    };
    let apart = now.duration_since(then).unwrap_or_else(|error| error.duration());
    let seconds = apart.as_secs();
    if apart <= MAX_SKEW {
        // The header has whole seconds.
        let within = seconds + 1;
        return Found::Fine(format!(
            "the receiver's clock and this machine's are within {within} s"
        ));
    }
    wrong(
        format!("the receiver's clock and this machine's are {seconds} s apart"),
        "set the wrong clock by NTP: AWS refuses requests 5 minutes off, and the receiver refuses events a day ahead",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_apart_are_found_in_both_directions() {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_000_400);
        let date = httpdate::fmt_http_date(then);
        let at = |seconds: i64| {
            let offset = Duration::from_secs(seconds.unsigned_abs());
            let now = if seconds < 0 { then - offset } else { then + offset };
            clock(Some(&date), now)
        };
        assert!(matches!(at(0), Found::Fine(_)));
        assert!(matches!(at(-60), Found::Fine(_)));
        for seconds in [-61, 300] {
            assert!(
                matches!(at(seconds), Found::Wrong { what, .. } if what.contains(&seconds.unsigned_abs().to_string()))
            );
        }
        assert!(matches!(clock(None, then), Found::Unknown(_)));
        assert!(matches!(clock(Some("today"), then), Found::Unknown(_)));
    }
}
