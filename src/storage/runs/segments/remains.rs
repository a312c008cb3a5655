//! What is left on disk of runs that are dropped, of records that were copied, and of keys; and so, which segments are
//! still needed.
//!
//! `Segment::live` counts the bytes of a segment that are needed: those of records in the index of a kept run, and those
//! of records that drop a run, as long as another segment has a part of the run or the key that they keep is
//! remembered. A segment in which nothing is needed goes.

use super::{index::Place, payload::StoredKey, table::Table};
use crate::model::RunId;

/// The records of a run that are in no index.
#[derive(Debug, Default)]
pub(super) struct Remains {
    /// The segments that have such records, the one that drops the run excepted.
    parts: u32,
    /// The record that drops the run.
    drop: Option<DropRecord>,
    /// An idempotency key that is remembered stands in that record.
    keyed: bool,
}

#[derive(Debug)]
struct DropRecord {
    segment: u32,
    bytes: u32,
    /// Counts as needed in its segment.
    needed: bool,
}

impl Table {
    /// A record of the run in `segment` does not count, or no longer: the run is dropped, or the record is elsewhere
    /// too.
    pub(super) fn bury(&mut self, run_id: RunId, segment: u32) {
        let Some(it) = self.segments.get_mut(&segment) else { return };
        if it.dead.insert(run_id) {
            self.remains.entry(run_id).or_default().parts += 1;
            self.settle(run_id);
        }
    }

    /// The record that drops a run is at `place`. It may have been elsewhere before.
    pub(super) fn drop_written(&mut self, run_id: RunId, place: Place, key: Option<StoredKey>) {
        let keyed = key.is_some_and(|it| self.keys.get(it.name).is_some_and(|it| it.run_id == run_id));
        self.remains.entry(run_id).or_default().keyed |= keyed;
        self.drop_moved(run_id, place);
    }

    /// The record that drops a run is at `place` now.
    pub(super) fn drop_moved(&mut self, run_id: RunId, place: Place) {
        // Not needed any more when there is nothing left of the run.
        let Some(remains) = self.remains.get_mut(&run_id) else { return };
        let drop = DropRecord { segment: place.segment, bytes: place.length, needed: false };
        if let Some(before) = remains.drop.replace(drop).filter(|it| it.needed)
            && let Some(segment) = self.segments.get_mut(&before.segment)
        {
            segment.live = segment.live.saturating_sub(before.bytes.into());
        }
        self.settle(run_id);
    }

    /// True when the record in `segment` that drops the run is needed there.
    pub(super) fn needs_drop(&self, run_id: RunId, segment: u32) -> bool {
        let drop = self.remains.get(&run_id).and_then(|it| it.drop.as_ref());
        drop.is_some_and(|it| it.needed && it.segment == segment)
    }

    /// The keys that stood for these runs are forgotten.
    pub(super) fn keys_forgotten(&mut self, runs: Vec<RunId>) {
        for run_id in runs {
            if let Some(remains) = self.remains.get_mut(&run_id) {
                remains.keyed = false;
                self.settle(run_id);
            }
        }
    }

    /// Takes the segments out of the table in which nothing is needed any more. They are to be removed in this order.
    pub(super) fn take_needless(&mut self) {
        while let Some(number) = self.segments.keys().copied().find(|it| self.is_needless(*it)) {
            let Some(segment) = self.segments.remove(&number) else { return };
            for run_id in segment.dead {
                if let Some(remains) = self.remains.get_mut(&run_id) {
                    remains.parts = remains.parts.saturating_sub(1);
                    remains.drop.take_if(|it| it.segment == number);
                    self.settle(run_id);
                }
            }
            self.needless.push_back(number);
        }
    }

    pub(super) fn has_needless(&self) -> bool {
        self.segments.keys().any(|it| self.is_needless(*it))
    }

    fn is_needless(&self, number: u32) -> bool {
        let Some(segment) = self.segments.get(&number) else { return false };
        number != self.current
            && segment.live == 0
            // Damage tells which runs are not whole.
            && !(segment.damaged && self.damaged_runs > 0)
            // The drop, and the key, of a dropped run must be on disk before its records go.
            && !self.undurable_drops.iter().any(|it| segment.dead.contains(it))
    }

    /// Counts the record that drops a run as needed, or not.
    fn settle(&mut self, run_id: RunId) {
        let Some(remains) = self.remains.get_mut(&run_id) else { return };
        if let Some(drop) = &mut remains.drop
            && let Some(segment) = self.segments.get_mut(&drop.segment)
        {
            // With its own segment it goes, and so does what is left of the run there.
            let here = u32::from(segment.dead.contains(&run_id));
            let needed = remains.keyed || remains.parts > here;
            let bytes = u64::from(drop.bytes);
            match (drop.needed, needed) {
                (false, true) => segment.live += bytes,
                (true, false) => segment.live = segment.live.saturating_sub(bytes),
                _ => {}
            }
            drop.needed = needed;
        }
        if remains.parts == 0 && !remains.keyed {
            self.remains.remove(&run_id);
        }
    }
}
