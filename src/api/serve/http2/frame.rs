//! Frames as they stand on the wire (RFC 9113, sections 4 and 6).

use bytes::{Buf as _, Bytes};

/// Bytes in front of every frame's payload.
pub(super) const FRAME_HEAD_BYTES: usize = 9;
/// Bytes of a payload: what the protocol begins with, and what is asked of clients.
pub(super) const FRAME_BYTES: usize = 16_384;

pub(super) const END_STREAM: u8 = 0x1;
pub(super) const ACK: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Bytes of what a stream depends on.
const PRIORITY_BYTES: usize = 5;
/// The highest bit of a stream's number and of a window is reserved.
const RESERVED: u32 = 1 << 31;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// Of an extension. It is passed over.
    Unknown(u8),
}

/// Why a stream or a connection ends (section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    NoError = 0x0,
    ProtocolError = 0x1,
    InternalError = 0x2,
    FlowControlError = 0x3,
    StreamClosed = 0x5,
    FrameSizeError = 0x6,
    RefusedStream = 0x7,
    Cancel = 0x8,
    CompressionError = 0x9,
    EnhanceYourCalm = 0xb,
}

/// What a client did that the protocol does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    /// Ends the connection.
    #[error("the connection ends with {0:?}: {1}")]
    Connection(Reason, &'static str),
    /// Ends one stream.
    #[error("stream {0} ends with {1:?}")]
    Stream(u32, Reason),
}

/// What stands in front of a payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameHead {
    pub(super) length: usize,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    /// 0: the connection.
    pub(super) stream: u32,
}

impl FrameHead {
    pub(super) fn read(bytes: [u8; FRAME_HEAD_BYTES]) -> Self {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = bytes;
        Self {
            length: u32::from_be_bytes([0, l0, l1, l2]) as usize,
            kind: Kind::of(kind),
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & !RESERVED,
        }
    }

    pub(super) fn bytes(self) -> [u8; FRAME_HEAD_BYTES] {
        let [_, l0, l1, l2] = (self.length as u32).to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [l0, l1, l2, self.kind.number(), self.flags, s0, s1, s2, s3]
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload without its padding.
    pub(super) fn unpadded(self, mut payload: Bytes) -> Result<Bytes, Violation> {
        if self.has(PADDED) {
            let padding = payload.try_get_u8().map_err(|_| TOO_SHORT)?;
            let length = payload.len().checked_sub(usize::from(padding));
            payload.truncate(length.ok_or(protocol_error("more padding than payload"))?);
        }
        Ok(payload)
    }

    /// The part of a head that this frame carries: its payload without padding and priority. The second: the stream that it
    /// shall depend on, which means nothing here.
    pub(super) fn fragment(self, payload: Bytes) -> Result<(Bytes, Option<u32>), Violation> {
        let mut fragment = self.unpadded(payload)?;
        if !self.has(PRIORITY) {
            return Ok((fragment, None));
        }
        if fragment.len() < PRIORITY_BYTES {
            return Err(TOO_SHORT);
        }
        let depends = u31(&fragment);
        fragment.advance(PRIORITY_BYTES);
        Ok((fragment, Some(depends)))
    }
}

impl Kind {
    fn of(number: u8) -> Self {
        match number {
            0x0 => Self::Data,
            0x1 => Self::Headers,
            0x2 => Self::Priority,
            0x3 => Self::RstStream,
            0x4 => Self::Settings,
            0x5 => Self::PushPromise,
            0x6 => Self::Ping,
            0x7 => Self::GoAway,
            0x8 => Self::WindowUpdate,
            0x9 => Self::Continuation,
            other => Self::Unknown(other),
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Data => 0x0,
            Self::Headers => 0x1,
            Self::Priority => 0x2,
            Self::RstStream => 0x3,
            Self::Settings => 0x4,
            Self::PushPromise => 0x5,
            Self::Ping => 0x6,
            Self::GoAway => 0x7,
            Self::WindowUpdate => 0x8,
            Self::Continuation => 0x9,
            Self::Unknown(other) => other,
        }
    }

    /// Bytes of a payload whose length is fixed.
    pub(super) fn fixed_length(self) -> Option<usize> {
        match self {
            Self::Priority => Some(PRIORITY_BYTES),
            Self::RstStream | Self::WindowUpdate => Some(4),
            Self::Ping => Some(8),
            _ => None,
        }
    }
}

const TOO_SHORT: Violation = Violation::Connection(Reason::FrameSizeError, "a frame is too short");

/// A violation that is told as an error of the protocol, and ends the connection.
pub(super) const fn protocol_error(what: &'static str) -> Violation {
    Violation::Connection(Reason::ProtocolError, what)
}

/// The number in the first four bytes of a payload, without its reserved bit.
pub(super) fn u31(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(0, |it| u32::from_be_bytes(*it)) & !RESERVED
}

/// A whole frame with a short payload.
pub(super) fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Bytes {
    let head = FrameHead { length: payload.len(), kind, flags, stream };
    [&head.bytes(), payload].concat().into()
}

/// The frames of a head that is compressed already: as many as it takes, the first of them one that begins it.
pub(super) fn head_frames(stream: u32, head: &[u8], ends_stream: bool) -> Bytes {
    let parts = head.len().div_ceil(FRAME_BYTES).max(1);
    let mut frames = Vec::with_capacity(head.len() + parts * FRAME_HEAD_BYTES);
    for part in 0..parts {
        let kind = if part == 0 { Kind::Headers } else { Kind::Continuation };
        let mut flags = if part == 0 && ends_stream { END_STREAM } else { 0 };
        if part + 1 == parts {
            flags |= END_HEADERS;
        }
        let begin = part * FRAME_BYTES;
        let fragment = &head[begin..head.len().min(begin + FRAME_BYTES)];
        frames.extend_from_slice(&FrameHead { length: fragment.len(), kind, flags, stream }.bytes());
        frames.extend_from_slice(fragment);
    }
    frames.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_head_goes_on_in_further_frames() {
        let head: Vec<_> = (0..2 * FRAME_BYTES + 5).map(|it| it as u8).collect();
        let mut frames = head_frames(7, &head, true);
        let mut read = Vec::new();
        let mut seen = Vec::new();
        while let Some(bytes) = frames.first_chunk() {
            let frame = FrameHead::read(*bytes);
            frames.advance(FRAME_HEAD_BYTES);
            read.extend(frames.split_to(frame.length));
            seen.push((frame.kind, frame.flags, frame.stream));
        }
        assert_eq!(read, head);
        let more = (Kind::Continuation, 0, 7);
        assert_eq!(seen, [(Kind::Headers, END_STREAM, 7), more, (Kind::Continuation, END_HEADERS, 7)]);
    }

    #[test]
    fn padding_is_taken_off_and_may_not_be_longer_than_what_it_pads() {
        let head = |flags| FrameHead { length: 0, kind: Kind::Headers, flags, stream: 1 };
        let payload = |bytes: &'static [u8]| Bytes::from_static(bytes);
        assert_eq!(head(PADDED).unpadded(payload(b"\x02abcd")).unwrap(), "ab");
        assert_eq!(head(0).unpadded(payload(b"\x02abcd")).unwrap(), "\x02abcd");
        assert!(head(PADDED).unpadded(payload(b"\x05abcd")).is_err());
        assert!(head(PADDED).unpadded(payload(b"")).is_err());
        let (fragment, depends) =
            head(PADDED | PRIORITY).fragment(payload(b"\x01\x80\0\0\x03\x10ab")).unwrap();
        assert_eq!((&fragment[..], depends), (&b"a"[..], Some(3)));
        assert!(head(PRIORITY).fragment(payload(b"\0\0\0\x03")).is_err());
    }
}
