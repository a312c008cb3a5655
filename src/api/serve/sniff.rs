//! Which HTTP a fresh connection speaks.

use std::io;

use tokio::{
    io::AsyncReadExt as _,
    time::{Instant, timeout_at},
};

use super::socket::Socket;

/// What every HTTP/2 connection begins with (RFC 9113, section 3.4).
pub(super) const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The version of HTTP that a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// Reads so much of a connection as tells its version, and puts it back. `None`: the peer closed without a word.
pub(super) async fn sniff(socket: &mut Socket, deadline: Instant) -> io::Result<Option<Version>> {
    let mut seen = [0; HTTP2_PREFACE.len()];
    let mut length = 0;
    while length < seen.len() && HTTP2_PREFACE.starts_with(&seen[..length]) {
        let read = timeout_at(deadline, socket.read(&mut seen[length..])).await;
        let read = read.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no request came"))??;
        if read == 0 && length == 0 {
            return Ok(None);
        }
        if read == 0 {
            break;
        }
        length += read;
    }
    socket.put_back(&seen[..length]);
    Ok(Some(if &seen[..length] == HTTP2_PREFACE { Version::Http2 } else { Version::Http1 }))
}
