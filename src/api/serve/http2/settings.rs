//! What both sides tell of themselves (RFC 9113, section 6.5).

use bytes::Bytes;

use super::{
    HEAD_BYTES, STREAM_WINDOW,
    frame::{Kind, Reason, Violation, frame, protocol_error},
};

const HEADER_TABLE_SIZE: u16 = 0x1;
const ENABLE_PUSH: u16 = 0x2;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;

/// Bytes of one setting.
const SETTING_BYTES: usize = 6;
/// The largest window.
pub(super) const MAX_WINDOW: i64 = (1 << 31) - 1;

/// What the gateway tells a client at the beginning.
pub(super) fn own(max_streams: u32) -> Bytes {
    let settings = [
        (MAX_CONCURRENT_STREAMS, max_streams),
        (INITIAL_WINDOW_SIZE, STREAM_WINDOW as u32),
        (MAX_HEADER_LIST_SIZE, HEAD_BYTES as u32),
    ];
    let payload: Vec<u8> = settings.iter().flat_map(|(id, value)| setting(*id, *value)).collect();
    frame(Kind::Settings, 0, 0, &payload)
}

/// Gives the window that streams begin with, when a client's settings tell one. Its other settings mean nothing here: no
/// table is used and nothing is pushed; no frame is larger than the least that every client takes.
pub(super) fn initial_window(payload: &[u8]) -> Result<Option<i64>, Violation> {
    let (settings, rest) = payload.as_chunks::<SETTING_BYTES>();
    if !rest.is_empty() {
        return Err(Violation::Connection(Reason::FrameSizeError, "settings of a wrong length"));
    }
    let mut window = None;
    for &[i0, i1, v0, v1, v2, v3] in settings {
        let value = u32::from_be_bytes([v0, v1, v2, v3]);
        match u16::from_be_bytes([i0, i1]) {
            ENABLE_PUSH if value > 1 => return Err(protocol_error("push is neither on nor off")),
            INITIAL_WINDOW_SIZE if i64::from(value) > MAX_WINDOW => {
                return Err(Violation::Connection(Reason::FlowControlError, "too large a window"));
            }
            INITIAL_WINDOW_SIZE => window = Some(i64::from(value)),
            MAX_FRAME_SIZE if !(1 << 14..1 << 24).contains(&value) => {
                return Err(protocol_error("a size of frames out of its bounds"));
            }
            // Of it, and of those that are not known, nothing has to be kept.
            HEADER_TABLE_SIZE | MAX_CONCURRENT_STREAMS | MAX_HEADER_LIST_SIZE => {}
            _ => {}
        }
    }
    Ok(window)
}

fn setting(id: u16, value: u32) -> [u8; SETTING_BYTES] {
    let ([i0, i1], [v0, v1, v2, v3]) = (id.to_be_bytes(), value.to_be_bytes());
    [i0, i1, v0, v1, v2, v3]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_their_bounds_are_refused() {
        let of =
            |all: &[(u16, u32)]| all.iter().flat_map(|(id, value)| setting(*id, *value)).collect::<Vec<_>>();
        let read = |all: &[(u16, u32)]| initial_window(&of(all));
        assert_eq!(read(&[(ENABLE_PUSH, 0), (0xff, 7), (MAX_FRAME_SIZE, 1 << 14)]), Ok(None));
        assert_eq!(read(&[(INITIAL_WINDOW_SIZE, 5), (INITIAL_WINDOW_SIZE, 6)]), Ok(Some(6)));
        for bad in
            [(ENABLE_PUSH, 2), (INITIAL_WINDOW_SIZE, 1 << 31), (MAX_FRAME_SIZE, 1), (MAX_FRAME_SIZE, 1 << 24)]
        {
            assert!(read(&[bad]).is_err(), "{bad:?}");
        }
        assert!(initial_window(&[0; 5]).is_err());
    }
}
