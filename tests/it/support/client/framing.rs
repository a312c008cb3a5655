//! The five bytes before each message of gRPC, gRPC-Web and Connect streams.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

const HEAD_BYTES: usize = 5;

/// A message with its flags.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) flags: u8,
    pub(super) message: Bytes,
}

/// Takes messages out of the bytes of a stream.
#[derive(Debug, Default)]
pub(super) struct Frames {
    rest: BytesMut,
}

/// The bytes of a message.
pub(super) fn frame(flags: u8, message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEAD_BYTES + message.len());
    bytes.put_u8(flags);
    bytes.put_u32(message.len() as u32);
    bytes.put_slice(message);
    bytes.freeze()
}

impl Frames {
    /// More bytes have come.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.rest.put_slice(bytes);
    }

    /// The next message that is there whole.
    pub(super) fn pop(&mut self) -> Option<Frame> {
        let length = u32::from_be_bytes(self.rest.get(1..HEAD_BYTES)?.try_into().unwrap()) as usize;
        if self.rest.len() < HEAD_BYTES + length {
            return None;
        }
        let flags = self.rest.get_u8();
        self.rest.advance(HEAD_BYTES - 1);
        Some(Frame { flags, message: self.rest.split_to(length).freeze() })
    }
}
