//! What waits to be written of a response that lasts: its bytes as they are, with the framing of chunks around them.

use std::{
    io::{self, IoSlice, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;

/// Pieces of one write at the most. More of a body are taken when these are written.
const PIECES: usize = 16;
/// Room for pieces that is kept between writes.
const KEPT_PIECES: usize = 4;
/// Bytes of one write, from which on no more of a body is taken.
const WRITE_BYTES: usize = 64 << 10;

/// The longest line in front of a chunk: a length in hexadecimal digits.
const CHUNK_HEAD_BYTES: usize = 18;
const CHUNK_END: &[u8] = b"\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Bytes that wait to be written.
pub(super) struct Outgoing {
    chunked: bool,
    pieces: Vec<Piece>,
    /// Of all pieces together, and how many of them are written.
    length: usize,
    written: usize,
    /// There was no room for all of them.
    waits: bool,
}

/// Some bytes with what frames them.
struct Piece {
    head: [u8; CHUNK_HEAD_BYTES],
    head_length: u8,
    data: Bytes,
    end: &'static [u8],
}

impl Outgoing {
    /// Begins with the head of a response. `chunked`: its body goes in chunks; else it goes as it is, and ends with the
    /// connection.
    pub(super) fn new(head: Bytes, chunked: bool) -> Self {
        let length = head.len();
        Self { chunked, pieces: vec![Piece::plain(head)], length, written: 0, waits: false }
    }

    /// Whether more fits into the next write. Nothing does while there is no room for what is here.
    pub(super) fn takes_more(&self) -> bool {
        !self.waits && self.pieces.len() < PIECES && self.length < WRITE_BYTES
    }

    /// Adds a piece of the body.
    pub(super) fn push(&mut self, data: Bytes) {
        // A chunk of no length would be the last one.
        if !data.is_empty() {
            self.add(if self.chunked { Piece::chunk(data) } else { Piece::plain(data) });
        }
    }

    /// Adds the end of the body.
    pub(super) fn end(&mut self) {
        if self.chunked {
            self.add(Piece::plain(Bytes::from_static(LAST_CHUNK)));
        }
    }

    /// Ready when all is written.
    pub(super) fn poll_write(
        &mut self,
        mut io: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.waits = true;
        while self.written < self.length {
            let mut slices = [IoSlice::new(&[]); 3 * PIECES + 3];
            let mut all = &mut slices[..];
            let filled = self.fill(all);
            all = &mut all[..filled];
            IoSlice::advance_slices(&mut all, self.written);
            let written = ready!(io.as_mut().poll_write_vectored(cx, all))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        self.pieces.clear();
        // Most writes are small: the room of a large one is not kept.
        self.pieces.shrink_to(KEPT_PIECES);
        (self.length, self.written, self.waits) = (0, 0, false);
        Poll::Ready(Ok(()))
    }

    fn add(&mut self, piece: Piece) {
        self.length += piece.parts().iter().map(|it| it.len()).sum::<usize>();
        self.pieces.push(piece);
    }

    /// Fills in what is there to write; gives how many slices that are.
    fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let parts = self.pieces.iter().flat_map(Piece::parts).filter(|it| !it.is_empty());
        slices.iter_mut().zip(parts).map(|(slice, part)| *slice = IoSlice::new(part)).count()
    }
}

impl Piece {
    fn plain(data: Bytes) -> Self {
        Self { head: [0; CHUNK_HEAD_BYTES], head_length: 0, data, end: &[] }
    }

    fn chunk(data: Bytes) -> Self {
        let mut head = [0; CHUNK_HEAD_BYTES];
        let mut rest = &mut head[..];
        // Sixteen digits and the end of the line always fit.
        let _ = write!(rest, "{:X}\r\n", data.len());
        let head_length = (CHUNK_HEAD_BYTES - rest.len()) as u8;
        Self { head, head_length, data, end: CHUNK_END }
    }

    fn parts(&self) -> [&[u8]; 3] {
        [&self.head[..usize::from(self.head_length)], &self.data, self.end]
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;

    /// What arrives of `pieces` when there is room for `room` bytes at a time.
    async fn arrives(chunked: bool, room: usize, pieces: &[&'static str]) -> String {
        let (mut here, mut there) = duplex(room);
        let mut out = Outgoing::new(Bytes::from_static(b"head;"), chunked);
        let write = async move {
            for piece in pieces {
                out.push(Bytes::from_static(piece.as_bytes()));
                poll_fn(|cx| out.poll_write(Pin::new(&mut here), cx)).await.unwrap();
            }
            out.end();
            poll_fn(|cx| out.poll_write(Pin::new(&mut here), cx)).await.unwrap();
            assert!(out.takes_more());
        };
        let mut read = String::new();
        let (_, length) = tokio::join!(write, there.read_to_string(&mut read));
        assert_eq!(length.unwrap(), read.len());
        read
    }

    #[tokio::test]
    async fn whatever_room_there_is_all_arrives_in_its_order() {
        let long = "0123456789abcdef0123";
        for room in 1..40 {
            let chunked = arrives(true, room, &["a", "", long]).await;
            assert_eq!(chunked, format!("head;1\r\na\r\n14\r\n{long}\r\n0\r\n\r\n"), "{room}");
            assert_eq!(arrives(false, room, &["a", "", long]).await, format!("head;a{long}"), "{room}");
        }
    }

    #[tokio::test]
    async fn nothing_more_is_taken_while_there_is_no_room() {
        let (mut here, mut there) = duplex(4);
        let mut out = Outgoing::new(Bytes::from_static(b"head"), true);
        assert!(out.takes_more());
        out.push(Bytes::from_static(b"body"));
        let mut write = poll_fn(|cx| out.poll_write(Pin::new(&mut here), cx));
        assert!(futures::poll!(&mut write).is_pending());
        assert!(!out.takes_more());
        let mut read = [0; 13];
        let write = poll_fn(|cx| out.poll_write(Pin::new(&mut here), cx));
        let (written, _) = tokio::join!(write, there.read_exact(&mut read));
        assert!(written.is_ok() && out.takes_more());
        assert_eq!(read, *b"head4\r\nbody\r\n");
    }

    #[test]
    fn one_write_is_bounded_in_pieces_and_bytes() {
        let mut pieces = Outgoing::new(Bytes::new(), true);
        (1..PIECES).for_each(|_| pieces.push(Bytes::from_static(b"x")));
        assert!(!pieces.takes_more());
        let mut bytes = Outgoing::new(Bytes::new(), true);
        bytes.push(Bytes::from(vec![0; WRITE_BYTES]));
        assert!(!bytes.takes_more());
    }
}
