//! A program in a process group of its own, which does not outlive its owner.

use std::{io, path::Path, process::ExitStatus};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// Variables of the gateway itself, which may hold secrets.
const OWN_VARIABLES: &str = "RUNGATE_";

/// A running program and all that it has started. Dropped, the whole group is killed.
pub(super) struct Process {
    child: Child,
    group: Group,
}

/// The process group of a program: itself, and what it has started and what has not left the group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group(Option<Pid>);

/// The three ends of a program.
pub(super) struct Pipes {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

impl Process {
    /// Starts `command` in `folder`.
    pub(super) fn start(command: &[String], folder: &Path) -> io::Result<(Self, Pipes)> {
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"))?;
        let mut builder = Command::new(program);
        builder.args(arguments).current_dir(folder).process_group(0).kill_on_drop(true);
        builder.stdin(std::process::Stdio::piped());
        builder.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        for (name, _) in std::env::vars_os()
            .filter(|(name, _)| name.as_encoded_bytes().starts_with(OWN_VARIABLES.as_bytes()))
        {
            builder.env_remove(name);
        }
        let mut child = builder.spawn()?;
        let group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(io::Error::other("the program has no pipes"));
        };
        Ok((Self { child, group }, Pipes { stdin, stdout, stderr }))
    }

    /// Waits for the program's end; what it has started may go on.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Its group, also for while it is waited for.
    pub(super) fn group(&self) -> Group {
        self.group
    }
}

impl Group {
    /// Asks the whole group to end.
    pub(super) fn terminate(self) {
        self.signal(Signal::TERM);
    }

    /// Ends the whole group at once.
    pub(super) fn kill(self) {
        self.signal(Signal::KILL);
    }

    fn signal(self, signal: Signal) {
        if let Some(group) = self.0
            && let Err(error) = kill_process_group(group, signal)
        {
            // A group that has ended is what was wanted.
            tracing::trace!(%error, "no process group to signal");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.group.kill();
    }
}
