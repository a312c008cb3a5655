//! A connection's socket: what was read of it ahead, and the guard against peers that stop reading.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Bytes that are read ahead at a time.
const READ_BYTES: usize = 1024;

/// A socket. A write that stays pending for too long fails.
pub(super) struct Socket {
    tcp: TcpStream,
    /// Was read already, and is read again before anything else.
    ahead: BytesMut,
    stall_timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    /// True while the last write was pending; also for who has lent the socket to somebody.
    full: Arc<AtomicBool>,
    /// Kept as long as the connection, which may outlive HTTP on it.
    _slot: Slot,
}

/// What a connection holds as long as it is there: its share of the connections that may be, and its place among those
/// that the end of the gateway waits for.
pub(super) struct Slot {
    pub(super) _permit: OwnedSemaphorePermit,
    pub(super) _counted: TaskTrackerToken,
}

impl Socket {
    /// A connection that was just accepted.
    pub(super) fn new(tcp: TcpStream, stall_timeout: Duration, slot: Slot) -> Self {
        let (ahead, full) = (BytesMut::new(), Arc::default());
        Self { tcp, ahead, stall_timeout, stalled: None, full, _slot: slot }
    }

    /// True while the last write was pending, wherever the socket is.
    pub(super) fn full(&self) -> Arc<AtomicBool> {
        self.full.clone()
    }

    /// Has `bytes` read again, before anything else.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let rest = std::mem::replace(&mut self.ahead, BytesMut::from(bytes));
            self.ahead.extend_from_slice(&rest);
        }
    }

    /// Reads ahead what comes, until there are `most` bytes; what comes then stays in the system's buffer, and an end behind
    /// it is not seen. Ready when the peer has ended the connection.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<()>> {
        while self.ahead.len() < most {
            let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
            let mut read = ReadBuf::uninit(&mut bytes);
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.ahead.extend_from_slice(read.filled());
        }
        Poll::Pending
    }

    /// Passes on what a write gave, unless it has been pending for too long.
    fn watch_stall<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            if self.stalled.take().is_some() {
                self.full.store(false, Ordering::Relaxed);
            }
            return poll;
        }
        let deadline = Instant::now() + self.stall_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        self.full.store(true, Ordering::Relaxed);
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer has stopped reading")))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.tcp).poll_read(cx, buf);
        }
        let taken = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..taken]);
        self.ahead.advance(taken);
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.watch_stall(cx, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.watch_stall(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
