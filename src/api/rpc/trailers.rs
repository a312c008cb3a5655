//! Trailing metadata of a call that tonic has no place for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;

/// The trailing metadata of one call, kept apart from its headers, on success as on error.
///
/// Every request that reaches a tonic handler carries one in its extensions. What a handler (or the stream it
/// returned) puts there before the call ends is sent after the last message: as HTTP trailers on gRPC, as the
/// trailers frame on gRPC-Web, as `trailer-` headers or end-of-stream metadata on Connect. On a Connect stream
/// only what is there when the handler returns is sent.
///
/// The metadata of a `tonic::Status` that a handler returns stays what it is in tonic: headers of the answer.
#[derive(Clone, Debug, Default)]
pub struct Trailers(Arc<Mutex<HeaderMap>>);

impl Trailers {
    /// The trailers of the call that `request` belongs to. Of a request that did not come through the stack:
    /// trailers that nobody sends.
    pub fn of<T>(request: &tonic::Request<T>) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    /// Adds `more` to what is there.
    pub fn append(&self, more: HeaderMap) {
        append_all(&mut self.lock(), &more);
    }

    /// What is there now.
    pub(super) fn current(&self) -> HeaderMap {
        self.lock().clone()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(super) fn append_to(&self, headers: &mut HeaderMap) {
        append_all(headers, &self.lock());
    }

    /// A holder of the lock that panicked has left a whole map behind.
    fn lock(&self) -> MutexGuard<'_, HeaderMap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds every value of `more`; `HeaderMap::extend` would replace values of the same name.
pub(super) fn append_all(headers: &mut HeaderMap, more: &HeaderMap) {
    for (name, value) in more {
        headers.append(name, value.clone());
    }
}
