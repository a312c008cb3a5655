//! Answers that are encoded before they come to the stack.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use bytes::Bytes;

/// In the extensions of a streaming response: its messages, framed as gRPC frames them and followed by the status as
/// trailers. They go to the client instead of the handler's stream, without the copy that tonic makes of each message.
#[derive(Clone, Debug)]
pub struct FramedAnswers(Arc<Mutex<Option<Body>>>);

impl FramedAnswers {
    /// The answers that `body` gives.
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        Self(Arc::new(Mutex::new(Some(Body::new(body)))))
    }

    /// The body, for the first who asks.
    pub(super) fn take(&self) -> Option<Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
