//! Cursors: opaque texts that name a position in one run's log.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::{RunId, session_cursor::SESSION_CURSOR};

/// The first byte of every cursor: the kind of log it belongs to and the format it is written in.
pub(super) const RUN_CURSOR: u8 = 1;
const RUN_CURSOR_BYTES: usize = 1 + 16 + 8;

/// The position right after one event of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The run whose log is meant.
    pub run_id: RunId,
    /// The sequence of the last event seen; 0 stands before the first.
    pub sequence: u64,
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// With the first event.
    Start,
    /// With what comes after the newest event at the time of asking.
    Now,
    /// With the event after this sequence.
    After(u64),
}

/// Why a text does not name a position in what is to be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// The text is no cursor at all.
    #[error("after is not a cursor")]
    Malformed,
    /// The text is a cursor of another run, or of a session where a run is watched, or the other way round.
    #[error("after is a cursor of another run or session")]
    Foreign,
}

impl Cursor {
    /// Reads what [`Cursor`]'s `Display` wrote.
    pub fn parse(text: &str) -> Result<Self, CursorError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError::Malformed)?;
        if bytes.first() == Some(&SESSION_CURSOR) {
            return Err(CursorError::Foreign);
        }
        let bytes: [u8; RUN_CURSOR_BYTES] = bytes.try_into().map_err(|_| CursorError::Malformed)?;
        let [RUN_CURSOR, rest @ ..] = bytes else { return Err(CursorError::Malformed) };
        let (id, sequence) = rest.split_at(16);
        let id = <[u8; 16]>::try_from(id).map_err(|_| CursorError::Malformed)?;
        let sequence = <[u8; 8]>::try_from(sequence).map_err(|_| CursorError::Malformed)?;
        Ok(Self { run_id: RunId::new(Uuid::from_bytes(id)), sequence: u64::from_be_bytes(sequence) })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = [0; RUN_CURSOR_BYTES];
        bytes[0] = RUN_CURSOR;
        bytes[1..17].copy_from_slice(self.run_id.uuid().as_bytes());
        bytes[17..].copy_from_slice(&self.sequence.to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl Position {
    /// Reads the `after` of a request for the events of `run_id`: empty, `now`, or one of the run's cursors.
    pub fn parse(after: &str, run_id: RunId) -> Result<Self, CursorError> {
        match after {
            "" => Ok(Self::Start),
            "now" => Ok(Self::Now),
            text => match Cursor::parse(text)? {
                cursor if cursor.run_id != run_id => Err(CursorError::Foreign),
                cursor => Ok(Self::After(cursor.sequence)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: RunId = RunId::new(Uuid::from_u128(7));

    #[test]
    fn a_cursor_reads_back() {
        for sequence in [0, 1, 255, 256, u64::MAX] {
            let cursor = Cursor { run_id: RUN, sequence };
            assert_eq!(Cursor::parse(&cursor.to_string()), Ok(cursor));
        }
    }

    #[test]
    fn other_texts_are_no_cursors() {
        for text in ["0", "-1", "1", "latest", "AQ", "now ", "💥"] {
            assert_eq!(Position::parse(text, RUN), Err(CursorError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn a_cursor_belongs_to_one_run() {
        let cursor = Cursor { run_id: RunId::new(Uuid::from_u128(8)), sequence: 3 };
        assert_eq!(Position::parse(&cursor.to_string(), RUN), Err(CursorError::Foreign));
    }
}
