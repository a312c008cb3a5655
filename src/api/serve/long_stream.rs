//! A response that lasts, written as HTTP/1.1 has it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, StatusCode, Version, header};
use http_body::Body as _;

use super::{connection::BoxError, handover::Offer, http_date, outgoing::Outgoing, socket::Socket};

/// Bytes of later requests that wait for the end of the response; what comes beyond them waits in the system's buffer.
const AHEAD_BYTES: usize = 16 << 10;

/// The longest line in front of a chunk: a length in hexadecimal digits.
const CHUNK_HEAD_BYTES: usize = 18;
const CHUNK_END: &[u8] = b"\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A response on its way. What the body has ready goes out in one write; while the client takes nothing, nothing is taken from
/// the body.
pub(super) struct LongResponse {
    socket: Socket,
    body: Body,
    out: Outgoing,
    /// Its body goes in chunks; else it goes as it is, and ends with the connection.
    chunked: bool,
    /// The body has ended, and its end is on its way.
    ended: bool,
}

/// How a response ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// All of it is sent.
    Sent,
    /// Nobody wants it any more.
    Gone,
}

/// What the body has beside what was taken from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    Later,
    Maybe,
    Nothing,
}

impl LongResponse {
    /// A response of which nothing has been sent. `keep_alive`: whether the client is told that it may send another request.
    pub(super) fn new(socket: Socket, offer: Offer, keep_alive: bool) -> Self {
        let (parts, body) = offer.response.into_parts();
        let chunked = offer.version == Version::HTTP_11;
        let head = head(parts.status, &parts.headers, chunked, keep_alive);
        let mut out = Outgoing::default();
        out.push(head);
        Self { socket, body, out, chunked, ended: false }
    }

    /// The connection, when the response has been sent.
    pub(super) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Sends what there is. An error of the body, or of the connection, leaves the response without an end, so that the client
    /// knows.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<End, BoxError>> {
        loop {
            let more = self.take_frames(cx)?;
            if self.out.poll_write(Pin::new(&mut self.socket), cx)?.is_pending() {
                break;
            }
            match more {
                More::Later => break,
                More::Maybe => {}
                More::Nothing => return Poll::Ready(Ok(End::Sent)),
            }
        }
        // Who ends the connection, or its own half of it, does not want the rest.
        self.socket.poll_end(cx, AHEAD_BYTES).map(|ended| Ok(ended.map(|()| End::Gone)?))
    }

    /// Takes from the body what is ready and fits into one write; nothing while something is still to be written.
    fn take_frames(&mut self, cx: &mut Context<'_>) -> Result<More, BoxError> {
        while !self.ended {
            if !self.out.takes_more() {
                return Ok(More::Maybe);
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Ok(More::Later),
                Poll::Ready(Some(frame)) => {
                    if let Ok(data) = frame?.into_data() {
                        self.push(data);
                    }
                }
                Poll::Ready(None) => {
                    self.ended = true;
                    if self.chunked {
                        self.out.push(Bytes::from_static(LAST_CHUNK));
                    }
                }
            }
        }
        Ok(More::Nothing)
    }

    fn push(&mut self, data: Bytes) {
        if !self.chunked {
            return self.out.push(data);
        }
        // A chunk of no length would be the last one.
        if data.is_empty() {
            return;
        }
        let mut room = [0; CHUNK_HEAD_BYTES];
        self.out.push_framed(chunk_head(data.len(), &mut room), data, CHUNK_END);
    }
}

/// The line in front of a chunk of so many bytes: by hand, because it is made for each event of each watcher.
fn chunk_head(length: usize, room: &mut [u8; CHUNK_HEAD_BYTES]) -> &[u8] {
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4) as usize;
    for (at, digit) in room[..digits].iter_mut().rev().enumerate() {
        *digit = b"0123456789ABCDEF"[length >> (4 * at) & 0xF];
    }
    room[digits..digits + 2].copy_from_slice(b"\r\n");
    &room[..digits + 2]
}

/// The head of the response, in the version that the client speaks.
fn head(status: StatusCode, headers: &HeaderMap, chunked: bool, keep_alive: bool) -> Bytes {
    let mut head = BytesMut::with_capacity(512);
    head.put_slice(if chunked { b"HTTP/1.1 " } else { b"HTTP/1.0 " });
    head.put_slice(status.as_str().as_bytes());
    head.put_u8(b' ');
    head.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    head.put_slice(b"\r\n");
    let mut line = |name: &str, value: &[u8]| {
        [name.as_bytes(), b": ", value, b"\r\n"].into_iter().for_each(|it| head.put_slice(it));
    };
    for (name, value) in headers {
        // Of the connection, which is not the response's business, and of its length, which is not known.
        if name != header::CONNECTION {
            line(name.as_str(), value.as_bytes());
        }
    }
    if !headers.contains_key(header::DATE) {
        line("date", http_date().as_bytes());
    }
    if chunked {
        line("transfer-encoding", b"chunked");
    }
    if !keep_alive {
        line("connection", b"close");
    }
    head.put_slice(b"\r\n");
    head.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunked: bool, keep_alive: bool) -> Vec<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::DATE, "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        headers.append(header::SET_COOKIE, "a=b".parse().unwrap());
        headers.append(header::SET_COOKIE, "c=d".parse().unwrap());
        headers.insert(header::CONNECTION, "upgrade".parse().unwrap());
        let head = head(StatusCode::OK, &headers, chunked, keep_alive);
        String::from_utf8(head.to_vec()).unwrap().split("\r\n").map(str::to_owned).collect()
    }

    #[test]
    fn a_head_is_told_in_the_version_of_the_client() {
        let common = ["date: Sun, 06 Nov 1994 08:49:37 GMT", "set-cookie: a=b", "set-cookie: c=d"];
        let of = |first, last: &[&'static str]| [&[first], &common[..], last, &["", ""]].concat();
        assert_eq!(lines(true, true), of("HTTP/1.1 200 OK", &["transfer-encoding: chunked"]));
        let closing = of("HTTP/1.1 200 OK", &["transfer-encoding: chunked", "connection: close"]);
        assert_eq!(lines(true, false), closing);
        assert_eq!(lines(false, false), of("HTTP/1.0 200 OK", &["connection: close"]));
    }

    #[test]
    fn a_chunk_is_told_in_hexadecimal_digits() {
        for length in [1, 9, 10, 15, 16, 255, 256, 548, 65_535, 1 << 20, usize::MAX] {
            let mut room = [0; CHUNK_HEAD_BYTES];
            assert_eq!(chunk_head(length, &mut room), format!("{length:X}\r\n").as_bytes());
        }
    }

    #[test]
    fn a_head_without_a_date_is_given_one() {
        let head = head(StatusCode::OK, &HeaderMap::new(), true, true);
        assert!(String::from_utf8(head.to_vec()).unwrap().contains(" GMT\r\n"));
    }
}
