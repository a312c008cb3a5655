//! Makes what was written survive a loss of power, on a thread of its own: a disk that takes long to sync holds up
//! flushes, and not the writing that survives the end of the process.

use std::{
    fs::File,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use super::{buffer::Buffer, files::Files};

/// The thread that syncs. Ends when this is dropped.
#[derive(Debug)]
pub(super) struct Syncer {
    jobs: Arc<Jobs>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Jobs {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Files with writes that are not synced. Two at most: a journal is rotated once per fold, and a fold takes longer
    /// than the sync of the one before.
    files: Vec<Arc<File>>,
    /// The flush that is done when they are.
    flush: u64,
    busy: bool,
    /// Set by a sync that failed. The system may have forgotten what it could not write, so that nothing counts as
    /// synced until everything is written anew.
    failed: Option<io::Error>,
    closed: bool,
}

impl Syncer {
    pub(super) fn start(files: Files, buffer: Arc<Buffer>) -> io::Result<Self> {
        let jobs = Arc::new(Jobs::default());
        let thread = {
            let jobs = Arc::clone(&jobs);
            thread::Builder::new()
                .name("sessions-sync".to_owned())
                .spawn(move || jobs.run(&files, &buffer))?
        };
        Ok(Self { jobs, thread: Some(thread) })
    }

    /// Syncs `file` soon; flush `flush` is done then.
    pub(super) fn sync(&self, file: &Arc<File>, flush: u64) {
        let mut state = self.jobs.state();
        if !state.files.iter().any(|it| Arc::ptr_eq(it, file)) {
            state.files.push(Arc::clone(file));
        }
        state.flush = flush;
        self.jobs.changed.notify_all();
    }

    /// Why the last sync failed, told once. Until it is asked for, nothing is synced.
    pub(super) fn failure(&self) -> Option<io::Error> {
        let mut state = self.jobs.state();
        let failure = state.failed.take()?;
        state.files.clear();
        Some(failure)
    }

    /// True if a sync has failed and [`Self::failure`] was not asked since.
    pub(super) fn has_failed(&self) -> bool {
        self.jobs.state().failed.is_some()
    }

    /// Returns once nothing is left to sync, or a sync has failed.
    pub(super) fn wait_idle(&self) {
        let mut state = self.jobs.state();
        while state.failed.is_none() && (state.busy || !state.files.is_empty()) {
            state = self.jobs.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.jobs.state().closed = true;
        self.jobs.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic has been told by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Jobs {
    fn run(&self, files: &Files, buffer: &Buffer) {
        let mut known: Option<Arc<File>> = None;
        while let Some((written, flush)) = self.next() {
            let mut result = written.iter().try_for_each(|file| file.sync_data());
            let newest = written.last().cloned();
            if result.is_ok() && !same(&known, &newest) {
                result = files.sync_dir();
            }
            known = newest;
            let mut state = self.state();
            state.busy = false;
            match result {
                Ok(()) => buffer.flushed(flush),
                Err(error) => {
                    state.failed = Some(error);
                    buffer.poke();
                }
            }
            self.changed.notify_all();
        }
    }

    /// The next files to sync; none once closed.
    fn next(&self) -> Option<(Vec<Arc<File>>, u64)> {
        let mut state = self.state();
        while state.failed.is_some() || state.files.is_empty() {
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.busy = true;
        Some((std::mem::take(&mut state.files), state.flush))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn same(a: &Option<Arc<File>>, b: &Option<Arc<File>>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if Arc::ptr_eq(a, b))
}
