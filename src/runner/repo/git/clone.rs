//! One clone: started, watched, and ended in time.

use std::{
    ffi::OsString,
    fs, io,
    net::IpAddr,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    process::{ChildStderr, Command},
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{CloneError, CloneProgress, command, group::Group, stderr};
use crate::runner::repo::address::RemoteAddress;

/// The pause between two looks at the size of a clone. In it a fast line can bring some 60 MB more than allowed.
const MEASURE_PAUSE: Duration = Duration::from_millis(500);

/// How long what git has left behind may keep its standard error open before the end is taken for reached.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often removing a clone is tried: a git that was just killed may still be writing into it.
const REMOVE_TRIES: u32 = 20;

/// The `git` program.
#[derive(Debug, Clone)]
pub struct Git {
    program: OsString,
}

/// Where a clone comes from. Must have been admitted by the policy.
#[derive(Debug, Clone)]
pub enum CloneSource {
    /// A repository on this machine that has no working files.
    Local(PathBuf),
    /// A server.
    Remote {
        /// Where.
        address: RemoteAddress,
        /// The only network addresses to go to; empty: whatever the name stands for.
        pinned: Vec<IpAddr>,
    },
}

/// What a clone may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloneLimits {
    /// Bytes on disk, history and files together. A clone that grows larger is ended and removed: `repo_too_large`.
    pub bytes: u64,
    /// A clone that takes longer is ended and removed: `repo_timeout`.
    pub timeout: Duration,
}

/// A folder that is removed unless what is in it was finished.
struct Unfinished(Option<PathBuf>);

impl Default for CloneLimits {
    fn default() -> Self {
        Self { bytes: 2 << 30, timeout: Duration::from_secs(600) }
    }
}

impl Default for Git {
    fn default() -> Self {
        Self { program: "git".into() }
    }
}

impl Git {
    /// Another program than the `git` in the path.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self { program: program.into() }
    }

    /// Fetches the newest commit of `source` into the folder `into`, which must not exist. When this fails, is
    /// cancelled or dropped, nothing is left of it.
    pub async fn clone_into(
        &self,
        source: &CloneSource,
        into: &Path,
        limits: CloneLimits,
        cancel: &CancellationToken,
        progress: &(dyn Fn(CloneProgress) + Send + Sync),
    ) -> Result<(), CloneError> {
        let deadline = Instant::now() + limits.timeout;
        if matches!(source, CloneSource::Remote { pinned, .. } if !pinned.is_empty()) {
            self.check_version().await?;
        }
        let attempt = async |source: &CloneSource, shallow| {
            let mut unfinished = Unfinished(Some(into.to_owned()));
            let command = command::clone(&self.program, source, into, shallow)?;
            let result = supervise(command, source, into, limits.bytes, deadline, cancel, progress).await;
            match result {
                Ok(()) => unfinished.0 = None,
                // Gone before the next attempt, and before the caller hears of the failure.
                Err(_) => unfinished.remove().await,
            }
            result
        };
        match (attempt(source, true).await, source) {
            // A server without git behind it can only send everything.
            (Err(CloneError::NotShallow), _) => attempt(source, false).await,
            // Some servers answer for `name` with a redirect to `name.git`, which is not followed but may be guessed.
            (Err(CloneError::Redirected), CloneSource::Remote { address, pinned }) => {
                let address = address.with_git_suffix().ok_or(CloneError::Redirected)?;
                attempt(&CloneSource::Remote { address, pinned: pinned.clone() }, true).await
            }
            (result, _) => result,
        }
    }

    /// Older ones do not know `http.curloptResolve` and would silently go wherever the name leads.
    async fn check_version(&self) -> Result<(), CloneError> {
        let mut command = Command::from(command::hardened(&self.program));
        let output = command.arg("version").stdout(std::process::Stdio::piped()).kill_on_drop(true).output();
        let output = timeout(Duration::from_secs(10), output).await.map_err(|_| CloneError::Failed)?;
        let text = output.map_err(|it| spawn_error(&it))?.stdout;
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter_map(|it| it.parse::<u32>().ok());
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if version >= (2, 37) { Ok(()) } else { Err(CloneError::GitTooOld) }
    }
}

impl CloneSource {
    /// The address without credentials.
    fn shown(&self) -> String {
        match self {
            Self::Local(path) => path.display().to_string(),
            Self::Remote { address, .. } => address.to_string(),
        }
    }
}

impl Unfinished {
    async fn remove(mut self) {
        if let Some(path) = self.0.take() {
            // A failure was logged; a panic is not possible here.
            _ = spawn_blocking(move || remove(&path)).await;
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Some(path) = self.0.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(handle) => drop(handle.spawn_blocking(move || remove(&path))),
            Err(_) => remove(&path),
        }
    }
}

/// Runs git to its end, or ends it: when cancelled, too late, or too large.
async fn supervise(
    mut command: std::process::Command,
    source: &CloneSource,
    into: &Path,
    max_bytes: u64,
    deadline: Instant,
    cancel: &CancellationToken,
    progress: &(dyn Fn(CloneProgress) + Send + Sync),
) -> Result<(), CloneError> {
    if cancel.is_cancelled() {
        return Err(CloneError::Cancelled);
    }
    command.process_group(0);
    let mut child = Command::from(command).kill_on_drop(true).spawn().map_err(|it| spawn_error(&it))?;
    let stderr = child.stderr.take().ok_or(CloneError::Failed)?;
    let mut group = Group::new(child);
    let mut tail = stderr::Tail::default();
    let stopped = tokio::select! {
        biased;
        () = cancel.cancelled() => CloneError::Cancelled,
        () = tokio::time::sleep_until(deadline) => CloneError::Timeout,
        () = grown_over(into, max_bytes) => CloneError::TooLarge,
        status = finish(&mut group, stderr, progress, &mut tail) => match status {
            Ok(true) if measure(into.to_owned(), max_bytes).await => CloneError::TooLarge,
            Ok(true) => return Ok(()),
            Ok(false) => CloneError::from_tail(&tail, &source.shown()),
            Err(_) => CloneError::Failed,
        },
    };
    group.end().await;
    let secrets = match source {
        CloneSource::Remote { address, .. } => address.secrets(),
        CloneSource::Local(_) => Vec::new(),
    };
    tracing::debug!(cause = stopped.code(), git = %tail.redacted(&secrets), "a clone failed");
    Err(stopped)
}

/// Reads all that git says and waits for its end; true when it succeeded.
async fn finish(
    group: &mut Group,
    stderr: ChildStderr,
    progress: &(dyn Fn(CloneProgress) + Send + Sync),
    tail: &mut stderr::Tail,
) -> io::Result<bool> {
    let following = stderr::follow(stderr, progress, tail);
    tokio::pin!(following);
    let status = tokio::select! {
        status = group.child().wait() => {
            // Whoever holds standard error open after the end has nothing to say any more.
            _ = timeout(LAST_WORDS, &mut following).await;
            status?
        }
        () = &mut following => group.child().wait().await?,
    };
    group.wait().await?;
    Ok(status.success())
}

/// Returns once the folder takes more than `max_bytes`. Looks less often the longer a look takes.
async fn grown_over(folder: &Path, max_bytes: u64) {
    let mut pause = MEASURE_PAUSE;
    loop {
        sleep(pause).await;
        let begun = Instant::now();
        if measure(folder.to_owned(), max_bytes).await {
            return;
        }
        pause = MEASURE_PAUSE.max(begun.elapsed() * 4);
    }
}

/// True when the folder takes more than `max_bytes` on disk.
async fn measure(folder: PathBuf, max_bytes: u64) -> bool {
    spawn_blocking(move || exceeds(&folder, max_bytes)).await.unwrap_or(false)
}

/// Counts blocks, not lengths, and a little for each name: a million empty files are not nothing.
fn exceeds(folder: &Path, max_bytes: u64) -> bool {
    const NAME_BYTES: u64 = 256;
    let mut total = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // What vanishes while it is looked at takes no space.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            total += metadata.blocks() * 512 + NAME_BYTES;
            if total > max_bytes {
                return true;
            }
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    false
}

fn remove(folder: &Path) {
    for _ in 0..REMOVE_TRIES {
        match fs::remove_dir_all(folder) {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    tracing::warn!(folder = %folder.display(), "an unfinished clone could not be removed");
}

fn spawn_error(error: &io::Error) -> CloneError {
    tracing::debug!(%error, "git could not be started");
    if error.kind() == io::ErrorKind::NotFound { CloneError::GitMissing } else { CloneError::Failed }
}
