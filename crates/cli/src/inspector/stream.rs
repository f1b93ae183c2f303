//! The deliveries as server-sent events: first the kept deliveries, then each new delivery.

use std::convert::Infallible;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use futures_util::{Stream, StreamExt, stream};

use super::Shared;
use crate::args::json;

/// One message for each delivery: its row. A browser that connects again names the last message that it has.
pub async fn deliveries(
    State(shared): State<Shared>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Message, Infallible>>> {
    let inspector = shared.inspector;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    // The numbers of an earlier process mean other deliveries.
    let last = last.and_then(|id| id.strip_prefix(&inspector.run)?.strip_prefix('-')?.parse().ok());
    let newest = inspector.kept.subscribe();
    let hello = Message::default().event("run").data(&inspector.run);
    let messages = stream::unfold(
        (inspector, newest, last.unwrap_or(0)),
        |(inspector, mut newest, last)| async move {
            let delivery = loop {
                newest.borrow_and_update();
                match inspector.kept.after(last) {
                    Some(delivery) => break delivery,
                    None => newest.changed().await.ok()?,
                }
            };
            let n = delivery.number();
            let message = Message::default()
                .id(format!("{}-{n}", inspector.run))
                .data(json(&delivery.row));
            Some((Ok(message), (inspector, newest, n)))
        },
    );
    let messages = stream::iter([Ok(hello)]).chain(messages).take_until(shared.stop);
    Sse::new(messages).keep_alive(KeepAlive::default())
}
