//! Frames in and out: a bounded queue of what is to be sent, and what tells whether the peer still takes and says anything.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::{Sink as _, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::{CapacityError, Error as WsError},
        protocol::{
            Role, WebSocketConfig,
            frame::{
                Frame, Utf8Bytes,
                coding::{Data, OpCode},
            },
        },
    },
};

use super::close::Close;

/// Memory for what comes. Most messages of clients are smaller; a longer one makes room for itself.
const READ_BYTES: usize = 2 << 10;
/// So many bytes of frames go out in one write.
const WRITE_BYTES: usize = 16 << 10;
/// The largest frame. A longer message is sent in several, so that no socket needs memory for a whole one.
const FRAME_BYTES: usize = 64 << 10;
/// What may wait beside our own frames: answers to the pings of a peer that does not read them. Beyond it the socket is
/// closed.
const PONG_BYTES: usize = 16 << 10;
/// How long a closed socket waits until its peer has taken the end. A peer that is there needs a round trip; one that is slow
/// must take what lies before the end first.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// A WebSocket with what is to be sent on it.
pub(super) struct Socket<S> {
    frames: WebSocketStream<Metered<S>>,
    queue: VecDeque<Frame>,
    queued: usize,
    /// Bytes from which on nothing more is taken from the logs.
    most_queued: usize,
    /// Something was given to `frames` that may not be on its way yet.
    unflushed: bool,
}

/// What happened on a socket.
#[derive(Debug)]
pub(super) enum Happened {
    /// A text came.
    Text(Utf8Bytes),
    /// A binary message came.
    Binary,
    /// A sign of life came.
    Control,
    /// There is room in the queue again.
    Room,
    /// The peer has closed the socket, or is gone.
    Gone,
    /// The socket cannot go on.
    Broken(Close),
}

/// A connection that knows when its peer last said something, and since when it has taken nothing.
struct Metered<S> {
    io: S,
    heard: Instant,
    blocked: Option<Instant>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// The server's side of a connection after its upgrade.
    pub(super) async fn new(io: S, longest_message: usize, most_queued: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(WRITE_BYTES)
            .max_write_buffer_size(WRITE_BYTES + FRAME_BYTES + PONG_BYTES)
            .max_message_size(Some(longest_message))
            .max_frame_size(Some(longest_message));
        let io = Metered { io, heard: Instant::now(), blocked: None };
        let frames = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        Self { frames, queue: VecDeque::new(), queued: 0, most_queued, unflushed: false }
    }

    /// Puts a text message at the end of the queue.
    pub(super) fn send(&mut self, text: Bytes) {
        self.queued += text.len();
        if text.len() <= FRAME_BYTES {
            self.queue.push_back(Frame::message(text, OpCode::Data(Data::Text), true));
            return;
        }
        let mut rest = text;
        let mut kind = Data::Text;
        while !rest.is_empty() {
            let piece = rest.split_to(FRAME_BYTES.min(rest.len()));
            self.queue.push_back(Frame::message(piece, OpCode::Data(kind), rest.is_empty()));
            kind = Data::Continue;
        }
    }

    /// Asks the peer for a sign of life.
    pub(super) fn ping(&mut self) {
        self.queue.push_back(Frame::ping(Bytes::new()));
    }

    /// True while events may be added.
    pub(super) fn has_room(&self) -> bool {
        self.queued < self.most_queued
    }

    /// When the peer last said something.
    pub(super) fn heard(&self) -> Instant {
        self.frames.get_ref().heard
    }

    /// Since when the peer has taken nothing of what waits for it; `None` while it takes what there is.
    pub(super) fn blocked(&self) -> Option<Instant> {
        self.frames.get_ref().blocked
    }

    /// Sends what is queued and gives what comes, if it `may_read`. Cancel safe.
    pub(super) async fn next(&mut self, may_read: bool) -> Happened {
        let had_room = self.has_room();
        poll_fn(|cx| {
            if let Poll::Ready(Err(error)) = self.poll_send(cx) {
                return Poll::Ready(broken(&error));
            }
            if !had_room && self.has_room() {
                return Poll::Ready(Happened::Room);
            }
            if may_read { self.poll_receive(cx) } else { Poll::Pending }
        })
        .await
    }

    /// Sends what is queued, then says why the socket ends, and waits a little until the peer has taken it.
    pub(super) async fn close(mut self, why: Option<Close>) {
        let ended = timeout(CLOSE_PATIENCE, async {
            poll_fn(|cx| self.poll_send(cx)).await?;
            if let Some(why) = why {
                let message = Message::Close(Some(why.frame()));
                poll_fn(|cx| Pin::new(&mut self.frames).poll_ready(cx)).await?;
                Pin::new(&mut self.frames).start_send(message)?;
            }
            poll_fn(|cx| Pin::new(&mut self.frames).poll_flush(cx)).await?;
            self.frames.get_mut().drain().await?;
            Ok::<_, Error>(())
        });
        if !matches!(ended.await, Ok(Ok(()))) {
            tracing::debug!(?why, "a socket ended without the peer having taken its end");
        }
    }

    /// Forgets what is queued: the peer does not keep up, and will ask for it again.
    pub(super) fn forget_queue(&mut self) {
        self.queue.clear();
        self.queued = 0;
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.queue.is_empty() {
            ready!(Pin::new(&mut self.frames).poll_ready(cx))?;
            let Some(frame) = self.queue.pop_front() else { break };
            if !is_control(&frame) {
                self.queued = self.queued.saturating_sub(frame.payload().len());
            }
            self.unflushed = true;
            Pin::new(&mut self.frames).start_send(Message::Frame(frame))?;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.frames).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Happened> {
        let message = ready!(self.frames.poll_next_unpin(cx));
        Poll::Ready(match message {
            None | Some(Ok(Message::Close(_))) => Happened::Gone,
            Some(Ok(Message::Text(text))) => Happened::Text(text),
            Some(Ok(Message::Binary(_))) => Happened::Binary,
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
                // The answer to a ping is on its way with the next flush.
                self.unflushed = true;
                Happened::Control
            }
            Some(Err(error)) => broken(&error),
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Metered<S> {
    /// Says that nothing more will come, and reads until the peer says so too: a connection that is closed over unread
    /// bytes is reset, and a reset takes with it what the peer has not read yet.
    async fn drain(&mut self) -> io::Result<()> {
        self.shutdown().await?;
        let mut scratch = [0; 1024];
        while self.read(&mut scratch).await? > 0 {}
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_read(cx, buf);
        if poll.is_ready() {
            self.heard = Instant::now();
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write(cx, buf);
        if poll.is_ready() {
            self.blocked = None;
        } else {
            self.blocked.get_or_insert_with(Instant::now);
        }
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

fn is_control(frame: &Frame) -> bool {
    matches!(frame.header().opcode, OpCode::Control(_))
}

fn broken(error: &Error) -> Happened {
    match error {
        WsError::Capacity(CapacityError::MessageTooLong { .. }) => Happened::Broken(Close::TooLong),
        WsError::Utf8(_) => Happened::Broken(Close::NotText),
        WsError::Protocol(
            tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        ) => Happened::Gone,
        WsError::Protocol(_) => Happened::Broken(Close::Protocol),
        WsError::WriteBufferFull(_) => Happened::Broken(Close::Slow),
        // The connection is gone.
        _ => Happened::Gone,
    }
}
