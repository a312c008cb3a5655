//! What waits to be written of responses: their bytes as they are, with what frames them.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncWrite, ReadBuf};

/// Pieces of one write at the most. More of a response are taken when these are written.
const PIECES: usize = 32;
/// Room for pieces that is kept between writes.
const KEPT_PIECES: usize = 4;
/// Bytes of one write, from which on no more of a response is taken.
const WRITE_BYTES: usize = 64 << 10;
/// Bytes that are copied together for a write: for so few it costs less than to tell the system of each piece.
const COPIED_BYTES: usize = 2 << 10;
/// Bytes in front of a piece at the most: a length in hexadecimal digits with the end of its line.
const HEAD_BYTES: usize = 18;

/// Bytes that wait to be written.
#[derive(Default)]
pub(super) struct Outgoing {
    pieces: Vec<Piece>,
    /// Of all pieces together.
    length: usize,
    /// Of the first of them.
    written: usize,
    /// There was no room for all of them.
    waits: bool,
}

/// Some bytes with what frames them.
struct Piece {
    head: [u8; HEAD_BYTES],
    head_length: u8,
    data: Bytes,
    end: &'static [u8],
}

impl Outgoing {
    /// Whether more of a response fits into the next write. Nothing does while there is no room for what is here.
    pub(super) fn takes_more(&self) -> bool {
        !self.waits && self.pieces.len() < PIECES && self.length < WRITE_BYTES
    }

    /// Bytes that wait.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Pieces that wait.
    pub(super) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Adds bytes as they are.
    pub(super) fn push(&mut self, data: Bytes) {
        self.push_framed(&[], data, &[]);
    }

    /// Adds bytes with what frames them; of `head` no more than a line with a length.
    pub(super) fn push_framed(&mut self, head: &[u8], data: Bytes, end: &'static [u8]) {
        let mut piece = Piece { head: [0; HEAD_BYTES], head_length: head.len() as u8, data, end };
        piece.head[..head.len()].copy_from_slice(head);
        self.length += piece.length();
        self.pieces.push(piece);
    }

    /// Ready when all is written.
    pub(super) fn poll_write(
        &mut self,
        mut io: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.waits = true;
        while self.length > 0 {
            let written = match self.length <= COPIED_BYTES {
                true => ready!(self.poll_copied(io.as_mut(), cx))?,
                false => ready!(self.poll_vectored(io.as_mut(), cx))?,
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.drop_written(written);
        }
        self.pieces.clear();
        // Most writes are small: the room of a large one is not kept.
        self.pieces.shrink_to(KEPT_PIECES);
        self.waits = false;
        Poll::Ready(Ok(()))
    }

    fn poll_copied(&self, io: Pin<&mut impl AsyncWrite>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [MaybeUninit::uninit(); COPIED_BYTES];
        let mut all = ReadBuf::uninit(&mut room);
        let mut written = self.written;
        for part in self.pieces.iter().flat_map(Piece::parts) {
            let skipped = written.min(part.len());
            written -= skipped;
            all.put_slice(&part[skipped..]);
        }
        io.poll_write(cx, all.filled())
    }

    fn poll_vectored(&self, io: Pin<&mut impl AsyncWrite>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); 3 * PIECES];
        let filled = self.fill(&mut slices);
        let mut all = &mut slices[..filled];
        IoSlice::advance_slices(&mut all, self.written);
        io.poll_write_vectored(cx, all)
    }

    /// Fills in what is there to write; gives how many slices that are.
    fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let parts = self.pieces.iter().flat_map(Piece::parts).filter(|it| !it.is_empty());
        slices.iter_mut().zip(parts).map(|(slice, part)| *slice = IoSlice::new(part)).count()
    }

    fn drop_written(&mut self, written: usize) {
        self.length -= written;
        if self.length == 0 {
            self.written = 0;
            return;
        }
        self.written += written;
        let mut whole = 0;
        while let Some(first) = self.pieces.get(whole).map(Piece::length).filter(|it| *it <= self.written) {
            self.written -= first;
            whole += 1;
        }
        self.pieces.drain(..whole);
    }
}

impl Piece {
    fn length(&self) -> usize {
        usize::from(self.head_length) + self.data.len() + self.end.len()
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
    async fn arrives(room: usize, pieces: &[&str]) -> String {
        let (mut here, mut there) = duplex(room);
        let mut out = Outgoing::default();
        out.push(Bytes::from_static(b"head;"));
        let write = async move {
            for two in pieces.chunks(2) {
                for piece in two {
                    out.push_framed(b"<<", Bytes::copy_from_slice(piece.as_bytes()), b">");
                }
                poll_fn(|cx| out.poll_write(Pin::new(&mut here), cx)).await.unwrap();
            }
            assert!(out.takes_more() && out.length() == 0);
        };
        let mut read = String::new();
        let (_, length) = tokio::join!(write, there.read_to_string(&mut read));
        assert_eq!(length.unwrap(), read.len());
        read
    }

    #[tokio::test]
    async fn whatever_room_there_is_all_arrives_in_its_order() {
        // Copied together, given to the system in pieces, and one after the other.
        for length in [20, COPIED_BYTES - 13, 2 * COPIED_BYTES] {
            let long: String = ('a'..='z').cycle().take(length).collect();
            for room in (1..40).chain([1000]) {
                let arrived = arrives(room, &["a", &long, ""]).await;
                assert!(arrived == format!("head;<<a><<{long}><<>"), "{length} {room}");
            }
        }
    }

    #[tokio::test]
    async fn more_pieces_than_a_write_takes_arrive_too() {
        let pieces: Vec<_> = (0..5 * PIECES).map(|it| format!("{it},")).collect();
        for room in [1, 7, 1000] {
            let (mut here, mut there) = duplex(room);
            let mut out = Outgoing::default();
            pieces.iter().for_each(|it| out.push(Bytes::from(it.clone())));
            let write = async move { poll_fn(|cx| out.poll_write(Pin::new(&mut here), cx)).await };
            let mut read = String::new();
            let (written, length) = tokio::join!(write, there.read_to_string(&mut read));
            assert!(written.is_ok() && length.is_ok());
            assert_eq!(read, pieces.concat());
        }
    }

    #[tokio::test]
    async fn nothing_more_is_taken_while_there_is_no_room() {
        let (mut here, mut there) = duplex(4);
        let mut out = Outgoing::default();
        assert!(out.takes_more());
        out.push(Bytes::from_static(b"head"));
        out.push(Bytes::from_static(b"body"));
        let mut write = poll_fn(|cx| out.poll_write(Pin::new(&mut here), cx));
        assert!(futures::poll!(&mut write).is_pending());
        assert!(!out.takes_more() && out.length() == 4);
        let mut read = [0; 8];
        let write = poll_fn(|cx| out.poll_write(Pin::new(&mut here), cx));
        let (written, _) = tokio::join!(write, there.read_exact(&mut read));
        assert!(written.is_ok() && out.takes_more());
        assert_eq!(read, *b"headbody");
    }

    #[test]
    fn one_write_is_bounded_in_pieces_and_bytes() {
        let mut pieces = Outgoing::default();
        (0..PIECES).for_each(|_| pieces.push(Bytes::from_static(b"x")));
        assert!(!pieces.takes_more());
        let mut bytes = Outgoing::default();
        bytes.push(Bytes::from(vec![0; WRITE_BYTES]));
        assert!(!bytes.takes_more());
    }
}
