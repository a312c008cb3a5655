//! The gateway's side of a WebSocket, and what the client says first.

use super::messages::envelope;

/// The request that names the run gets this answer when the watch has begun.
const WATCHING: &[u8] = br#""request_id":"watch""#;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const LAST: u8 = 0x80;
const MASKED: u8 = 0x80;
/// Lengths in two and in eight bytes.
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// Takes the frames off a WebSocket.
#[derive(Debug, Default)]
pub(super) struct WebSocket {
    /// What has come and is no whole frame yet, the answer to the upgrade included.
    rest: Vec<u8>,
    upgraded: bool,
    answered: bool,
    ended: bool,
    replies: Vec<u8>,
}

/// What is sent first: the upgrade, who is there, and which run is watched.
pub(super) fn request(run_id: &str) -> Vec<u8> {
    let head = "GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    let watch = format!(r#"{{"type":"watch","ts":1,"request_id":"watch","run_id":"{run_id}"}}"#);
    let hello = br#"{"type":"hello","ts":1}"#;
    [head.as_bytes(), &frame(TEXT, hello), &frame(TEXT, watch.as_bytes())].concat()
}

impl WebSocket {
    /// True when the watch has begun.
    pub(super) fn answered(&self) -> bool {
        self.answered
    }

    /// True when the gateway has closed the socket.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// What has to be sent: the answers to pings.
    pub(super) fn replies(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.replies)
    }

    /// Takes up bytes from the wire and appends the messages they carry to `payload`, each in an envelope.
    pub(super) fn take(&mut self, bytes: &[u8], payload: &mut Vec<u8>) {
        self.rest.extend_from_slice(bytes);
        let mut used = 0;
        if !self.upgraded {
            let Some(end) = memchr::memmem::find(&self.rest, b"\r\n\r\n") else { return };
            let head = String::from_utf8_lossy(&self.rest[..end]);
            assert!(head.starts_with("HTTP/1.1 101"), "{head}");
            (self.upgraded, used) = (true, end + 4);
        }
        while let Some((opcode, begin, end)) = first(&self.rest[used..]) {
            let content = &self.rest[used + begin..used + end];
            match opcode {
                TEXT => {
                    self.answered |= memchr::memmem::find(content, WATCHING).is_some();
                    payload.extend_from_slice(&envelope(content));
                }
                PING => self.replies.extend(frame(PONG, content)),
                CLOSE => self.ended = true,
                _ => {}
            }
            used += end;
        }
        self.rest.drain(..used);
    }
}

/// The first whole frame: what it is, and where its content begins and ends. A server masks nothing.
fn first(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (opcode, length) = (*bytes.first()? & 0x0f, *bytes.get(1)?);
    let (begin, length) = match length {
        LENGTH_16 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into()),
        LENGTH_64 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        length => (2, length.into()),
    };
    let end = begin + usize::try_from(length).ok()?;
    (bytes.len() >= end).then_some((opcode, begin, end))
}

/// A frame of a client, masked with zeros: the content stays as it is.
fn frame(opcode: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![LAST | opcode];
    match u16::try_from(content.len()) {
        Ok(length @ 0..126) => bytes.push(MASKED | length as u8),
        Ok(length) => {
            bytes.push(MASKED | LENGTH_16);
            bytes.extend(length.to_be_bytes());
        }
        Err(_) => unreachable!("this program says nothing so long"),
    }
    bytes.extend([0; 4]);
    bytes.extend_from_slice(content);
    bytes
}
