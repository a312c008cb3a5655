//! A disk in memory that fails when it is told to, and forgets what was not synced when its power is cut.

use std::collections::BTreeMap as Map;

use super::*;
use crate::storage::runs::segments::disk::DiskFile;

/// A disk; clones are the same disk.
#[derive(Clone, Default)]
pub(super) struct FakeDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: Map<u32, Arc<Mutex<Bytes>>>,
    /// The folder as a loss of power leaves it.
    durable: Map<u32, Arc<Mutex<Bytes>>>,
    /// Operations that change something, so far.
    operations: u64,
    /// Fails these, the numbers counted as above.
    failing: std::ops::Range<u64>,
    error: i32,
    /// The power goes off with this operation.
    off_at: Option<u64>,
    /// True when it has.
    off: watch::Sender<bool>,
}

#[derive(Default)]
struct Bytes {
    now: Vec<u8>,
    synced: Vec<u8>,
}

struct FakeFile {
    disk: FakeDisk,
    bytes: Arc<Mutex<Bytes>>,
}

/// Numbers that look random, the same for the same seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// A number below `below`.
    pub(super) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

impl FakeDisk {
    /// Fails the operations with these numbers.
    pub(super) fn fail(&self, failing: std::ops::Range<u64>, error: i32) {
        let mut state = self.0.lock().unwrap();
        (state.failing, state.error) = (failing, error);
    }

    /// Turns the power off with operation `number`. The channel tells when.
    pub(super) fn off_at(&self, number: u64) -> watch::Receiver<bool> {
        let mut state = self.0.lock().unwrap();
        state.off_at = Some(number);
        state.off.subscribe()
    }

    pub(super) fn operations(&self) -> u64 {
        self.0.lock().unwrap().operations
    }

    /// Cuts the power: what is still open fails from now on. Gives the disk as it is found afterwards.
    pub(super) fn cut_power(&self, dice: &mut Dice) -> Self {
        let state = self.0.lock().unwrap();
        state.off.send_replace(true);
        let mut files = state.durable.clone();
        for (number, file) in &state.files {
            if dice.roll(2) == 0 {
                files.insert(*number, file.clone());
            }
        }
        let files = files.into_iter().map(|(number, it)| (number, it.lock().unwrap().after_cut(dice)));
        let files: Map<_, _> = files.collect();
        Self(Arc::new(Mutex::new(State { durable: files.clone(), files, ..State::default() })))
    }

    /// The records that cleaning has copied.
    pub(super) fn copies(&self) -> usize {
        let state = self.0.lock().unwrap();
        let records = state.files.values().flat_map(|it| records(&it.lock().unwrap().now));
        records.filter(|(_, it)| it.copied_from.is_some()).count()
    }

    pub(super) fn files(&self) -> usize {
        self.0.lock().unwrap().files.len()
    }

    fn operation(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let number = state.operations;
        state.operations += 1;
        if state.off_at.is_some_and(|it| number >= it) {
            state.off.send_replace(true);
        }
        let fails = *state.off.borrow() || state.failing.contains(&number);
        if fails { Err(io::Error::from_raw_os_error(state.error)) } else { Ok(()) }
    }

    fn file(&self, bytes: Arc<Mutex<Bytes>>) -> Arc<dyn DiskFile> {
        Arc::new(FakeFile { disk: self.clone(), bytes })
    }
}

impl Bytes {
    /// What was synced, and of the rest a part, in which blocks may be missing.
    fn after_cut(&self, dice: &mut Dice) -> Arc<Mutex<Self>> {
        let mut found = self.synced.clone();
        if self.now != self.synced && dice.roll(3) > 0 {
            // What was synced stays, unless it was cut off or written over since.
            let same = self.now.iter().zip(&self.synced).take_while(|(now, synced)| now == synced).count();
            found.resize(same + dice.roll((self.now.len() - same) as u64 + 1) as usize, 0);
            for (block, bytes) in found.chunks_mut(64).enumerate() {
                let from = &self.now[(block * 64).min(self.now.len())..];
                let old = self.synced.get(block * 64..).unwrap_or_default();
                let new = dice.roll(4) > 0;
                for (at, byte) in bytes.iter_mut().enumerate() {
                    let source = if new { from.get(at) } else { old.get(at) };
                    *byte = source.copied().unwrap_or(0);
                }
            }
        }
        Arc::new(Mutex::new(Self { now: found.clone(), synced: found }))
    }
}

impl Disk for FakeDisk {
    fn list(&self) -> io::Result<Vec<u32>> {
        Ok(self.0.lock().unwrap().files.keys().copied().collect())
    }

    fn create(&self, number: u32) -> io::Result<Arc<dyn DiskFile>> {
        self.operation()?;
        let mut state = self.0.lock().unwrap();
        if state.files.contains_key(&number) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let bytes = Arc::<Mutex<Bytes>>::default();
        state.files.insert(number, bytes.clone());
        drop(state);
        Ok(self.file(bytes))
    }

    fn open(&self, number: u32, _write: bool) -> io::Result<Arc<dyn DiskFile>> {
        let bytes = self.0.lock().unwrap().files.get(&number).cloned();
        bytes.map(|it| self.file(it)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove(&self, number: u32) -> io::Result<()> {
        self.operation()?;
        let removed = self.0.lock().unwrap().files.remove(&number);
        removed.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.operation()?;
        let mut state = self.0.lock().unwrap();
        state.durable = state.files.clone();
        Ok(())
    }
}

impl DiskFile for FakeFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.bytes.lock().unwrap();
        let rest = bytes.now.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let result = self.disk.operation();
        // A write that fails may have got half-way.
        let part = if *self.disk.0.lock().unwrap().off.borrow() { 0 } else { bytes.len() * 2 / 3 };
        let bytes = if result.is_ok() { bytes } else { &bytes[..part] };
        let mut file = self.bytes.lock().unwrap();
        let (offset, end) =
            (usize::try_from(offset).unwrap(), usize::try_from(offset).unwrap() + bytes.len());
        let length = file.now.len().max(end);
        file.now.resize(length, 0);
        file.now[offset..end].copy_from_slice(bytes);
        result
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.operation()?;
        let mut file = self.bytes.lock().unwrap();
        file.synced = file.now.clone();
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.disk.operation()?;
        self.bytes.lock().unwrap().now.resize(usize::try_from(length).unwrap(), 0);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().now.len() as u64)
    }
}
