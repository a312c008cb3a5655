//! What is dropped by age, and how files go when nothing in them is needed any more.

use std::{
    io,
    sync::{Arc, PoisonError, TryLockError},
};

use super::Shared;
use crate::{runtime::task, storage::runs::Trim};

impl Shared {
    /// Drops what is no longer kept, and removes the files in which nothing else is.
    pub(super) async fn trim(self: Arc<Self>, trim: Trim) {
        let needless = {
            let mut table = self.table();
            while table.ended.first().is_some_and(|(ended_at, _)| *ended_at < trim.ended_before) {
                table.drop_oldest_ended();
            }
            let forgotten = table.keys.forget_before(trim.keys_before);
            table.keys_forgotten(forgotten);
            table.take_needless();
            !table.needless.is_empty()
        };
        self.something_waits.notify_one();
        if needless {
            let shared = self.clone();
            task::blocking(move || shared.remove_needless()).await;
        }
    }

    /// Removes the files that nobody needs, each durably before the next: a record that drops a run must not go before
    /// the run does. What cannot be removed is tried again with the next trim; false then.
    pub(super) fn remove_needless(&self) -> bool {
        let _one_at_a_time = self.removing.lock().unwrap_or_else(PoisonError::into_inner);
        self.remove_each()
    }

    /// The same, but leaves it to whoever does it already.
    pub(super) fn try_to_remove_needless(&self) -> bool {
        match self.removing.try_lock() {
            Err(TryLockError::WouldBlock) => true,
            _one_at_a_time => self.remove_each(),
        }
    }

    fn remove_each(&self) -> bool {
        loop {
            let Some(number) = self.table().needless.front().copied() else { return true };
            let remove = || match self.disk.remove(number) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            };
            let removed = self.cut().and_then(|()| remove()).and_then(|()| self.disk.sync_folder());
            if let Err(error) = removed {
                tracing::error!(%error, segment = number, "could not remove a segment of the run log");
                return false;
            }
            self.table().needless.pop_front();
        }
    }

    /// Cuts files behind their end. Which records behind it mean nothing is told by the segment that was written next:
    /// it must not go before them.
    fn cut(&self) -> io::Result<()> {
        loop {
            let Some((file, length)) = self.table().uncut.last().cloned() else { return Ok(()) };
            file.truncate(length)?;
            file.sync()?;
            self.table().uncut.retain(|(it, _)| !Arc::ptr_eq(it, &file));
        }
    }
}
