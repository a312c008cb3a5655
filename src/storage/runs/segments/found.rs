//! What is found of runs while segments are read, and the table that is made of it.
//!
//! A record may be there twice: it was copied, and the process ended before the first one was gone. One of them is
//! kept. The other one, like all of dropped runs, is remembered as dead: it must not outlive the record that drops its
//! run. Of two the later one is kept, so that cleaning goes on where it was.

use std::{cmp::Reverse, collections::HashMap};

use tokio::sync::watch;

use super::{
    index::{Index, Place},
    payload::{self, StoredKey},
    read::record_at,
    record::{Header, Kind},
    run_map::RunMap,
    table::{Kept, Live, Table},
};
use crate::{model::RunId, storage::runs::Newest};

/// All that was found so far.
#[derive(Default)]
pub(super) struct Found {
    /// Its segments are there, and filled with what is found of the runs.
    pub(super) table: Table,
    pub(super) last_commit: u64,
    runs: RunMap<FoundRun>,
    dropped: HashMap<RunId, Dropped>,
    nameless_damage: Option<NamelessDamage>,
}

#[derive(Default)]
struct FoundRun {
    kept: Option<Kept>,
    /// Whole records in the order they were met, and whether they have the run's state.
    records: Vec<(Place, bool)>,
    terminal: bool,
    time: i64,
    /// The first sequences and the events of damaged records. Each may be whole elsewhere.
    damaged: Vec<(u64, u32)>,
    /// What begins it is of no use.
    unreadable: bool,
    /// The highest sequence that begins a record, and when that was written.
    newest: Option<(u64, Written)>,
}

struct Dropped {
    /// The record that says so.
    place: Place,
    key: Option<StoredKey>,
}

/// When a record was written first.
#[derive(Clone, Copy)]
enum Written {
    /// At this place.
    Here(u32, u32),
    /// By this commit; its place is gone.
    By(u64),
}

/// The newest place of damage that does not tell whose it is.
struct NamelessDamage {
    place: (u32, u32),
    /// The first commit after it of which a record is whole.
    before_commit: Option<u64>,
}

impl Found {
    /// A whole record.
    pub(super) fn record(&mut self, number: u32, at: usize, header: &Header, payload: &[u8]) {
        self.last_commit = self.last_commit.max(header.commit);
        if let Some(damage) = &mut self.nameless_damage {
            damage.before_commit.get_or_insert(header.commit);
        }
        // Also of runs that are dropped: their places are not given again.
        self.table.last_place = self.table.last_place.max(header.place);
        let place = place(number, at, header);
        if header.kind == Kind::Drop {
            let key = payload::kept_key(payload).ok().flatten();
            self.dropped.insert(header.run_id, Dropped { place, key });
            return;
        }
        let found = self.runs.entry(header.run_id).or_default();
        if header.kind == Kind::Begin {
            match payload::begin_of(header, payload) {
                Ok(begin) => {
                    let run = begin.run;
                    found.kept = Some(Kept::new(header.place, run.session_id, begin.key, run.created_at));
                }
                Err(_) => found.unreadable = true,
            }
        }
        found.terminal |= header.terminal;
        found.time = found.time.max(header.time);
        let written = header.copied_from.map_or(Written::Here(number, place.offset), Written::By);
        let newer = found.newest.is_none_or(|(sequence, _)| sequence < header.first_sequence);
        if newer {
            found.newest = Some((header.first_sequence, written));
        }
        found.records.push((place, header.has_run));
    }

    /// A record of which the header is whole, but not the payload.
    pub(super) fn damaged(&mut self, number: u32, at: usize, header: &Header) {
        tracing::error!(segment = number, run_id = %header.run_id, "a stored record is damaged");
        self.mark(number);
        if header.kind == Kind::Drop {
            // Its key is lost, if it is not whole elsewhere; that the run is dropped is not.
            let dropped = Dropped { place: place(number, at, header), key: None };
            self.dropped.entry(header.run_id).or_insert(dropped);
        } else {
            let found = self.runs.entry(header.run_id).or_default();
            found.damaged.push((header.first_sequence, header.count));
        }
    }

    /// Damage that does not tell whose it is.
    pub(super) fn nameless_damage(&mut self, number: u32, at: usize) {
        self.mark(number);
        let place = (number, u32::try_from(at).unwrap_or(u32::MAX));
        self.nameless_damage = Some(NamelessDamage { place, before_commit: None });
    }

    /// Makes the table of what was found.
    pub(super) fn into_table(mut self) -> Table {
        for (run_id, found) in std::mem::take(&mut self.runs) {
            if self.dropped.contains_key(&run_id) {
                self.bury(run_id, found.records.into_iter());
            } else {
                self.keep(run_id, found);
            }
        }
        // A key may have been used again after it was forgotten: it stands for the run that used it last.
        let dropped = self.dropped.iter().filter_map(|(run_id, it)| Some((it.key?, 0, *run_id)));
        let kept = self.table.runs.iter();
        let kept = kept.filter_map(|(run_id, it)| Some((*it.key.as_deref()?, it.place, *run_id)));
        let mut keys: Vec<_> = dropped.chain(kept).collect();
        keys.sort_by_key(|(key, place, _)| (key.used_at, *place));
        for (key, _, run_id) in keys {
            self.table.remember(key, run_id);
        }
        for (run_id, Dropped { place, key }) in self.dropped {
            self.table.drop_written(run_id, place, key);
        }
        self.table
    }

    fn keep(&mut self, run_id: RunId, mut found: FoundRun) {
        let Some(mut kept) = found.kept.take() else {
            tracing::error!(%run_id, "the beginning of a run's log is lost; the run is not kept");
            self.bury(run_id, found.records.into_iter());
            return;
        };
        let later = |it: &Place| Reverse((it.segment, it.offset));
        found.records.sort_by_key(|(it, _)| (it.first_sequence, Reverse(it.count), later(it)));
        let mut index = Index::default();
        let mut records = found.records.iter().copied().peekable();
        while let Some((place, has_run)) = records.next_if(|it| it.0.first_sequence <= kept.last_sequence + 1)
        {
            if place.first_sequence <= kept.last_sequence {
                self.table.bury(run_id, place.segment);
                continue;
            }
            kept.last_sequence += u64::from(place.count);
            kept.bytes += u64::from(place.length);
            if has_run {
                kept.head = place;
            }
            if let Some(segment) = self.table.segments.get_mut(&place.segment) {
                segment.live += u64::from(place.length);
            }
            index.push(place);
        }
        // What lies behind a gap cannot be reached, but tells of it.
        let gap = records.peek().is_some();
        for (place, _) in records.clone() {
            self.mark(place.segment);
        }
        self.bury(run_id, records);
        index.shrink();
        kept.index = index;
        let last = kept.last_sequence;
        let missing = found.damaged.iter().any(|(first, count)| first + u64::from(*count) > last + 1);
        kept.damaged = gap || missing || found.unreadable || self.may_lack_its_end(&found);
        if kept.damaged {
            tracing::error!(%run_id, after = kept.last_sequence, "the log of a run is damaged");
        }
        kept.ended_at = payload::timestamp(found.time);
        if !found.terminal && !kept.damaged {
            self.revive(&mut kept);
        }
        self.table.keep(run_id, kept);
    }

    /// True when what followed the newest record of a run may be what is damaged somewhere.
    fn may_lack_its_end(&self, found: &FoundRun) -> bool {
        let Some((damage, (_, newest))) = self.nameless_damage.as_ref().zip(found.newest) else {
            return false;
        };
        !found.terminal
            && match newest {
                Written::Here(segment, offset) => (segment, offset) < damage.place,
                Written::By(commit) => damage.before_commit.is_none_or(|it| commit <= it),
            }
    }

    /// A run that goes on: its state is needed in memory.
    fn revive(&self, kept: &mut Kept) {
        let segment = self.table.segments.get(&kept.head.segment);
        let run = segment.and_then(|it| record_at(&*it.file, kept.head, payload::run_of).ok());
        let Some(mut run) = run else {
            kept.damaged = true;
            return;
        };
        run.last_sequence = kept.last_sequence;
        let last = watch::Sender::new(Newest::at(kept.last_sequence));
        let (claimed, claimed_bytes) = (kept.last_sequence, kept.bytes);
        kept.live = Some(Box::new(Live { run, claimed, claimed_bytes, last }));
    }

    fn bury(&mut self, run_id: RunId, records: impl Iterator<Item = (Place, bool)>) {
        for (place, _) in records {
            self.table.bury(run_id, place.segment);
        }
    }

    fn mark(&mut self, number: u32) {
        if let Some(segment) = self.table.segments.get_mut(&number) {
            segment.damaged = true;
        }
    }
}

fn place(number: u32, at: usize, header: &Header) -> Place {
    Place {
        segment: number,
        offset: u32::try_from(at).unwrap_or(u32::MAX),
        length: u32::try_from(header.length()).unwrap_or(u32::MAX),
        first_sequence: header.first_sequence,
        count: header.count,
    }
}
