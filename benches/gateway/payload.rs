//! The text of an event: its number, when it was said, and filling up to the wanted length. It has no character that
//! any wire format escapes, so it is found again as it is.

use crate::clock;

/// Stands before the number.
const MARK: u8 = b'~';
const NUMBER: usize = 8;
const TIME: usize = 16;

/// What is read of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// 0 for the first text of a run.
    pub(crate) number: u64,
    /// When it was said, by [`clock::nanoseconds`].
    pub(crate) said_at: u64,
}

/// A line of a worker that says the text `number` of `bytes` now.
pub(crate) fn line(number: u64, bytes: usize) -> String {
    format!("{{\"type\":\"delta\",\"text\":\"{}\"}}\n", text(number, bytes))
}

/// The text itself.
pub(crate) fn text(number: u64, bytes: usize) -> String {
    let mut text = format!("~{number:08x}{:016x}", clock::nanoseconds());
    let filling = "the quick brown fox jumps over the lazy dog and ".chars().cycle();
    text.extend(filling.take(bytes.saturating_sub(1 + NUMBER + TIME)));
    text
}

/// Finds the stamp of the text that a message carries, if it carries one.
pub(crate) fn find(message: &[u8]) -> Option<Stamp> {
    // A binary message may have the mark's byte in its numbers; then no digits follow.
    memchr::memchr_iter(MARK, message).find_map(|mark| {
        let digits = &message[mark + 1..];
        let number = hexadecimal(digits.get(..NUMBER)?)?;
        let said_at = hexadecimal(digits.get(NUMBER..NUMBER + TIME)?)?;
        Some(Stamp { number, said_at })
    })
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(value))
    })
}
