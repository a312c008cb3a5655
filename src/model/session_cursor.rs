//! Cursors of whole sessions: texts that name a position in the logs of all runs of a session.
//!
//! Runs stand in the order of their places. Up to the frontier every run has been told to its end, except those that are
//! listed as open, each with the last sequence that was told. Behind the frontier nothing has been told.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{CursorError, Digest, SessionId, cursor::RUN_CURSOR, limits};

/// The first byte; see [`RUN_CURSOR`].
pub(super) const SESSION_CURSOR: u8 = 2;
const DIGEST_BYTES: usize = 16;
/// What a number takes at most: seven bits in each byte.
const NUMBER_BYTES: usize = 10;
const MOST_BYTES: usize = 1 + DIGEST_BYTES + NUMBER_BYTES + limits::OPEN_RUNS * 2 * NUMBER_BYTES;

/// A run that has been told in part, or not yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenRun {
    /// The run's place in the order in which logs began.
    pub place: u64,
    /// The sequence of the last event told; 0 stands before the first.
    pub sequence: u64,
}

/// A position in the logs of all runs of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionPlace {
    frontier: u64,
    /// In the order of their places, none beyond the frontier. At most [`limits::OPEN_RUNS`].
    open: Vec<OpenRun>,
}

/// Where the watch of a session begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionPosition {
    /// With the first event of the oldest run that is kept.
    Start,
    /// With what comes after the newest events at the time of asking.
    Now,
    /// With what has not been told there.
    After(SessionPlace),
}

impl SessionPlace {
    /// Before everything.
    pub fn start() -> Self {
        Self::default()
    }

    /// No run beyond this place has been opened.
    pub fn frontier(&self) -> u64 {
        self.frontier
    }

    /// The runs that have not been told to their end, in the order of their places.
    pub fn open_runs(&self) -> &[OpenRun] {
        &self.open
    }

    /// How many more runs can be open. When none can, the next one waits until one of them has ended.
    pub fn room(&self) -> usize {
        limits::OPEN_RUNS.saturating_sub(self.open.len())
    }

    /// Opens the next run of the session, of which everything up to `sequence` counts as told.
    pub fn open(&mut self, place: u64, sequence: u64) {
        debug_assert!(place > self.frontier && self.room() > 0, "runs are opened in order, and not too many");
        self.frontier = place;
        self.open.push(OpenRun { place, sequence });
    }

    /// Passes over a run that has ended, or is told already.
    pub fn skip(&mut self, place: u64) {
        self.frontier = self.frontier.max(place);
        self.open.retain(|it| it.place != place);
    }

    /// An event of an open run has been told. After its terminal event the run is no longer open.
    pub fn told(&mut self, place: u64, sequence: u64, terminal: bool) {
        if terminal {
            self.skip(place);
        } else if let Some(run) = self.open.iter_mut().find(|it| it.place == place) {
            run.sequence = sequence;
        }
    }

    /// The position as a text that only the session's own watches take. `session` is [`SessionPlace::digest_of`] it.
    pub fn cursor(&self, session: Digest) -> String {
        let mut bytes = Vec::with_capacity(MOST_BYTES);
        bytes.push(SESSION_CURSOR);
        bytes.extend_from_slice(&session.0);
        push_number(&mut bytes, self.frontier);
        for run in &self.open {
            push_number(&mut bytes, self.frontier - run.place);
            push_number(&mut bytes, run.sequence);
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What stands for a session in its cursors.
    pub fn digest_of(session_id: &SessionId) -> Digest {
        Digest::of(&[session_id.as_str().as_bytes()])
    }

    /// Reads what [`SessionPlace::cursor`] wrote.
    fn parse(text: &str, session_id: &SessionId) -> Result<Self, CursorError> {
        // Base64 writes four characters for three bytes.
        if text.len() > MOST_BYTES.div_ceil(3) * 4 {
            return Err(CursorError::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError::Malformed)?;
        let rest = match bytes.split_first() {
            Some((&SESSION_CURSOR, rest)) => rest,
            Some((&RUN_CURSOR, _)) => return Err(CursorError::Foreign),
            _ => return Err(CursorError::Malformed),
        };
        let (digest, mut rest) = rest.split_first_chunk::<DIGEST_BYTES>().ok_or(CursorError::Malformed)?;
        let place = Self::read(&mut rest).ok_or(CursorError::Malformed)?;
        if *digest == Self::digest_of(session_id).0 { Ok(place) } else { Err(CursorError::Foreign) }
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let frontier = pop_number(bytes)?;
        let mut open: Vec<OpenRun> = Vec::new();
        while !bytes.is_empty() {
            let place = frontier.checked_sub(pop_number(bytes)?)?;
            let sequence = pop_number(bytes)?;
            let in_order = open.last().is_none_or(|before| before.place < place);
            if !in_order || open.len() == limits::OPEN_RUNS {
                return None;
            }
            open.push(OpenRun { place, sequence });
        }
        Some(Self { frontier, open })
    }
}

impl SessionPosition {
    /// Reads the `after` of a request for the events of `session_id`: empty, `now`, or one of the session's cursors.
    pub fn parse(after: &str, session_id: &SessionId) -> Result<Self, CursorError> {
        match after {
            "" => Ok(Self::Start),
            "now" => Ok(Self::Now),
            text => Ok(Self::After(SessionPlace::parse(text, session_id)?)),
        }
    }
}

/// Seven bits in each byte, the lowest first; all bytes but the last have the eighth.
fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn pop_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        // The last byte has room for one bit.
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use uuid::Uuid;

    use super::*;
    use crate::model::{Cursor, Position, RunId};

    fn session(number: u128) -> SessionId {
        SessionId::new(Uuid::from_u128(number))
    }

    fn read_back(place: &SessionPlace) -> SessionPlace {
        let session = session(1);
        let cursor = place.cursor(SessionPlace::digest_of(&session));
        match SessionPosition::parse(&cursor, &session) {
            Ok(SessionPosition::After(place)) => place,
            other => panic!("{cursor}: {other:?}"),
        }
    }

    /// Tells the runs, whose lengths are given, by the choices: which open run comes next, and how many of its events.
    /// Stops after `cut` events; gives them as place and sequence.
    fn tell(
        place: &mut SessionPlace,
        lengths: &[(u64, u64)],
        choices: &mut impl Iterator<Item = (usize, u64)>,
        cut: usize,
    ) -> Vec<(u64, u64)> {
        let mut told = Vec::new();
        loop {
            let (frontier, room) = (place.frontier(), place.room());
            let next = lengths.iter().filter(|(at, _)| *at > frontier).take(room);
            next.for_each(|(at, _)| place.open(*at, 0));
            let open = place.open_runs();
            let Some((turn, count)) = choices.next().filter(|_| !open.is_empty()) else { return told };
            let OpenRun { place: at, sequence } = open[turn % open.len()];
            let length = lengths.iter().find(|it| it.0 == at).unwrap().1;
            for sequence in (sequence + 1..=length).take(count as usize) {
                if told.len() == cut {
                    return told;
                }
                place.told(at, sequence, sequence == length);
                told.push((at, sequence));
            }
        }
    }

    proptest! {
        #[test]
        fn every_interleaving_cut_anywhere_tells_each_event_once(
            runs in vec((1u64..1 << 40, 1u64..6), 0..40),
            choices in vec((any::<usize>(), 1u64..4), 600),
            cuts in vec(0usize..12, 60),
        ) {
            // Places rise by steps; a run's last event is its terminal one.
            let place_of = |sum: &mut u64, (step, length): &(u64, u64)| { *sum += step; Some((*sum, *length)) };
            let lengths: Vec<_> = runs.iter().scan(0, place_of).collect();
            let mut choices = choices.into_iter();
            let mut place = SessionPlace::start();
            let mut told = Vec::new();
            for cut in cuts.into_iter().chain([usize::MAX]) {
                told.extend(tell(&mut place, &lengths, &mut choices, cut));
                prop_assert!(place.open_runs().len() <= limits::OPEN_RUNS);
                place = read_back(&place);
            }
            for (at, length) in &lengths {
                let of_run: Vec<_> = told.iter().filter(|it| it.0 == *at).map(|it| it.1).collect();
                prop_assert_eq!(of_run, (1..=*length).collect::<Vec<_>>());
            }
            prop_assert_eq!(told.len() as u64, lengths.iter().map(|it| it.1).sum::<u64>());
            prop_assert!(place.open_runs().is_empty());
        }

        #[test]
        fn a_cursor_reads_back(frontier in any::<u64>(), distances in vec((any::<u64>(), any::<u64>()), 0..=limits::OPEN_RUNS)) {
            let mut open: Vec<_> = distances.iter()
                .map(|(distance, sequence)| OpenRun { place: frontier - distance % frontier.max(1), sequence: *sequence })
                .collect();
            open.sort_by_key(|it| it.place);
            open.dedup_by_key(|it| it.place);
            let place = SessionPlace { frontier, open };
            prop_assert_eq!(read_back(&place), place);
        }

        #[test]
        fn no_text_makes_trouble(bytes in vec(any::<u8>(), 0..80)) {
            let mut whole = vec![SESSION_CURSOR];
            whole.extend_from_slice(&SessionPlace::digest_of(&session(1)).0);
            whole.extend_from_slice(&bytes);
            let read = SessionPosition::parse(&URL_SAFE_NO_PAD.encode(whole), &session(1));
            if let Ok(SessionPosition::After(place)) = read {
                prop_assert!(place.open.iter().all(|it| it.place <= place.frontier));
                prop_assert!(place.open.is_sorted_by(|one, other| one.place < other.place));
            }
        }
    }

    #[test]
    fn a_cursor_is_its_sessions_own() {
        let cursor = SessionPlace::start().cursor(SessionPlace::digest_of(&session(1)));
        assert_eq!(SessionPosition::parse(&cursor, &session(2)), Err(CursorError::Foreign));
        let run_id = RunId::new(Uuid::from_u128(1));
        assert_eq!(Position::parse(&cursor, run_id), Err(CursorError::Foreign));
        let of_run = Cursor { run_id, sequence: 1 }.to_string();
        assert_eq!(SessionPosition::parse(&of_run, &session(1)), Err(CursorError::Foreign));
    }

    #[test]
    fn other_texts_are_no_cursors() {
        let long = "A".repeat(10_000);
        for text in ["0", "latest", "Ag", "now ", "💥", &long] {
            assert_eq!(SessionPosition::parse(text, &session(1)), Err(CursorError::Malformed), "{text:?}");
        }
    }
}
