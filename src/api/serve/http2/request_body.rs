//! What a client sends with a request: from the connection, as its frames arrive, to whoever answers.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

/// Bytes of a body that has come whole, from which on the connection is told at once that they were read. Most requests are
/// shorter, and wake nobody. What a thousand requests hold back so is no more than half of the connection's window.
const TOLD_BYTES: usize = 512;
/// Pieces of a body that are shorter are put together when they have to wait: each would take more than its bytes, and keep
/// what was read with it.
const SHORT_BYTES: usize = 1024;

/// The body of a request, for who answers it. What it holds unread is bounded by the window of its stream.
pub(super) struct RequestBody(Arc<Inbox>);

/// Where the connection leaves what arrives.
pub(super) struct Inbox {
    state: Mutex<State>,
    /// Wakes the connection, which lets the client send more.
    stream: Waker,
    /// What the head has told of its length.
    length: Option<u64>,
}

#[derive(Default)]
struct State {
    arrived: VecDeque<Bytes>,
    /// Short pieces that have arrived after those.
    short: BytesMut,
    trailers: Option<HeaderMap>,
    end: Option<End>,
    /// Nobody reads it any more.
    dropped: bool,
    /// Bytes that the client may be allowed again.
    read: usize,
    /// Bytes that were given to the reader, of all that arrive.
    given: u64,
    reader: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    /// The client has given up, or the connection has ended.
    Cut,
}

impl Inbox {
    /// For a request whose body is yet to come.
    pub(super) fn new(stream: Waker, length: Option<u64>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), stream, length })
    }

    /// Its body, for who answers.
    pub(super) fn body(self: &Arc<Self>) -> RequestBody {
        RequestBody(self.clone())
    }

    /// Takes a piece of the body that was `counted` bytes on the wire. Its padding counts as read.
    pub(super) fn push(&self, data: Bytes, counted: usize) {
        let mut state = self.state();
        if state.dropped {
            state.read += counted;
        } else {
            state.read += counted - data.len();
            state.keep(data);
        }
        if state.is_to_be_told() {
            self.stream.wake_by_ref();
        }
    }

    /// The body is whole.
    pub(super) fn end(&self, trailers: Option<HeaderMap>) {
        let mut state = self.state();
        state.trailers = trailers;
        state.end = Some(End::Whole);
        state.wake();
    }

    /// Bytes that were read since the last time, and of which the client is to be told.
    pub(super) fn take_read(&self) -> usize {
        std::mem::take(&mut self.state().read)
    }

    /// Nothing more will come. Gives the bytes that were not accounted for yet.
    pub(super) fn close(&self) -> usize {
        let mut state = self.state();
        let unread = state.unread();
        if state.end.is_none() {
            state.end = Some(End::Cut);
            state.forget();
            state.wake();
        }
        std::mem::take(&mut state.read) + unread
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keep(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        if !self.is_empty() && data.len() < SHORT_BYTES {
            self.short.extend_from_slice(&data);
        } else {
            if !self.short.is_empty() {
                self.arrived.push_back(self.short.split().freeze());
            }
            self.arrived.push_back(data);
        }
        self.wake();
    }

    fn next(&mut self) -> Option<Bytes> {
        let short = || (!self.short.is_empty()).then(|| std::mem::take(&mut self.short).freeze());
        self.arrived.pop_front().or_else(short)
    }

    fn is_empty(&self) -> bool {
        self.arrived.is_empty() && self.short.is_empty()
    }

    fn unread(&self) -> usize {
        self.arrived.iter().map(Bytes::len).sum::<usize>() + self.short.len()
    }

    fn forget(&mut self) {
        self.arrived = VecDeque::new();
        self.short = BytesMut::new();
    }

    /// Whether the connection is to be told at once of what was read: the client may wait for that.
    fn is_to_be_told(&self) -> bool {
        self.read > 0 && (self.end.is_none() || self.read >= TOLD_BYTES)
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut state = self.0.state();
        if let Some(data) = state.next() {
            state.read += data.len();
            state.given += data.len() as u64;
            if state.is_to_be_told() {
                self.0.stream.wake_by_ref();
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match state.end {
            Some(End::Whole) => Poll::Ready(state.trailers.take().map(|it| Ok(Frame::trailers(it)))),
            Some(End::Cut) => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.0.state();
        state.is_empty() && state.trailers.is_none() && state.end == Some(End::Whole)
    }

    fn size_hint(&self) -> SizeHint {
        let given = self.0.state().given;
        self.0.length.map_or_else(SizeHint::default, |it| SizeHint::with_exact(it.saturating_sub(given)))
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.dropped = true;
        state.read += state.unread();
        state.forget();
        if state.is_to_be_told() {
            self.0.stream.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn pieces_of_all_lengths_arrive_in_their_order_and_short_ones_take_no_more_than_their_bytes() {
        let inbox = Inbox::new(Waker::noop().clone(), None);
        let body = inbox.body();
        let mut all = Vec::new();
        for length in [1; 3000].into_iter().chain([0, SHORT_BYTES, 5, SHORT_BYTES - 1, 3 * SHORT_BYTES, 1, 2])
        {
            let piece: Vec<_> = (0..length).map(|it| (it + all.len()) as u8).collect();
            all.extend_from_slice(&piece);
            inbox.push(piece.into(), length);
        }
        let pieces = inbox.state().arrived.len();
        assert!(pieces < 10, "{pieces} pieces");
        assert_eq!(inbox.state().unread(), all.len());
        inbox.end(None);
        assert_eq!(body.collect().await.unwrap().to_bytes(), all);
        assert_eq!((inbox.take_read(), inbox.close()), (all.len(), 0));
    }
}
