//! The checks of an answer to a delivery (contract, sections 2, 4 and 5).

use std::sync::Arc;

use crate::condition::Condition;
use crate::delivery::Delivery;
use crate::environment::Answer;
use crate::event::{Kind, SentEvent};
use crate::network::Service;
use crate::options::Check;
use crate::vault::SECRET_CACHE_SECONDS;
use crate::world::{RETENTION_DAYS, World};

/// The limit of an answer (contract, section 2).
const ANSWER_MS: i64 = 4_500;

/// The time after which a broken call has no effect on later deliveries: the cache's pause after a failed call, and the
/// lead of a noted time that it still believes.
const RECOVERED_MS: i64 = 90_000;

/// A delivery with everything that decides about its answer.
pub struct Delivered<'a> {
    /// The world.
    pub world: &'a World,
    /// The event.
    pub event: &'a SentEvent,
    /// The delivery.
    pub delivery: &'a Arc<Delivery>,
    /// The environment.
    pub condition: &'a Condition,
    /// The environment's clock at the start.
    pub clock_ms: i64,
    /// The answer.
    pub answer: &'a Answer,
}

impl Delivered<'_> {
    /// Makes all checks.
    pub fn check(&self) {
        self.deadline();
        self.headers();
        match self.answer.status.as_u16() {
            200 => self.received(),
            400 => self.rejected(),
            401 => self.refused(),
            409 => self.conflict(),
            413 => self.expect(
                self.event.kind == Kind::TooLarge,
                "413 for a body within the limit",
            ),
            500..=599 => self.failed(),
            status => self.violation(Check::Answer, &format!("the status {status}")),
        }
        let is_signed = matches!(self.answer.status.as_u16(), 200 | 400 | 409);
        if is_signed {
            self.signed();
        }
    }

    fn violation(&self, check: Check, text: &str) {
        let text = format!("{:?} {}: {text}", self.event.kind, self.event.key);
        self.world.violation(check, Some(self.delivery), &text);
    }

    fn expect(&self, holds: bool, text: &str) {
        if !holds {
            self.violation(Check::Answer, text);
        }
    }

    fn deadline(&self) {
        let now_ms = self.world.clock.now_ms();
        let began_ms = if self.answer.waited_for_start {
            self.condition.started_ms().max(self.delivery.began_ms)
        } else {
            self.delivery.began_ms
        };
        if now_ms - began_ms > ANSWER_MS && !self.delivery.was_frozen() {
            self.violation(
                Check::Deadline,
                &format!("the answer took {} ms", now_ms - began_ms),
            );
        }
    }

    fn headers(&self) {
        let headers = &self.answer.headers;
        let has = |name| headers.contains_key(name);
        let status = self.answer.status.as_u16();
        self.expect(has("x-request-id"), "no X-Request-Id");
        self.expect(status != 503 || has("retry-after"), "a 503 without Retry-After");
        self.expect(
            status != 401 || has("www-authenticate"),
            "a 401 without WWW-Authenticate",
        );
    }

    fn received(&self) {
        let body = &self.answer.body;
        let is_event = matches!(
            self.event.kind,
            Kind::Event | Kind::WithoutTime | Kind::WithoutId | Kind::Conflict | Kind::Revoked | Kind::TooOld
        );
        // A clock that is ahead makes the signed time less far ahead.
        let is_event = is_event || self.event.kind == Kind::Future && !self.is_surely_far_ahead();
        self.expect(is_event, "a 200 for a delivery that is no event");
        self.expect(
            body["event_id"] == self.event.key.as_str(),
            "a 200 with another id",
        );
        if self.is_surely_too_old() {
            self.violation(Check::F, "a 200 for an event that is too old");
        }
        let duplicate = body["duplicate"] == true;
        let now_ms = self.world.clock.now_ms();
        let (key, text) = (&self.event.key, &self.event.body);
        let found = self
            .world
            .ledger()
            .received(self.delivery, key, text, duplicate, now_ms);
        for (check, text) in found {
            self.violation(check, &text);
        }
    }

    /// A 400 needs a reason, and leaves a record.
    fn rejected(&self) {
        let code = self.answer.body["code"].as_str().unwrap_or_default();
        match code {
            "invalid_event" => {
                let is_invalid = matches!(self.event.kind, Kind::Invalid) || self.is_far_ahead();
                self.expect(is_invalid, "invalid_event for an event");
            }
            "event_too_old" => self.expect(
                self.may_be_too_old(),
                "event_too_old for an event of the last days",
            ),
            _ => self.violation(Check::Answer, &format!("a 400 with the code {code:?}")),
        }
        self.has_rejected_record();
    }

    fn conflict(&self) {
        let has_other = self
            .world
            .ledger()
            .live
            .get(&self.event.key)
            .is_some_and(|life| life.body != self.event.body);
        self.expect(
            has_other || self.delivery.was_frozen(),
            "a 409, and no other event has this id",
        );
        self.has_rejected_record();
    }

    fn has_rejected_record(&self) {
        let has_record = self.world.ledger().live.contains_key(&self.event.rejected_key());
        if !has_record && !self.delivery.was_frozen() {
            self.violation(Check::A, "the rejected body is not stored");
        }
    }

    /// A 401 is wrong if the signature is by a version that was current or previous from start to end.
    fn refused(&self) {
        let Some(version) = self.event.version else {
            return;
        };
        if self.world.vault.revoked_ms(version).is_none() {
            self.violation(
                Check::Secret,
                "a 401 for a signature by the current or the previous secret",
            );
        }
    }

    /// A signature that the receiver believed.
    fn signed(&self) {
        let Some(version) = self.event.version else {
            return self.violation(Check::Secret, "a forged signature was believed");
        };
        let Some(revoked_ms) = self.world.vault.revoked_ms(version) else {
            return;
        };
        let age_ms = self.delivery.began_ms - revoked_ms;
        let condition = self.condition;
        let is_excused = condition.since_fault_ms(Service::Vault) < RECOVERED_MS
            || condition.since_thaw_ms() < RECOVERED_MS
            || self.delivery.was_frozen();
        if age_ms > SECRET_CACHE_SECONDS as i64 * 1000 + RECOVERED_MS && !is_excused {
            self.violation(
                Check::Secret,
                &format!("a secret was believed {age_ms} ms after its end"),
            );
        }
    }

    fn failed(&self) {
        let status = self.answer.status.as_u16();
        self.expect(status == 503, "a 5xx that is no 503");
        let condition = self.condition;
        let is_excused = self.delivery.is_disturbed()
            || self.delivery.was_frozen()
            // A start that froze has used up the time of the first request, and a call that broke is noticed after it.
            || condition.since_thaw_ms() < RECOVERED_MS
            || condition.since_fault_ms(Service::Vault) < RECOVERED_MS;
        if !is_excused {
            self.violation(Check::Liveness, "a 503, and no call of the delivery met a fault");
        }
    }

    fn age_ms(&self) -> Option<i64> {
        Some(self.clock_ms - self.event.occurred_ms?)
    }

    fn is_far_ahead(&self) -> bool {
        self.jumped() || self.age_ms().is_some_and(|age| age < -86_400_000)
    }

    fn is_surely_far_ahead(&self) -> bool {
        // The judgement comes after the start of the process, at most this long after the request's begin.
        !self.jumped() && self.age_ms().is_some_and(|age| age < -86_400_000 - ANSWER_MS)
    }

    /// True if the environment's clock may have been another one when it judged the delivery.
    fn jumped(&self) -> bool {
        self.condition.since_jump_ms() < 30_000 || self.delivery.was_frozen()
    }

    /// The margin of 5 s, and the start of the process, may pass before the judgement.
    fn may_be_too_old(&self) -> bool {
        let limit = i64::from(RETENTION_DAYS) * 86_400_000;
        self.jumped() || self.age_ms().is_some_and(|age| age > limit - 6_500)
    }

    fn is_surely_too_old(&self) -> bool {
        let limit = i64::from(RETENTION_DAYS) * 86_400_000;
        !self.jumped() && self.age_ms().is_some_and(|age| age > limit)
    }
}
