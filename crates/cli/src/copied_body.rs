//! The copy of a request's body that `serve` keeps for its log and its inspector.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use http_body_util::BodyExt;

/// The most bytes of a body that are copied. It is more than the receiver accepts.
const MAX_COPY: usize = 512 << 10;

/// The bytes that the receiver has read of a body so far.
#[derive(Clone, Default)]
pub struct CopiedBody(Arc<Mutex<Vec<u8>>>);

impl CopiedBody {
    /// A request whose body is copied while the receiver reads it.
    pub fn of(request: Request) -> (Request, Self) {
        let copy = Self::default();
        let copied = copy.clone();
        let request = request.map(|body| {
            Body::new(body.map_frame(move |frame| {
                if let Some(data) = frame.data_ref() {
                    copied.append(data);
                }
                frame
            }))
        });
        (request, copy)
    }

    /// The bytes. The copy is empty afterwards.
    pub fn take(&self) -> Bytes {
        let mut copy = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        copy.shrink_to_fit();
        copy.into()
    }

    fn append(&self, data: &[u8]) {
        let mut copy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_COPY.saturating_sub(copy.len());
        copy.extend_from_slice(&data[..data.len().min(room)]);
    }
}
