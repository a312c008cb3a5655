//! The turns of a connection: what has come is read, the streams that have something are asked, what they gave is written.

use std::{
    collections::VecDeque,
    mem::{self, MaybeUninit},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::Router;
use bytes::BytesMut;
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    BoxError, CONNECTION_WINDOW, ListenSettings, Outgoing, Socket,
    frame::{Kind, Reason, Violation, frame},
    hpack::Decoder,
    incoming::HeadBlock,
    keep_alive::{Beat, KeepAlive},
    ready::Ready,
    settings,
    stream::{Progress, Stream, TURN_BYTES, Way},
    streams::Streams,
};

/// Bytes that are read at a time.
const READ_BYTES: usize = 8 << 10;
/// Bytes that wait to be written, from which on nothing is read: a client that asks and does not listen has to wait.
const ANSWER_BYTES: usize = 256 << 10;
/// The same in frames: a short one takes more than its bytes.
const ANSWER_FRAMES: usize = 1024;
/// Streams that a client may give up before they are answered, beyond those that it lets be answered. Who asks only to give up
/// costs much for little (CVE-2023-44487).
const PATIENCE: u32 = 1000;
/// Streams whose late frames are passed over: more than usually end before a client hears of it.
const ENDED_FIRST: usize = 512;
/// Reads, after which it is the streams' turn also when more has come.
const READS: usize = 16;
/// The window that every connection begins with (RFC 9113, section 6.9.2).
const FIRST_WINDOW: usize = 65_535;
/// Stands in the ping that separates the requests before the drain from those after it.
const LAST_PING: [u8; 8] = *b"the last";

/// A connection over HTTP/2, on the side of the server.
pub(super) struct Connection<'a> {
    socket: Socket,
    pub(super) router: Router,
    pub(super) settings: &'a ListenSettings,
    /// Has come, and is not a whole frame yet. Bounded by a frame and what is read at a time.
    pub(super) input: BytesMut,
    pub(super) decoder: Decoder,
    pub(super) begun: Begun,
    /// A head of which more is to come.
    pub(super) block: Option<HeadBlock>,
    /// How many heads have come; wraps.
    pub(super) heads: u32,
    /// Until when a further one, or the connection's beginning, has to be whole.
    head_deadline: Option<(u32, Pin<Box<Sleep>>)>,
    pub(super) streams: Streams,
    pub(super) ready: Arc<Ready>,
    /// Streams whose turn comes when there is room on the way, each once.
    held: Vec<u32>,
    /// Streams that wait for the client to take more on the connection, each once, in the order in which they began to.
    blocked: VecDeque<u32>,
    pub(super) way: Way,
    /// Bytes that the client may still send, and those that were read since it was told of the last.
    pub(super) window: usize,
    unreturned: usize,
    /// The highest number of a stream so far.
    pub(super) last: u32,
    /// The latest streams that ended here while the client could still send: it may not have heard of that.
    ended_first: VecDeque<u32>,
    pub(super) phase: Phase,
    pub(super) patience: u32,
    keep_alive: KeepAlive,
}

/// How much has come of what a connection begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    Nothing,
    Preface,
    /// The client's settings too.
    Settings,
}

/// What was read in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// All that has come.
    All,
    /// More may be there.
    Some,
    /// The client has ended the connection.
    Ended,
}

/// Whether requests are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// The client has been told to go, and may have sent requests before it heard that.
    Leaving,
    /// No further requests: the connection ends with its last stream.
    Left,
    /// The client has broken the protocol: the connection ends when it has been told.
    Broken(Violation),
}

impl<'a> Connection<'a> {
    /// A connection of which nothing has been read, whose first frames wait to be written.
    pub(super) fn new(socket: Socket, router: Router, settings: &'a ListenSettings) -> Self {
        let mut out = Outgoing::default();
        out.push(settings::own(settings.max_streams));
        out.push(frame(Kind::WindowUpdate, 0, 0, &((CONNECTION_WINDOW - FIRST_WINDOW) as u32).to_be_bytes()));
        let window = FIRST_WINDOW as i64;
        let stall_timeout = settings.write_stall_timeout;
        let way = Way { out, window, initial_window: window, stall_timeout, tells_no_table: false };
        Self {
            socket,
            router,
            settings,
            input: BytesMut::new(),
            decoder: Decoder::new(),
            begun: Begun::Nothing,
            block: None,
            heads: 0,
            head_deadline: None,
            streams: Streams::default(),
            ready: Arc::default(),
            held: Vec::new(),
            blocked: VecDeque::new(),
            way,
            window: CONNECTION_WINDOW,
            unreturned: 0,
            last: 0,
            ended_first: VecDeque::new(),
            phase: Phase::Open,
            patience: PATIENCE,
            keep_alive: KeepAlive::new(settings.keep_alive_interval, settings.keep_alive_timeout),
        }
    }

    /// Tells the client to go elsewhere with new requests. Those that are on their way are still taken (RFC 9113, section 6.8).
    pub(super) fn leave(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Leaving;
            self.way.out.push(go_away(u32::MAX >> 1, Reason::NoError));
            self.way.out.push(frame(Kind::Ping, 0, 0, &LAST_PING));
        }
    }

    /// The client has heard it: whatever it asks now is not taken.
    pub(super) fn ping_answered(&mut self, payload: &[u8]) {
        if self.phase == Phase::Leaving && payload == LAST_PING {
            self.phase = Phase::Left;
            self.way.out.push(go_away(self.last, Reason::NoError));
        }
    }

    /// Serves the connection. Ready when it has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.ready.register(cx.waker());
        loop {
            let read = match self.read(cx)? {
                Read::Ended => return Poll::Ready(Ok(())),
                read => read,
            };
            self.ask_streams();
            if self.way.out.poll_write(Pin::new(&mut self.socket), cx)?.is_pending() {
                break;
            }
            if self.is_over() {
                return self.end(cx);
            }
            let unblocks = self.way.window > 0 && !self.blocked.is_empty();
            if self.held.is_empty() && !unblocks && read == Read::All {
                break;
            }
        }
        self.look_at_clocks(cx)
    }

    /// Ends the stream that a violation is about.
    pub(super) fn reset(&mut self, stream: u32, reason: Reason) -> Result<(), Violation> {
        if stream > self.last {
            return Err(Violation::Connection(reason, "a stream that was never opened"));
        }
        self.end_first(stream, reason);
        self.give_up(stream)
    }

    /// The client ends a stream. Nothing of it comes late any more, also when it had ended here first.
    pub(super) fn take_reset(&mut self, stream: u32) -> Result<(), Violation> {
        self.ended_first.retain(|it| *it != stream);
        self.give_up(stream)
    }

    /// A stream ends before its response has. Who gives up too many loses the connection.
    pub(super) fn give_up(&mut self, stream: u32) -> Result<(), Violation> {
        let Some(stream) = self.streams.remove(stream) else { return Ok(()) };
        self.close(&stream);
        if !stream.is_answered() {
            let left = self.patience.checked_sub(1);
            self.patience = left
                .ok_or(Violation::Connection(Reason::EnhanceYourCalm, "too many requests were given up"))?;
        }
        Ok(())
    }

    /// Whether a stream has ended here, and the client may not know that.
    pub(super) fn has_ended_first(&self, stream: u32) -> bool {
        self.ended_first.contains(&stream)
    }

    /// Bytes of a body that nobody reads: the client may send as many others.
    pub(super) fn discard(&mut self, bytes: usize) {
        self.unreturned += bytes;
    }

    /// Reads what has come, unless too much waits to be written.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<Read, BoxError> {
        for _ in 0..READS {
            if matches!(self.phase, Phase::Broken(_)) {
                return Ok(Read::All);
            }
            if self.way.out.length() >= ANSWER_BYTES || self.way.out.pieces() >= ANSWER_FRAMES {
                break;
            }
            let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
            let mut read = ReadBuf::uninit(&mut bytes);
            if Pin::new(&mut self.socket).poll_read(cx, &mut read)?.is_pending() {
                return Ok(Read::All);
            }
            if read.filled().is_empty() {
                return Ok(Read::Ended);
            }
            self.keep_alive.heard();
            self.input.extend_from_slice(read.filled());
            if let Err(violation) = self.take_frames() {
                self.break_off(violation);
            }
            self.watch_head();
        }
        Ok(Read::Some)
    }

    /// Asks the streams that were held or woken, in turn, until nothing more fits into a write. Those that had no turn come first
    /// the next time.
    fn ask_streams(&mut self) {
        let mut turn = mem::take(&mut self.held);
        let mut served = Vec::new();
        self.ready.take(&mut turn);
        self.unblock(&mut turn);
        for number in turn {
            let Some(stream) = self.streams.get_mut(number) else { continue };
            let before = self.way.out.length();
            let progress = stream.poll(&mut self.way);
            match progress {
                Progress::Held if stream.hold() => {
                    let list = if self.way.out.length() > before { &mut served } else { &mut self.held };
                    list.push(number);
                }
                Progress::Blocked if stream.block() => self.blocked.push_back(number),
                _ => {}
            }
            let (read, told) = stream.take_read();
            self.unreturned += read;
            if let Some(by) = told {
                self.way.out.push(frame(Kind::WindowUpdate, 0, number, &by.to_be_bytes()));
            }
            match progress {
                Progress::Finished => self.finish(number),
                Progress::Failed(reason) => {
                    if let Err(violation) = self.reset(number, reason) {
                        self.break_off(violation);
                        return;
                    }
                }
                _ => {}
            }
        }
        self.held.append(&mut served);
        if self.unreturned >= CONNECTION_WINDOW / 2 {
            self.window += self.unreturned;
            let by = mem::take(&mut self.unreturned) as u32;
            self.way.out.push(frame(Kind::WindowUpdate, 0, 0, &by.to_be_bytes()));
        }
    }

    /// Adds to `turn` as many of the streams that wait for the client to take more as it may be enough for.
    fn unblock(&mut self, turn: &mut Vec<u32>) {
        let enough = usize::try_from(self.way.window).unwrap_or(0).div_ceil(TURN_BYTES);
        for number in self.blocked.drain(..enough.min(self.blocked.len())) {
            if self.streams.get_mut(number).is_some_and(Stream::unblock) {
                turn.push(number);
            }
        }
    }

    /// A response is on its way to its end. What of its request has not come is not wanted (section 8.1).
    fn finish(&mut self, number: u32) {
        let Some(stream) = self.streams.remove(number) else { return };
        self.close(&stream);
        self.patience = PATIENCE.min(self.patience + 1);
        if !stream.request_ended() {
            self.end_first(number, Reason::NoError);
        }
    }

    fn close(&mut self, stream: &Stream) {
        self.unreturned += stream.close();
        if stream.is_blocked() {
            self.blocked.retain(|it| *it != stream.number());
        }
    }

    /// Tells the client that a stream has ended, and remembers that it may not have heard so yet.
    fn end_first(&mut self, stream: u32, reason: Reason) {
        self.way.out.push(frame(Kind::RstStream, 0, stream, &(reason as u32).to_be_bytes()));
        if !self.has_ended_first(stream) {
            self.ended_first.truncate(ENDED_FIRST - 1);
            self.ended_first.push_front(stream);
        }
    }

    fn break_off(&mut self, violation: Violation) {
        let reason = match violation {
            Violation::Connection(reason, _) | Violation::Stream(_, reason) => reason,
        };
        self.way.out.push(go_away(self.last, reason));
        self.phase = Phase::Broken(violation);
        self.streams.clear();
        self.input = BytesMut::new();
    }

    /// Whether there is nothing left to do but to say good-bye.
    fn is_over(&self) -> bool {
        match self.phase {
            Phase::Open | Phase::Leaving => false,
            Phase::Left => self.streams.is_empty(),
            Phase::Broken(_) => true,
        }
    }

    fn end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
        Poll::Ready(match self.phase {
            Phase::Broken(violation) => Err(violation.into()),
            _ => Ok(()),
        })
    }

    /// A head that has begun has to end in time.
    fn watch_head(&mut self) {
        if self.block.is_none() && self.begun == Begun::Settings && !self.awaits_head() {
            self.head_deadline = None;
        } else if self.head_deadline.as_ref().is_none_or(|(heads, _)| *heads != self.heads) {
            let deadline = Instant::now() + self.settings.header_timeout;
            self.head_deadline = Some((self.heads, Box::pin(sleep_until(deadline))));
        }
    }

    fn look_at_clocks(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if let Some((_, deadline)) = &mut self.head_deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err("the head of a request did not come".into()));
        }
        loop {
            match ready!(self.keep_alive.poll(cx)) {
                Beat::Dead => return Poll::Ready(Err("the client does not answer pings".into())),
                Beat::Ping => self.way.out.push(frame(Kind::Ping, 0, 0, &[0; 8])),
            }
            let _ = self.way.out.poll_write(Pin::new(&mut self.socket), cx)?;
        }
    }
}

fn go_away(last: u32, reason: Reason) -> bytes::Bytes {
    frame(Kind::GoAway, 0, 0, &[last.to_be_bytes(), (reason as u32).to_be_bytes()].concat())
}
