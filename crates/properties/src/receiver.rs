//! A receiver that serves many inputs, and the requests to it.

use std::cell::RefCell;

use sonotheia_webhook::signature::Secret;
use testkit::{Receiver, SECRET};
use tokio::runtime::Runtime;

/// The inputs for one receiver, so that a long run does not make a large table.
const INPUTS: u32 = 1000;

/// A receiver, the runtime that serves its back end, and the number of inputs so far.
struct Kept {
    receiver: Receiver,
    inputs: u32,
    // The back end of an old receiver ends with its runtime.
    runtime: Runtime,
}

/// Runs the check of a property on a receiver that serves many inputs. A new receiver runs `prepare` first.
pub(crate) fn with_receiver(prepare: impl AsyncFnOnce(&Receiver), check: impl AsyncFnOnce(&Receiver)) {
    thread_local! {
        static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
    }
    KEPT.with_borrow_mut(|slot| {
        let mut kept = match slot.take() {
            Some(kept) if kept.inputs < INPUTS => kept,
            _ => start(prepare),
        };
        kept.inputs += 1;
        kept.runtime.block_on(check(&kept.receiver));
        *slot = Some(kept);
    });
}

fn start(prepare: impl AsyncFnOnce(&Receiver)) -> Kept {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let receiver = runtime.block_on(async {
        let receiver = Receiver::start().await;
        prepare(&receiver).await;
        receiver
    });
    Kept {
        receiver,
        inputs: 0,
        runtime,
    }
}

/// The receiver's secret.
pub(crate) fn secret() -> Secret {
    Secret::new(SECRET).expect("not empty")
}

/// Signs a body with the receiver's secret.
pub(crate) fn sign(body: &[u8]) -> String {
    testkit::sign(body, SECRET)
}

/// Writes every byte as `%XX`, so that any text is one segment of a path or one value of a query.
pub(crate) fn percent(text: &[u8]) -> String {
    text.iter().map(|byte| format!("%{byte:02X}")).collect()
}
