//! The faults of a [`Proxy`](crate::Proxy), and the choice of the fault for each request.

use std::sync::Arc;
use std::time::Duration;

use crate::http::Message;

/// What happens to one request.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The proxy passes the request and the answer on.
    None,
    /// The request arrives this much later, and so does the answer.
    Delay(Duration),
    /// No answer comes, and the connection stays open.
    Hang,
    /// The proxy closes the connection, and the request never arrives.
    CutBefore,
    /// The request arrives this much later, and the proxy closes the connection in place of the answer.
    CutAfter(Duration),
    /// The request arrives, and the proxy closes the connection after half of the answer.
    CutWithin,
    /// The proxy answers with this status and error code, and the request never arrives.
    Answer(u16, &'static str),
    /// The request arrives, and the proxy answers with this status and error code in place of the true answer.
    AnswerAfter(u16, &'static str),
    /// The proxy makes another answer (status and body) from the request's text and the true answer.
    Rewrite(fn(&str, (u16, String)) -> (u16, String)),
}

impl Fault {
    /// This fault for every request.
    pub fn always(self) -> Faults {
        Faults::new(move |_, _| self)
    }

    /// This fault for the first `n` requests.
    pub fn times(self, n: u64) -> Faults {
        Faults::new(move |number, _| if number < n { self } else { Self::None })
    }
}

/// Chooses the fault of a request by its number and its text.
type Choose = dyn Fn(u64, &Message) -> Fault + Send + Sync;

/// The choice of a fault, by the number of the request (from 0 on) and the request.
#[derive(Clone)]
pub struct Faults(Arc<Choose>);

impl Faults {
    /// Faults by a function.
    pub fn new(choose: impl Fn(u64, &Message) -> Fault + Send + Sync + 'static) -> Self {
        Self(Arc::new(choose))
    }

    /// No fault for any request.
    pub fn none() -> Self {
        Fault::None.always()
    }

    pub(crate) fn fault(&self, number: u64, request: &Message) -> Fault {
        (self.0)(number, request)
    }
}
