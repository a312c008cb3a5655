//! A program and all that it starts, ended together.

use std::{io, time::Duration};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::{
    process::{Child, Command},
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

/// How long a program may take to end by itself: once after its input was closed, once more after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

/// A child that leads a process group of its own. Dropped, the whole group is killed.
pub(super) struct ProcessGroup {
    child: Child,
    leader: Pid,
    /// The leader has been waited for: its number may be another's by now and must not be signalled.
    reaped: bool,
}

impl ProcessGroup {
    /// Starts the command at the head of a group of its own.
    pub(super) fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let leader = id.ok_or_else(|| io::Error::other("a child without a process id"))?;
        Ok(Self { child, leader, reaped: false })
    }

    /// The child, for its standard streams. Waiting for it is this type's own business.
    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for the leader to end by itself, insists by and by, and leaves nothing of the group behind. The caller has
    /// closed the program's standard input, which tells it to end.
    pub(super) async fn end(mut self) {
        let mut ended = self.watch_leader();
        if timeout(GRACE, &mut ended).await.is_err() {
            self.signal(Signal::TERM);
            // Whether it listens or not, the group is killed next.
            let _ = timeout(GRACE, &mut ended).await;
        }
        self.signal(Signal::KILL);
        match self.child.wait().await {
            Ok(status) => tracing::debug!(%status, "an MCP server ended"),
            Err(error) => tracing::warn!(%error, "an MCP server could not be waited for"),
        }
        self.reaped = true;
    }

    /// Ends when the leader has ended, and leaves it unreaped, so that its number still names the group.
    fn watch_leader(&self) -> JoinHandle<()> {
        let leader = self.leader;
        // The thread is free again at the latest when the group was killed.
        spawn_blocking(move || {
            let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(leader), ended), Err(rustix::io::Errno::INTR)) {}
        })
    }

    fn signal(&self, signal: Signal) {
        if !self.reaped {
            // An error means that nobody is left.
            let _ = kill_process_group(self.leader, signal);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
