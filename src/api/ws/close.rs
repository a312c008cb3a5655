//! Why a socket is closed, and whether its client should come back.

use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

/// Why the gateway closes a socket. `docs/guides/websocket.md` lists the codes for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Close {
    /// The gateway ends. Come back, and resume.
    Draining,
    /// What came is not the WebSocket protocol. A client that does the same again is closed again.
    Protocol,
    /// A text that is not UTF-8. The same.
    NotText,
    /// Too many messages in a row that could not be acted on. The same.
    TooManyInvalid,
    /// A message longer than may be. The same.
    TooLong,
    /// A fault of the gateway. Come back.
    Fault,
    /// The client does not keep up. Come back, and resume.
    Slow,
    /// Nothing has come for too long. Come back, and resume.
    Dead,
}

impl Close {
    /// What the client is told.
    pub(super) fn frame(self) -> CloseFrame {
        let (code, reason) = match self {
            Self::Draining => (CloseCode::Away, "the gateway is draining; come back and resume"),
            Self::Protocol => (CloseCode::Protocol, "not the WebSocket protocol"),
            Self::NotText => (CloseCode::Invalid, "a text that is not UTF-8"),
            Self::TooManyInvalid => (CloseCode::Policy, "too many invalid messages in a row"),
            Self::TooLong => (CloseCode::Size, "the message is too long"),
            Self::Fault => (CloseCode::Error, "internal error; come back and resume"),
            Self::Slow => (CloseCode::Again, "the client does not keep up; come back and resume"),
            Self::Dead => (CloseCode::Library(4408), "nothing came for too long; come back and resume"),
        };
        CloseFrame { code, reason: reason.into() }
    }
}
