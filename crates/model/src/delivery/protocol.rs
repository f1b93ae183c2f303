//! How a delivery becomes a record: the receiver's protocol, and protocols that are known to be wrong.

use super::{Answer, Body, Item, RETENTION, Request, State, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The receiver's: one write, on condition that there is no item.
    OneConditionalWrite,
    /// The same, but the receiver accepts an event until the very tick in which its record may expire.
    NoMargin,
    /// A claim on condition that there is no item, then the record. A delivery that finds a claim or a record is a duplicate.
    ClaimThenStore,
    /// The same, but a delivery that finds a claim gets 503, and no claim ends.
    ClaimForever,
    /// A read, then an unconditional write.
    ReadThenWrite,
    /// One write, on condition that there is no item, or an expired one.
    OverwriteExpired,
    /// The receiver does not verify the signature.
    NoSignature,
    /// An erasure deletes the record.
    EraseDeletes,
}

/// DynamoDB's answer.
pub enum Reply {
    Done,
    /// The item for which the condition failed, or the item that was read.
    Found(Item),
    /// There was no item to read.
    Nothing,
}

impl World {
    pub fn is_too_old(&self, body: Body, now: u8) -> bool {
        // A request that begins in this tick may write in the next one, when the record may be deleted.
        let margin = u8::from(self.protocol != Protocol::NoMargin);
        body.time() + RETENTION < now + margin
    }

    /// DynamoDB executes a request. No other request comes between.
    pub fn execute(&self, state: &mut State, request: Request) -> Reply {
        let Request {
            delivery,
            began,
            step,
            ..
        } = request;
        let body = self.bodies[delivery];
        let record = Item::Record {
            body,
            expires: began.max(body.time()) + RETENTION,
            token: delivery,
            is_erased: false,
        };
        let there = state.item;
        let (item, is_conditional) = match (self.protocol, step) {
            (Protocol::ClaimThenStore | Protocol::ClaimForever, 0) => (Item::Claim { by: delivery }, true),
            (Protocol::ClaimThenStore | Protocol::ClaimForever, _) => (record, false),
            (Protocol::ReadThenWrite, 0) => return there.map_or(Reply::Nothing, Reply::Found),
            (Protocol::ReadThenWrite, _) => (record, false),
            (Protocol::OverwriteExpired, _) => {
                let expired = matches!(there, Some(Item::Record { expires, .. }) if expires < began);
                (record, !expired)
            }
            _ => (record, true),
        };
        if let Some(there) = there.filter(|_| is_conditional) {
            return Reply::Found(there);
        }
        if let Item::Record { .. } = item {
            if matches!(there, Some(Item::Record { .. })) {
                state.changed = true;
            }
            state.stored.push((body, delivery));
        }
        state.item = Some(item);
        Reply::Done
    }

    /// The receiver's answer to DynamoDB's reply. `None` if the protocol has another request.
    pub fn conclude(&self, delivery: usize, step: u8, disturbed: bool, reply: &Reply) -> Option<Answer> {
        let has_steps = matches!(
            self.protocol,
            Protocol::ClaimThenStore | Protocol::ClaimForever | Protocol::ReadThenWrite
        );
        match reply {
            Reply::Done | Reply::Nothing if has_steps && step == 0 => None,
            Reply::Done | Reply::Nothing => Some(Answer::New),
            // The SDK sent the write twice, and the first one was executed.
            Reply::Found(Item::Record { token, .. }) if *token == delivery => Some(Answer::New),
            Reply::Found(Item::Record { body, is_erased, .. }) if *body == self.bodies[delivery] => {
                Some(Answer::Duplicate {
                    of_erased: *is_erased,
                })
            }
            Reply::Found(Item::Record { .. }) => Some(Answer::Conflict),
            Reply::Found(Item::Claim { by }) if *by == delivery => None,
            Reply::Found(Item::Claim { .. }) if self.protocol == Protocol::ClaimThenStore => {
                Some(Answer::Duplicate { of_erased: false })
            }
            Reply::Found(Item::Claim { .. }) => Some(Answer::Unavailable { disturbed }),
        }
    }
}
