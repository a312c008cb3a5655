//! A program with all that it starts, ended together.

use std::{process::ExitStatus, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

/// How long a program may tidy up after SIGTERM. Then it and all that it started get SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// The leader of a process group of its own. Dropped, the whole group is killed.
pub(super) struct Group {
    child: Child,
    id: Option<Pid>,
}

impl Group {
    /// `child` must have been started as the leader of a group of its own.
    pub(super) fn new(child: Child) -> Self {
        let id = child.id().and_then(|it| Pid::from_raw(i32::try_from(it).ok()?));
        Self { child, id }
    }

    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for the leader; what it has left behind is killed.
    pub(super) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.signal(Signal::KILL);
        self.id = None;
        Ok(status)
    }

    /// Ends the whole group, and returns when its leader is gone.
    pub(super) async fn end(&mut self) {
        self.signal(Signal::TERM);
        if tokio::time::timeout(GRACE, self.child.wait()).await.is_err() {
            self.signal(Signal::KILL);
        }
        // A process that was sent SIGKILL is gone soon; an error here means that it is gone already.
        _ = self.wait().await;
    }

    fn signal(&self, signal: Signal) {
        if let Some(id) = self.id {
            // The one error that can come is that nobody is left in the group.
            _ = kill_process_group(id, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
