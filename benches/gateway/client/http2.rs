//! As much of HTTP/2 as a watcher needs: requests with literal headers, windows that never close, DATA frames.

/// Ends a stream, or answers SETTINGS and PING.
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const FRAME_HEAD: usize = 9;
/// The largest window there is: 2 GiB go through a stream, and through a connection, without another word.
const WINDOW: u32 = (1 << 31) - 1;
/// What a connection's window is at first.
const FIRST_WINDOW: u32 = 65_535;

/// Takes frames apart.
#[derive(Debug, Default)]
pub(super) struct Http2 {
    /// The beginning of a frame whose rest has not come yet.
    partial: Vec<u8>,
    answered: u32,
    ended: u32,
    /// What the server is owed: answers to SETTINGS and PING.
    replies: Vec<u8>,
}

impl Http2 {
    /// Streams whose response has begun.
    pub(super) fn answered(&self) -> u32 {
        self.answered
    }

    /// Streams that have ended.
    pub(super) fn ended(&self) -> u32 {
        self.ended
    }

    /// What is to be written to the server now.
    pub(super) fn replies(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.replies)
    }

    /// Takes up bytes from the wire and appends the contents of all DATA frames to `payload`.
    pub(super) fn take(&mut self, bytes: &[u8], payload: &mut Vec<u8>) {
        if self.partial.is_empty() {
            let used = self.frames(bytes, payload);
            self.partial.extend_from_slice(&bytes[used..]);
        } else {
            let mut all = std::mem::take(&mut self.partial);
            all.extend_from_slice(bytes);
            let used = self.frames(&all, payload);
            all.drain(..used);
            self.partial = all;
        }
    }

    fn frames(&mut self, bytes: &[u8], payload: &mut Vec<u8>) -> usize {
        let mut used = 0;
        while let Some(head) = bytes.get(used..used + FRAME_HEAD) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let begin = used + FRAME_HEAD;
            let Some(content) = bytes.get(begin..begin + length) else { break };
            self.frame(head[3], head[4], content, payload);
            used = begin + length;
        }
        used
    }

    fn frame(&mut self, kind: u8, flags: u8, content: &[u8], payload: &mut Vec<u8>) {
        match kind {
            DATA => payload.extend_from_slice(content),
            HEADERS if flags & END_STREAM == 0 => self.answered += 1,
            SETTINGS if flags & ACK == 0 => frame(&mut self.replies, SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => frame(&mut self.replies, PING, ACK, 0, content),
            RST_STREAM | GOAWAY => panic!("the server broke off: frame {kind} {content:?}"),
            _ => {}
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            self.ended += 1;
        }
    }
}

/// What a connection begins with.
pub(super) fn preface() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut settings = Vec::new();
    // No push, and the window of a stream.
    for (name, value) in [(2_u16, 0), (4, WINDOW)] {
        settings.extend_from_slice(&name.to_be_bytes());
        settings.extend_from_slice(&value.to_be_bytes());
    }
    frame(&mut bytes, SETTINGS, 0, 0, &settings);
    frame(&mut bytes, WINDOW_UPDATE, 0, 0, &(WINDOW - FIRST_WINDOW).to_be_bytes());
    bytes
}

/// A gRPC request on stream number `stream` (odd) with one message.
pub(super) fn grpc_request(bytes: &mut Vec<u8>, stream: u32, path: &str, message: &[u8]) {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let mut block = Vec::new();
    for (name, value) in headers {
        // A literal that no table keeps, without Huffman's code; all are shorter than 127 bytes.
        block.push(0);
        for text in [name, value] {
            block.push(text.len() as u8);
            block.extend_from_slice(text.as_bytes());
        }
    }
    frame(bytes, HEADERS, END_HEADERS, stream, &block);
    frame(bytes, DATA, END_STREAM, stream, &super::messages::envelope(message));
}

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, content: &[u8]) {
    bytes.extend_from_slice(&(content.len() as u32).to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(content);
}
