//! What records carry: JSON where it is small, so that a later version can add to it; fixed fields where there are many.

use std::{collections::BTreeMap, io};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    event_json::{self, Parts},
    record::{HEADER, Header, Kind},
};
use crate::model::{Digest, Event, IdempotencyKey, Run, RunId};

/// Bytes in front of each event: its length, its time, its progress.
const EVENT_HEADER: usize = 4 + 8 + 1;

/// What begins the log of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Begin {
    pub(super) run: Run,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) params: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<StoredKey>,
}

/// An idempotency key; in the record that drops a run it survives the run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct StoredKey {
    pub(super) name: Digest,
    pub(super) request: Digest,
    pub(super) used_at: Timestamp,
}

/// A record that waits for its commit number, which stands in its header.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) header: Header,
    /// Room for the header, then the payload.
    bytes: Vec<u8>,
}

impl Record {
    /// The record that begins a run.
    pub(super) fn begin(begin: &Begin, events: &[Event]) -> Self {
        Self::of(Kind::Begin, &begin.run, Some(json(begin)), events)
    }

    /// Events of a run, with its state where that has changed.
    pub(super) fn events(run: &Run, changed: bool, events: &[Event]) -> Self {
        Self::of(Kind::Events, run, changed.then(|| json(run)), events)
    }

    /// The record that drops a run.
    pub(super) fn drop_run(run_id: RunId, key: Option<StoredKey>) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes.extend(key.map(|it| json(&it)).unwrap_or_default());
        Self::new(
            Header {
                kind: Kind::Drop,
                has_run: false,
                terminal: false,
                first: false,
                copied_from: None,
                payload: 0,
                payload_sum: 0,
                commit: 0,
                run_id,
                first_sequence: 0,
                count: 0,
                place: 0,
                time: 0,
            },
            bytes,
        )
    }

    fn of(kind: Kind, run: &Run, head: Option<Vec<u8>>, events: &[Event]) -> Self {
        let events_bytes = events.iter().map(|it| EVENT_HEADER + event_json::likely_bytes(it));
        let head_bytes = head.as_ref().map_or(0, |it| 4 + it.len());
        let mut bytes = Vec::with_capacity(HEADER + head_bytes + events_bytes.sum::<usize>());
        bytes.resize(HEADER, 0);
        if let Some(head) = &head {
            bytes.extend_from_slice(&length(head.len()).to_le_bytes());
            bytes.extend_from_slice(head);
        }
        for event in events {
            let start = bytes.len();
            bytes.extend_from_slice(&[0; EVENT_HEADER]);
            event_json::write(event, &mut bytes);
            let text = length(bytes.len() - start - EVENT_HEADER);
            bytes[start..start + 4].copy_from_slice(&text.to_le_bytes());
            bytes[start + 4..start + 12].copy_from_slice(&nanoseconds(event.time).to_le_bytes());
            bytes[start + 12] = event.progress_percent;
        }
        let last = events.last();
        let header = Header {
            kind,
            has_run: head.is_some(),
            terminal: last.is_some_and(|it| it.kind.is_terminal()),
            first: false,
            copied_from: None,
            payload: 0,
            payload_sum: 0,
            commit: 0,
            run_id: run.run_id,
            first_sequence: events.first().map_or(0, |it| it.sequence),
            count: length(events.len()),
            place: 0,
            time: last.map_or(0, |it| nanoseconds(it.time)),
        };
        Self::new(header, bytes)
    }

    fn new(header: Header, bytes: Vec<u8>) -> Self {
        let payload = &bytes[HEADER..];
        let header =
            Header { payload: length(payload.len()), payload_sum: crc32fast::hash(payload), ..header };
        Self { header, bytes }
    }

    /// Bytes on disk.
    pub(super) fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The memory that it takes.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Puts the record behind others, as written by group commit number `commit`, of which it is the first record or not.
    pub(super) fn put(&mut self, commit: u64, first: bool, batch: &mut Vec<u8>) {
        self.header.commit = commit;
        self.header.first = first;
        self.bytes[..HEADER].copy_from_slice(&self.header.encode());
        batch.extend_from_slice(&self.bytes);
    }
}

/// The beginning of a payload that has a head, and what comes after it.
pub(super) fn split_head<'a>(header: &Header, payload: &'a [u8]) -> io::Result<(&'a [u8], &'a [u8])> {
    if !header.has_run {
        return Ok((&[], payload));
    }
    let (length, rest) = payload.split_first_chunk::<4>().ok_or_else(malformed)?;
    let length = u32::from_le_bytes(*length) as usize;
    rest.split_at_checked(length).ok_or_else(malformed)
}

/// The state of the run that a record carries.
pub(super) fn run_of(header: &Header, payload: &[u8]) -> io::Result<Run> {
    let (head, _) = split_head(header, payload)?;
    match header.kind {
        Kind::Begin => Ok(parse::<Begin>(head)?.run),
        _ => parse(head),
    }
}

/// The head of a record that begins a run.
pub(super) fn begin_of(header: &Header, payload: &[u8]) -> io::Result<Begin> {
    parse(split_head(header, payload)?.0)
}

/// The key that a record that drops a run keeps.
pub(super) fn kept_key(payload: &[u8]) -> io::Result<Option<StoredKey>> {
    if payload.is_empty() { Ok(None) } else { parse(payload).map(Some) }
}

/// The events of a record.
pub(super) fn events_of(header: &Header, payload: &[u8], mut take: impl FnMut(Event)) -> io::Result<()> {
    let (_, mut rest) = split_head(header, payload)?;
    for sequence in (header.first_sequence..).take(header.count as usize) {
        let (front, after) = rest.split_first_chunk::<EVENT_HEADER>().ok_or_else(malformed)?;
        let length = u32::from_le_bytes([front[0], front[1], front[2], front[3]]) as usize;
        let time = i64::from_le_bytes([
            front[4], front[5], front[6], front[7], front[8], front[9], front[10], front[11],
        ]);
        let (text, after) = after.split_at_checked(length).ok_or_else(malformed)?;
        let Parts { kind, message, view, memo } = event_json::read(text)?;
        let time = timestamp(time);
        take(Event {
            run_id: header.run_id,
            sequence,
            time,
            message,
            progress_percent: front[12],
            view,
            kind,
            memo,
        });
        rest = after;
    }
    Ok(())
}

/// Nanoseconds since 1970, as stored.
pub(super) fn timestamp(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Fails for no value of these types: their maps have text keys.
    serde_json::to_vec(value).unwrap_or_default()
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> io::Result<T> {
    serde_json::from_slice(bytes).map_err(io::Error::from)
}

fn length(bytes: usize) -> u32 {
    // Payloads are bounded far below by what one append may carry.
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn malformed() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

impl StoredKey {
    pub(super) fn key(self) -> IdempotencyKey {
        IdempotencyKey { name: self.name, request: self.request }
    }
}
