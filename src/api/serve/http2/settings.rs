//! What both sides tell of themselves (RFC 9113, section 6.5).

use bytes::Bytes;

use super::{
    HEAD_BYTES, STREAM_WINDOW,
    frame::{Kind, Reason, Violation, frame, protocol_error},
    hpack::TABLE_BYTES,
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

/// What a client's settings tell that matters here. Its others do not: no table is used and nothing is pushed; no frame is
/// larger than the least that every client takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// What streams begin with.
    pub(super) window: Option<i64>,
    /// The table for heads is smaller than it was at the beginning. Who writes heads has to say how much of it is used, also when
    /// that is nothing.
    pub(super) small_table: bool,
}

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

/// Reads a client's settings.
pub(super) fn read(payload: &[u8]) -> Result<Told, Violation> {
    let (settings, rest) = payload.as_chunks::<SETTING_BYTES>();
    if !rest.is_empty() {
        return Err(Violation::Connection(Reason::FrameSizeError, "settings of a wrong length"));
    }
    let mut told = Told::default();
    for &[i0, i1, v0, v1, v2, v3] in settings {
        let value = u32::from_be_bytes([v0, v1, v2, v3]);
        match u16::from_be_bytes([i0, i1]) {
            ENABLE_PUSH if value > 1 => return Err(protocol_error("push is neither on nor off")),
            INITIAL_WINDOW_SIZE if i64::from(value) > MAX_WINDOW => {
                return Err(Violation::Connection(Reason::FlowControlError, "too large a window"));
            }
            INITIAL_WINDOW_SIZE => told.window = Some(i64::from(value)),
            HEADER_TABLE_SIZE => told.small_table |= (value as usize) < TABLE_BYTES,
            MAX_FRAME_SIZE if !(1 << 14..1 << 24).contains(&value) => {
                return Err(protocol_error("a size of frames out of its bounds"));
            }
            // Of it, and of those that are not known, nothing has to be kept.
            MAX_CONCURRENT_STREAMS | MAX_HEADER_LIST_SIZE => {}
            _ => {}
        }
    }
    Ok(told)
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
        let read = |all: &[(u16, u32)]| read(&of(all));
        let of_window = |window| Told { window, small_table: false };
        assert_eq!(read(&[(ENABLE_PUSH, 0), (0xff, 7), (MAX_FRAME_SIZE, 1 << 14)]), Ok(of_window(None)));
        assert_eq!(read(&[(INITIAL_WINDOW_SIZE, 5), (INITIAL_WINDOW_SIZE, 6)]), Ok(of_window(Some(6))));
        let table = |size| read(&[(HEADER_TABLE_SIZE, size)]).unwrap().small_table;
        assert_eq!([0, 4095, 4096, 1 << 20].map(table), [true, true, false, false]);
        for bad in
            [(ENABLE_PUSH, 2), (INITIAL_WINDOW_SIZE, 1 << 31), (MAX_FRAME_SIZE, 1), (MAX_FRAME_SIZE, 1 << 24)]
        {
            assert!(read(&[bad]).is_err(), "{bad:?}");
        }
        assert!(super::read(&[0; 5]).is_err());
    }
}
