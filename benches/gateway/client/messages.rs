//! Where a message ends and the next one begins.

/// Bytes in front of an enveloped message: flags and length.
const ENVELOPE_HEAD: usize = 5;

/// How messages stand behind each other.
#[derive(Debug, Clone, Copy)]
pub(super) enum Framing {
    /// An empty line ends each: SSE.
    EmptyLine,
    /// Flags and length in front of each: gRPC, gRPC-Web, Connect.
    Envelope,
    /// All have as many bytes: the floor.
    Fixed(usize),
}

impl Framing {
    /// Shows all whole messages at the beginning of `payload` to `message`, and takes them out.
    pub(super) fn split(self, payload: &mut Vec<u8>, mut message: impl FnMut(&[u8])) {
        let mut used = 0;
        while let Some((begin, end, next)) = self.first(&payload[used..]) {
            message(&payload[used + begin..used + end]);
            used += next;
        }
        payload.drain(..used);
    }

    /// Where the first message begins and ends, and where the next one begins.
    fn first(self, payload: &[u8]) -> Option<(usize, usize, usize)> {
        match self {
            Self::EmptyLine => memchr::memmem::find(payload, b"\n\n").map(|end| (0, end, end + 2)),
            Self::Envelope => {
                let length = payload.get(1..ENVELOPE_HEAD)?;
                let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
                let end = ENVELOPE_HEAD + length;
                (payload.len() >= end).then_some((ENVELOPE_HEAD, end, end))
            }
            Self::Fixed(bytes) => (payload.len() >= bytes).then_some((0, bytes, bytes)),
        }
    }
}

/// A message in its envelope.
pub(super) fn envelope(message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&(message.len() as u32).to_be_bytes());
    bytes.extend_from_slice(message);
    bytes
}
