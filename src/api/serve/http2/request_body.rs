//! What a client sends with a request: from the connection, as its frames arrive, to whoever answers.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

/// Bytes of a body that has come whole, from which on the connection is told at once that they were read.
const TOLD_BYTES: usize = 16 << 10;

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
            return;
        }
        state.read += counted - data.len();
        if !data.is_empty() {
            state.arrived.push_back(data);
            state.wake();
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
        if state.end.is_none() {
            state.end = Some(End::Cut);
            state.arrived.clear();
            state.wake();
        }
        let unread: usize = state.arrived.iter().map(Bytes::len).sum();
        std::mem::take(&mut state.read) + unread
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
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
        if let Some(data) = state.arrived.pop_front() {
            state.read += data.len();
            state.given += data.len() as u64;
            if state.end.is_none() || state.read >= TOLD_BYTES {
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
        state.arrived.is_empty() && state.trailers.is_none() && state.end == Some(End::Whole)
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
        state.read += state.arrived.drain(..).map(|it| it.len()).sum::<usize>();
        if state.read > 0 {
            self.0.stream.wake_by_ref();
        }
    }
}
