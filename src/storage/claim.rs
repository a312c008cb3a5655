//! Files that only one gateway at a time may have.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How long files that are in use are waited for: a gateway that was killed while it started a process leaves them
/// claimed until that has begun.
const PATIENCE: Duration = Duration::from_millis(500);
/// The pause between two looks at them.
const PAUSE: Duration = Duration::from_millis(10);

/// What keeps other gateways from files, until it is dropped. The system drops it too when the process ends in any way.
#[derive(Debug)]
pub(super) struct Claim {
    lock: File,
    path: PathBuf,
}

/// Why files cannot be had.
#[derive(Debug)]
pub(super) enum ClaimError {
    /// Another process, or another part of this one, has them.
    InUse,
    /// The system refused.
    Io(io::Error),
}

impl Claim {
    /// Claims what the file at `path` stands for. The file is made where it is missing; its folder must be there.
    pub(super) fn of(path: &Path) -> Result<Self, ClaimError> {
        let lock =
            File::options().create(true).truncate(false).write(true).open(path).map_err(ClaimError::Io)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { lock, path: path.to_owned() }),
                Err(TryLockError::Error(error)) => return Err(ClaimError::Io(error)),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return Err(ClaimError::InUse),
                Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
            }
        }
    }

    /// True while the claim is on the file that another process would have to claim.
    pub(super) fn stands(&self) -> bool {
        is_at(&self.lock, &self.path)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Closing the file would do, but for a process that is being started: it has the file too for a moment.
        let _ = self.lock.unlock();
    }
}

/// True if `file` is what stands at `path`: neither was removed, nor another put in its place.
#[cfg(unix)]
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |it: fs::Metadata| (it.dev(), it.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(here), Ok(there)) => identity(here) == identity(there),
        _ => false,
    }
}

/// True if something stands at `path`: an open file can be neither removed nor replaced here.
#[cfg(not(unix))]
pub(super) fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}
