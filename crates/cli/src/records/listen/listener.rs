//! The work of `listen`: look for new events, deliver them in order, remember them.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::{StreamExt, stream};
use sonotheia_webhook::timestamp::Timestamp;

use super::application::Application;
use super::cursor::Cursor;
use super::out::Out;
use super::source::{BATCH, Listed, Look, Source};
use super::window::{LIMIT, Window};
use crate::args::{note, print};
use crate::failure::Failure;
use crate::records::seen::Seen;

/// The pauses before an attempt is made again: from the first, four times as long each, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A look with more new events than this is catching up, and shows its progress.
const BACKLOG: usize = 50;

/// The number of batches of bodies that are read ahead.
const AHEAD: usize = 2;

/// A listener.
pub struct Listener {
    source: Source,
    window: Window,
    interval: Duration,
    delivery: Delivery,
}

/// Everything that a delivery changes.
struct Delivery {
    application: Application,
    cursor: Cursor,
    seen: Seen,
    out: Out,
    /// The event that the application does not take, with the number of attempts.
    waiting: Option<(String, u32)>,
    has_warned: bool,
}

/// Why a round ends early.
enum Ended {
    /// The place cannot be read at present.
    Unread(Failure),
    /// The application does not take an event at present.
    Away,
    /// The command ends.
    Failed(Failure),
}

impl Listener {
    pub fn new(source: Source, application: Application, cursor: Cursor, seen: Seen, interval: u16) -> Self {
        Self {
            source,
            window: Window::default(),
            interval: Duration::from_secs(interval.into()),
            delivery: Delivery {
                application,
                cursor,
                seen,
                out: Out::new(),
                waiting: None,
                has_warned: false,
            },
        }
    }

    /// Delivers without an end. Returns if the cursor cannot be saved or the output cannot be written.
    pub async fn run(&mut self) -> Failure {
        let Err(failure) = self.go().await;
        failure
    }

    async fn go(&mut self) -> Result<Infallible, Failure> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.round().await {
                Ok(is_caught_up) => {
                    pause = FIRST_PAUSE;
                    if is_caught_up {
                        self.delivery.out.caught_up();
                        self.delivery.save()?;
                        tokio::time::sleep(self.interval).await;
                    }
                }
                Err(Ended::Away) => {}
                Err(Ended::Failed(failure)) => return Err(failure),
                Err(Ended::Unread(failure)) => {
                    pause = longer(pause).max(self.interval);
                    note(&format!(
                        "no events for now: {failure}; again in {} s",
                        pause.as_secs_f64()
                    ));
                    self.delivery.save()?;
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Looks once, and delivers the events. Returns true if the look went to the newest record.
    async fn round(&mut self) -> Result<bool, Ended> {
        let begin = self.delivery.seen.newest();
        let end = self.window.end(begin);
        let mut look = self.look(end, LIMIT).await?;
        if let (true, [oldest, .., newest]) = (look.is_cut, look.events.as_slice()) {
            let (oldest, newest) = (oldest.received_at, newest.received_at);
            self.delivery.out.catch_up(begin, newest);
            if self.window.narrow(begin, oldest, newest) {
                return Ok(false);
            }
            // All these events came within a moment.
            look = self.look(end, usize::MAX).await?;
        }
        let count = look.events.len();
        if let [oldest, .., newest] = look.events.as_slice()
            && count > BACKLOG
        {
            self.delivery.out.catch_up(oldest.received_at, newest.received_at);
        }
        self.deliver(look.events).await?;
        match end {
            Some(end) => {
                self.delivery.seen.pass(end, Timestamp::now());
                self.window.widen(count);
                Ok(false)
            }
            None => {
                self.window.open();
                Ok(true)
            }
        }
    }

    /// Lists new events, and notes the newest of them.
    async fn look(&mut self, end: Option<Timestamp>, limit: usize) -> Result<Look, Ended> {
        let seen = &mut self.delivery.seen;
        let look = self
            .source
            .look(seen.from(), end, |id| seen.is_new(id), limit)
            .await;
        let look = look.map_err(Ended::Unread)?;
        if let Some(newest) = look.events.last() {
            seen.found(newest.received_at, Timestamp::now());
        }
        Ok(look)
    }

    /// Delivers events in this order, and reads the bodies ahead.
    async fn deliver(&mut self, events: Vec<Listed>) -> Result<(), Ended> {
        let (source, delivery) = (&self.source, &mut self.delivery);
        let wanted: Vec<_> = events
            .chunks(BATCH)
            .map(|batch| {
                let wanted = batch.iter().filter(|event| delivery.wants(event));
                wanted.collect::<Vec<_>>()
            })
            .collect();
        let mut bodies = stream::iter(&wanted)
            .map(|wanted| async move {
                match wanted.as_slice() {
                    [] => Ok(Default::default()),
                    wanted => source.bodies(wanted).await,
                }
            })
            .buffered(AHEAD);
        for batch in events.chunks(BATCH) {
            let Some(read) = bodies.next().await else { break };
            let read = read.map_err(Ended::Unread)?;
            for event in batch {
                let settled = delivery.settle(event, read.get(&event.event_id)).await;
                if !settled.map_err(Ended::Failed)? {
                    return Err(Ended::Away);
                }
            }
        }
        Ok(())
    }

    /// Delivers beside a server, until the server ends. If the listener fails, the server goes on.
    pub async fn beside(mut self, serving: impl Future<Output = ()>) -> Result<(), Failure> {
        let mut serving = pin!(serving);
        tokio::select! {
            () = &mut serving => {}
            failure = self.run() => {
                note(&format!("no event is forwarded any more: {failure}"));
                serving.await;
            }
        }
        self.finish()
    }

    /// Saves the cursor, and sums up.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.delivery.out.caught_up();
        self.delivery.save()?;
        let (out, cursor) = (&self.delivery.out, &self.delivery.cursor);
        print(&format!(
            "Forwarded: {}. The same command goes on from here; its cursor is {}.\n",
            out.summary(),
            cursor.name()
        ))
    }
}

impl Delivery {
    /// Returns true if the event's body is needed.
    fn wants(&self, event: &Listed) -> bool {
        self.cursor.wants(&event.event_type) && !event.is_erased
    }

    /// Delivers an event, or skips it. Returns false if the application does not take it for now.
    async fn settle(&mut self, event: &Listed, body: Option<&Bytes>) -> Result<bool, Failure> {
        if self.cursor.wants(&event.event_type) {
            match body {
                Some(body) if self.post(event, body).await? => {}
                Some(_) => return Ok(false),
                None if event.is_erased => self.out.skipped(event, "an operator has erased it")?,
                None => self
                    .out
                    .skipped(event, "it has been erased or deleted at this moment")?,
            }
        }
        let now = Timestamp::now();
        self.seen.settle(event.event_id.clone(), event.received_at, now);
        self.cursor.settled(&mut self.seen)?;
        Ok(true)
    }

    /// Posts an event until the application answers 2xx. Returns false after the longest pause: an operator may have erased
    /// the event by now, so its body has to be read again.
    async fn post(&mut self, event: &Listed, body: &Bytes) -> Result<bool, Failure> {
        let (mut attempt, mut pause) = match self.waiting.take() {
            Some((event_id, attempts)) if event_id == event.event_id => (attempts + 1, LONGEST_PAUSE),
            _ => (1, FIRST_PAUSE),
        };
        loop {
            let (answer, is_duplicate) = self.application.post(event, body).await;
            if answer.is_success() {
                self.warn_of_a_receiver(is_duplicate && attempt == 1);
                self.out.delivered(event, &answer)?;
                return Ok(true);
            }
            self.out.failed(event, &answer, attempt, pause)?;
            if pause > FIRST_PAUSE {
                self.save()?;
            }
            tokio::time::sleep(pause).await;
            if pause == LONGEST_PAUSE {
                self.waiting = Some((event.event_id.clone(), attempt));
                return Ok(false);
            }
            pause = longer(pause);
            attempt += 1;
        }
    }

    /// The answer of a receiver that has the event already may come from the receiver that the events are from.
    fn warn_of_a_receiver(&mut self, is_duplicate: bool) {
        if is_duplicate && !self.has_warned {
            self.has_warned = true;
            note(&format!(
                "{} answers as a receiver that has this event already. If it is the receiver that the events come from, \
                 --forward-to needs the address of your application.",
                self.application.target()
            ));
        }
    }

    fn save(&mut self) -> Result<(), Failure> {
        Ok(self.cursor.flush(&mut self.seen)?)
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 4).min(LONGEST_PAUSE)
}
