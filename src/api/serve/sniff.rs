//! Which HTTP a fresh connection speaks, and the guard against peers that stop reading.

use std::{
    io::{self, Cursor},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, Chain, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep_until, timeout_at},
};
use tokio_util::task::task_tracker::TaskTrackerToken;

/// What every HTTP/2 connection begins with (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The version of HTTP that a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// A connection whose first bytes have been looked at. A write that stays pending for too long fails.
pub(super) struct Connection {
    reader: Chain<Cursor<Vec<u8>>, OwnedReadHalf>,
    writer: OwnedWriteHalf,
    stall_timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    /// Kept as long as the connection, which may outlive HTTP on it.
    _slot: Slot,
}

/// What a connection holds as long as it is there: its share of the connections that may be, and its place among those
/// that the end of the gateway waits for.
pub(super) struct Slot {
    pub(super) _permit: OwnedSemaphorePermit,
    pub(super) _counted: TaskTrackerToken,
}

/// Reads so much of a connection as tells its version. `None`: the peer closed without a word.
pub(super) async fn sniff(
    tcp: TcpStream,
    deadline: Instant,
    stall_timeout: Duration,
    slot: Slot,
) -> io::Result<Option<(Version, Connection)>> {
    let (mut reader, writer) = tcp.into_split();
    let mut seen = Vec::with_capacity(HTTP2_PREFACE.len());
    let mut byte = [0; HTTP2_PREFACE.len()];
    while seen.len() < HTTP2_PREFACE.len() && HTTP2_PREFACE.starts_with(&seen) {
        let wanted = HTTP2_PREFACE.len() - seen.len();
        let read = timeout_at(deadline, reader.read(&mut byte[..wanted])).await;
        let read = read.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no request came"))??;
        if read == 0 && seen.is_empty() {
            return Ok(None);
        }
        if read == 0 {
            break;
        }
        seen.extend_from_slice(&byte[..read]);
    }
    let version = if seen == HTTP2_PREFACE { Version::Http2 } else { Version::Http1 };
    let reader = Cursor::new(seen).chain(reader);
    Ok(Some((version, Connection { reader, writer, stall_timeout, stalled: None, _slot: slot })))
}

impl Connection {
    /// Passes on what a write gave, unless it has been pending for too long.
    fn watch_stall<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stalled = None;
            return poll;
        }
        let deadline = Instant::now() + self.stall_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer has stopped reading")))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.writer).poll_write(cx, buf);
        self.watch_stall(cx, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.writer).poll_write_vectored(cx, bufs);
        self.watch_stall(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.writer.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}
