//! One stream: a request, and the response on its way.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::{Router, body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::Body as _;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tower::ServiceExt as _;

use super::{
    Outgoing, STREAM_WINDOW,
    frame::{END_STREAM, FRAME_BYTES, FrameHead, Kind, Reason},
    hpack::NO_TABLE,
    ready::{Ready, StreamWaker},
    request_body::Inbox,
    response,
};
use crate::runtime::task::{self, TaskKind};

/// Bytes of one stream, after which it is another one's turn.
pub(super) const TURN_BYTES: usize = FRAME_BYTES;
/// Room for a head of usual length.
const USUAL_HEAD_BYTES: usize = 256;

/// A stream that has not ended. Dropping it drops the response, or whoever makes it.
pub(super) struct Stream {
    number: u32,
    woken: Arc<StreamWaker>,
    waker: Waker,
    request: Incoming,
    answer: Answer,
    /// Bytes that the client takes of this stream. Below zero when it has changed its mind.
    window: i64,
    stalled: Option<Pin<Box<Sleep>>>,
    /// It waits for the window of the connection.
    blocked: bool,
}

/// The way to the client, which all streams share.
pub(super) struct Way {
    pub(super) out: Outgoing,
    /// Bytes that the client takes of all streams together.
    pub(super) window: i64,
    /// What the window of a new stream begins with.
    pub(super) initial_window: i64,
    /// How long a client may take nothing of a stream while data waits.
    pub(super) stall_timeout: Duration,
    /// The client has to be told before the next head that its table is not used.
    pub(super) tells_no_table: bool,
}

/// How far a stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is woken when there is more to do.
    Waits,
    /// It goes on when what is on the way has been written.
    Held,
    /// It goes on when the client takes more on the connection.
    Blocked,
    /// All of the response is on its way.
    Finished,
    /// There will be no more of it.
    Failed(Reason),
}

/// The request's side.
struct Incoming {
    /// Where its body goes, if it has one.
    inbox: Option<Arc<Inbox>>,
    ended: bool,
    /// Bytes that the client has told of and not sent.
    awaited: Option<u64>,
    /// Bytes that the client may still send, and those that were read since it was told of the last.
    window: usize,
    unreturned: usize,
}

enum Answer {
    /// Somebody makes it.
    Asked(AbortOnDropHandle<Option<Response>>),
    /// Its head is on the way; `rest` is what waits of its body.
    Sent { body: Body, rest: Bytes },
}

impl Stream {
    /// Has `router` answer a request. `length`: as the request tells it; `None` within: it tells none.
    pub(super) fn new(
        number: u32,
        request: Request<()>,
        length: Option<Option<u64>>,
        router: &Router,
        ready: &Arc<Ready>,
        window: i64,
    ) -> Self {
        let woken = Arc::new(StreamWaker::new(number, ready.clone()));
        let waker = Waker::from(woken.clone());
        let inbox = length.map(|length| Inbox::new(waker.clone(), length));
        let body = inbox.as_ref().map_or_else(Body::empty, |it| Body::new(it.body()));
        let answered = router.clone().oneshot(request.map(|()| body));
        let answered = async move { answered.await.unwrap_or_else(|never| match never {}) };
        let answer = Answer::Asked(AbortOnDropHandle::new(task::spawn(TaskKind::Stream, answered)));
        // Whoever answers wakes the stream from when it has been asked for the first time.
        woken.list();
        let awaited = length.flatten();
        let request =
            Incoming { ended: inbox.is_none(), inbox, awaited, window: STREAM_WINDOW, unreturned: 0 };
        Self { number, woken, waker, request, answer, window, stalled: None, blocked: false }
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Whether all of the request has come.
    pub(super) fn request_ended(&self) -> bool {
        self.request.ended
    }

    /// Whether the response's head is on its way.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self.answer, Answer::Sent { .. })
    }

    /// Takes a piece of the request's body that was `counted` bytes on the wire. After an error nothing of it was taken.
    pub(super) fn receive(&mut self, data: Bytes, counted: usize, ends: bool) -> Result<(), Reason> {
        let request = &mut self.request;
        request.window = request.window.checked_sub(counted).ok_or(Reason::FlowControlError)?;
        if let Some(awaited) = &mut request.awaited {
            *awaited = awaited.checked_sub(data.len() as u64).ok_or(Reason::ProtocolError)?;
            if ends && *awaited > 0 {
                return Err(Reason::ProtocolError);
            }
        }
        if let Some(inbox) = &request.inbox {
            inbox.push(data, counted);
        }
        if ends { self.end_request(None) } else { Ok(()) }
    }

    /// The request has come to its end.
    pub(super) fn end_request(&mut self, trailers: Option<HeaderMap>) -> Result<(), Reason> {
        if self.request.awaited.is_some_and(|it| it > 0) {
            return Err(Reason::ProtocolError);
        }
        self.request.ended = true;
        if let Some(inbox) = &self.request.inbox {
            inbox.end(trailers);
        }
        Ok(())
    }

    /// Bytes that were read of the request since the last time, by which the connection's window grows. The second: by how much the
    /// client is to be told that the stream's has grown.
    pub(super) fn take_read(&mut self) -> (usize, Option<u32>) {
        let request = &mut self.request;
        let read = request.inbox.as_ref().map_or(0, |it| it.take_read());
        request.unreturned += read;
        if request.ended || request.unreturned < STREAM_WINDOW / 2 {
            return (read, None);
        }
        let returned = mem::take(&mut request.unreturned);
        request.window += returned;
        (read, Some(returned as u32))
    }

    /// Ends the request's side. Gives the bytes of it that nobody has read.
    pub(super) fn close(&self) -> usize {
        self.request.inbox.as_ref().map_or(0, |it| it.close())
    }

    /// Lets the client's window grow or shrink. `None`: it would be larger than a window can be.
    pub(super) fn widen(&mut self, by: i64) -> Option<()> {
        self.window += by;
        if self.window > super::settings::MAX_WINDOW {
            return None;
        }
        // It sends what it can without being asked by the client.
        if self.stalled.is_some() && by > 0 {
            self.woken.list();
        }
        Some(())
    }

    /// See [`StreamWaker::hold`].
    pub(super) fn hold(&self) -> bool {
        self.woken.hold()
    }

    /// The stream stands among those that wait for the window of the connection. False when it does already.
    pub(super) fn block(&mut self) -> bool {
        !mem::replace(&mut self.blocked, true)
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// The window of the connection has grown, and the stream stands no longer among those that wait for that. False when it will
    /// be asked anyway.
    pub(super) fn unblock(&mut self) -> bool {
        self.blocked = false;
        self.woken.hold()
    }

    /// Sends what there is and what the client takes.
    pub(super) fn poll(&mut self, way: &mut Way) -> Progress {
        self.woken.taken();
        let waker = self.waker.clone();
        let cx = &mut Context::from_waker(&waker);
        if let Answer::Asked(answer) = &mut self.answer {
            let Poll::Ready(answered) = Pin::new(answer).poll(cx) else { return Progress::Waits };
            // There is none when whoever made it has failed.
            let Ok(Some(response)) = answered else { return Progress::Failed(Reason::InternalError) };
            let (parts, body) = response.into_parts();
            let begin = way.begin_head();
            way.out.push(response::head(self.number, &parts, &body, begin));
            if body.is_end_stream() {
                return Progress::Finished;
            }
            self.answer = Answer::Sent { body, rest: Bytes::new() };
        }
        self.send(way, cx)
    }

    fn send(&mut self, way: &mut Way, cx: &mut Context<'_>) -> Progress {
        let Answer::Sent { body, rest } = &mut self.answer else { return Progress::Waits };
        let before = way.out.length();
        loop {
            if !way.out.takes_more() || way.out.length() - before >= TURN_BYTES {
                return Progress::Held;
            }
            if rest.is_empty() {
                let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else { return Progress::Waits };
                match frame.map(|it| it.map(http_body::Frame::into_data)) {
                    Some(Ok(Ok(data))) => *rest = data,
                    Some(Ok(Err(frame))) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        let begin = way.begin_head();
                        way.out.push(response::trailers(self.number, &trailers, begin));
                        return Progress::Finished;
                    }
                    Some(Err(_)) => return Progress::Failed(Reason::InternalError),
                    None => {
                        way.out.push_framed(&data_head(self.number, 0, true), Bytes::new(), &[]);
                        return Progress::Finished;
                    }
                }
                if rest.is_empty() && !body.is_end_stream() {
                    continue;
                }
            }
            let room = self.window.min(way.window).max(0) as usize;
            if room == 0 && !rest.is_empty() {
                return wait_for_window(&mut self.stalled, way, cx);
            }
            let piece = rest.split_to(rest.len().min(room).min(FRAME_BYTES));
            let last = rest.is_empty() && body.is_end_stream();
            self.window -= piece.len() as i64;
            way.window -= piece.len() as i64;
            self.stalled = None;
            way.out.push_framed(&data_head(self.number, piece.len(), last), piece, &[]);
            if last {
                return Progress::Finished;
            }
        }
    }
}

impl Way {
    /// What a head begins with.
    pub(super) fn begin_head(&mut self) -> Vec<u8> {
        let mut head = Vec::with_capacity(USUAL_HEAD_BYTES);
        if mem::take(&mut self.tells_no_table) {
            head.push(NO_TABLE);
        }
        head
    }
}

/// Whoever reads the request's body somewhere else learns that there is no more of it.
impl Drop for Stream {
    fn drop(&mut self) {
        self.close();
    }
}

/// Data waits that the client does not take. Who takes nothing for too long loses the stream.
fn wait_for_window(stalled: &mut Option<Pin<Box<Sleep>>>, way: &Way, cx: &mut Context<'_>) -> Progress {
    let timer = stalled.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + way.stall_timeout)));
    if timer.as_mut().poll(cx).is_pending() {
        return if way.window <= 0 { Progress::Blocked } else { Progress::Waits };
    }
    tracing::debug!("a client takes nothing of a stream; the stream is reset");
    Progress::Failed(Reason::Cancel)
}

fn data_head(stream: u32, length: usize, last: bool) -> [u8; super::frame::FRAME_HEAD_BYTES] {
    let flags = if last { END_STREAM } else { 0 };
    FrameHead { length, kind: Kind::Data, flags, stream }.bytes()
}
