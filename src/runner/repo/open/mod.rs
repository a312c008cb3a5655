//! Opens repositories: those on this machine where they are, others as a clone that a session keeps.

mod error;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fs,
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use sha2::{Digest, Sha256};
use tokio::{
    sync::{RwLock, Semaphore},
    task::spawn_blocking,
};
use tokio_util::sync::CancellationToken;

pub use self::error::RepoError;
use super::{
    address::RepoAddress,
    fingerprint::head_state,
    git::{CloneError, CloneLimits, ClonePhase, CloneProgress, CloneSource, Git},
    policy::{Admitted, PolicyError, RepoPolicy},
    tree::RepoDir,
};
use crate::{model::SessionId, runtime::clock};

/// How the names of folders begin in which a clone is not finished, or a session's clones are being removed. No session's
/// id and no clone's name begins so.
const UNFINISHED: &str = ".clone-";
const FORGOTTEN: &str = ".forgotten-";

/// Opens repositories for sessions.
pub struct Repositories {
    policy: RepoPolicy,
    clones_dir: PathBuf,
    limits: RepoLimits,
    git: Git,
    cloning: Semaphore,
    sessions: Mutex<HashMap<SessionId, Arc<SessionClones>>>,
}

/// What repositories may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepoLimits {
    /// Of one clone.
    pub clone: CloneLimits,
    /// Clones that are fetched at the same time. More wait; their progress says so.
    pub concurrent_clones: usize,
    /// Clones that a session keeps. One more is `repo_too_many`.
    pub clones_per_session: usize,
}

/// A repository that can be read.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Its address without credentials.
    pub address_shown: String,
    /// Its folder, for programs that are started in it. What the gateway itself reads goes through `dir`.
    pub root: PathBuf,
    /// Its files.
    pub dir: RepoDir,
}

/// The clones of one session.
struct SessionClones {
    /// Held for reading while a repository is opened, for writing while all are removed.
    open: RwLock<()>,
    /// Cancelled when the session is forgotten.
    forgotten: CancellationToken,
    /// By the name of the clone's folder.
    addresses: Mutex<HashMap<String, Arc<Clones>>>,
}

/// The attempts to fetch one address. Whoever holds the lock fetches; the others wait for it and share what comes out.
#[derive(Default)]
struct Clones {
    last_failure: tokio::sync::Mutex<Option<RepoError>>,
    /// Tells who waited for a failure, and shares it, from who comes later, and tries again.
    failures: AtomicU64,
}

impl Default for RepoLimits {
    fn default() -> Self {
        Self { clone: CloneLimits::default(), concurrent_clones: 4, clones_per_session: 8 }
    }
}

impl Repositories {
    /// `clones_dir` is made when the first repository is fetched. Clones of earlier gateways in it are used again.
    pub fn new(policy: RepoPolicy, clones_dir: PathBuf, limits: RepoLimits) -> Self {
        Self {
            policy,
            clones_dir,
            limits,
            git: Git::default(),
            cloning: Semaphore::new(limits.concurrent_clones.max(1)),
            sessions: Mutex::default(),
        }
    }

    /// Opens the repository at `address` for a session. One on this machine is read where it is; another, or one without
    /// working files, is fetched once for each session and address. A clone that fails or is cancelled leaves nothing
    /// behind; neither does one whose future is dropped, a moment later.
    pub async fn open(
        &self,
        address: &str,
        session_id: &SessionId,
        cancel: &CancellationToken,
        progress: impl Fn(CloneProgress) + Send + Sync,
    ) -> Result<Repository, RepoError> {
        let address = RepoAddress::parse(address).map_err(PolicyError::from)?;
        let shown = address.to_string();
        let admitted = unless_cancelled(cancel, self.policy.admit(address)).await??;
        let source = match admitted {
            Admitted::Local(path) if !is_bare(&path) => return repository(shown, path).await,
            Admitted::Local(path) => CloneSource::Local(path),
            Admitted::Remote { address, pinned } => CloneSource::Remote { address, pinned },
        };
        let session = self.session(session_id);
        let stop = session.forgotten.child_token();
        let opening = self.open_clone(&session, session_id, &source, shown, &stop, &progress);
        tokio::pin!(opening);
        let opened = tokio::select! {
            biased;
            () = cancel.cancelled() => {
                // It ends soon, and in order: git is stopped, and what it has written is removed.
                stop.cancel();
                opening.await
            }
            opened = &mut opening => opened,
        };
        opened
            .map_err(|error| if error == CloneError::Cancelled.into() { RepoError::Cancelled } else { error })
    }

    /// Removes all clones of a session; those that are being fetched are cancelled.
    pub async fn forget(&self, session_id: &SessionId) -> io::Result<()> {
        let session = self.session(session_id);
        session.forgotten.cancel();
        // Ours once all who were opening have left.
        let alone = session.open.write().await;
        let folder = self.clones_dir.join(session_id.as_str());
        let aside = self.clones_dir.join(format!("{FORGOTTEN}{}", unique()));
        // Away at once, before the session may begin anew; gone a little later.
        let moved = fs::rename(&folder, &aside);
        self.lock_sessions().remove(session_id);
        drop(alone);
        match moved {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => spawn_blocking(move || fs::remove_dir_all(&aside)).await.map_err(io::Error::other)?,
        }
    }

    /// Removes what a gateway that was killed has left unfinished. For the start, before anything is opened; blocks on
    /// the disk.
    pub fn remove_leftovers(&self) -> io::Result<()> {
        let names = |folder: &Path| -> io::Result<Vec<PathBuf>> {
            match fs::read_dir(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
                entries => entries?.map(|it| Ok(it?.path())).collect(),
            }
        };
        let starts = |path: &Path, with: &str| {
            path.file_name().is_some_and(|it| it.to_string_lossy().starts_with(with))
        };
        for session in names(&self.clones_dir)? {
            if starts(&session, FORGOTTEN) {
                fs::remove_dir_all(&session)?;
            } else if session.is_dir() {
                for clone in names(&session)?.iter().filter(|it| starts(it, UNFINISHED)) {
                    fs::remove_dir_all(clone)?;
                }
            }
        }
        Ok(())
    }

    async fn open_clone(
        &self,
        session: &SessionClones,
        session_id: &SessionId,
        source: &CloneSource,
        shown: String,
        stop: &CancellationToken,
        progress: &(dyn Fn(CloneProgress) + Send + Sync),
    ) -> Result<Repository, RepoError> {
        let _open = unless_cancelled(stop, session.open.read()).await?;
        let name = folder_name(&shown);
        let folder = self.clones_dir.join(session_id.as_str());
        let path = folder.join(&name);
        let clones = session.lock_addresses().entry(name).or_default().clone();
        let before = clones.failures.load(Ordering::Acquire);
        let mut last_failure = unless_cancelled(stop, clones.last_failure.lock()).await?;
        if !path.is_dir() {
            let waited_for_failure = clones.failures.load(Ordering::Acquire) != before;
            if let Some(error) = last_failure.filter(|_| waited_for_failure) {
                return Err(error);
            }
            match self.fetch(&folder, &path, source, stop, progress).await {
                Ok(()) => {}
                // The others have not given up.
                Err(error @ (RepoError::Cancelled | RepoError::Clone(CloneError::Cancelled))) => {
                    return Err(error);
                }
                Err(error) => {
                    *last_failure = Some(error);
                    clones.failures.fetch_add(1, Ordering::AcqRel);
                    return Err(error);
                }
            }
        }
        drop(last_failure);
        repository(shown, path).await
    }

    /// Clones into a folder of another name, so that what has the right name is always whole.
    async fn fetch(
        &self,
        folder: &Path,
        path: &Path,
        source: &CloneSource,
        stop: &CancellationToken,
        progress: &(dyn Fn(CloneProgress) + Send + Sync),
    ) -> Result<(), RepoError> {
        if self.cloning.available_permits() == 0 {
            progress(CloneProgress { phase: ClonePhase::Waiting, percent: 0 });
        }
        // Never closed, so that there is always a permit in the end.
        let permit = unless_cancelled(stop, self.cloning.acquire()).await?;
        let _permit = permit.map_err(|_| RepoError::Cancelled)?;
        make_folder(folder, self.limits.clones_per_session)?;
        let unfinished = folder.join(format!("{UNFINISHED}{}", unique()));
        self.git.clone_into(source, &unfinished, self.limits.clone, stop, progress).await?;
        if let Err(error) = fs::rename(&unfinished, path) {
            tracing::warn!(%error, "a clone could not be put in its place");
            // The failure above is what counts.
            _ = spawn_blocking(move || fs::remove_dir_all(&unfinished)).await;
            return Err(CloneError::Storage.into());
        }
        Ok(())
    }

    fn session(&self, session_id: &SessionId) -> Arc<SessionClones> {
        let fresh = || {
            Arc::new(SessionClones {
                open: RwLock::default(),
                forgotten: CancellationToken::new(),
                addresses: Mutex::default(),
            })
        };
        self.lock_sessions().entry(session_id.clone()).or_insert_with(fresh).clone()
    }

    fn lock_sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<SessionClones>>> {
        // Nothing that can panic is done under this lock.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionClones {
    fn lock_addresses(&self) -> MutexGuard<'_, HashMap<String, Arc<Clones>>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Repository {
    /// The state of its files in a few characters; see [`head_state`].
    pub async fn fingerprint(&self) -> Option<String> {
        let (dir, cancel) = (self.dir.clone(), CancellationToken::new());
        let _stop_when_dropped = cancel.clone().drop_guard();
        spawn_blocking(move || head_state(&dir, &cancel)).await.ok().flatten()
    }
}

async fn unless_cancelled<T>(
    cancel: &CancellationToken,
    future: impl Future<Output = T>,
) -> Result<T, RepoError> {
    cancel.run_until_cancelled(future).await.ok_or(RepoError::Cancelled)
}

async fn repository(address_shown: String, root: PathBuf) -> Result<Repository, RepoError> {
    let path = root.clone();
    let dir = spawn_blocking(move || RepoDir::open(&path)).await;
    let dir = dir.ok().and_then(Result::ok).ok_or(RepoError::Closed)?;
    Ok(Repository { address_shown, root, dir })
}

/// True for a repository without working files, as servers keep them.
fn is_bare(path: &Path) -> bool {
    !path.join(".git").exists()
        && path.join("HEAD").is_file()
        && path.join("objects").is_dir()
        && path.join("refs").is_dir()
}

/// A name for the clone of an address that is good for a folder and the same every time.
fn folder_name(address: &str) -> String {
    Sha256::digest(address).iter().take(16).map(|it| format!("{it:02x}")).collect()
}

/// Makes the folder of a session's clones, and refuses when it has as many as it may.
fn make_folder(folder: &Path, most: usize) -> Result<(), RepoError> {
    let storage = |error: io::Error| {
        tracing::warn!(%error, "the folder of clones cannot be used");
        RepoError::Clone(CloneError::Storage)
    };
    fs::create_dir_all(folder).map_err(storage)?;
    let count = fs::read_dir(folder).map_err(storage)?.count();
    if count < most { Ok(()) } else { Err(RepoError::TooMany) }
}

/// A part of a name that nothing else has.
fn unique() -> String {
    clock::new_run_id().uuid().to_string()
}
