//! Sessions as the rest of the gateway sees them: every change is one compare-and-set.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    model::{Cause, Code, RunId, Session, SessionId, SessionUpdate, limits},
    runtime::clock,
    storage::{PutError, Revision, SessionStore, StoreError, Stored},
};

/// How long making a session waits for the disk. A disk that works needs some milliseconds, and a person is waiting.
const CREATE_PATIENCE: Duration = Duration::from_secs(3);

/// Finds and changes sessions.
#[derive(Clone)]
pub struct Sessions {
    store: Arc<dyn SessionStore>,
    most: usize,
}

/// No session has this id.
#[derive(Debug, Clone, thiserror::Error)]
#[error("session {session_id} not found")]
pub struct SessionNotFound {
    /// The id that was asked for, as the client wrote it.
    pub session_id: String,
}

/// Another run holds the session.
#[derive(Debug, Clone, thiserror::Error)]
#[error("session {session_id} already has an active run")]
pub struct SessionBusy {
    /// The session.
    pub session_id: SessionId,
    /// The run that holds it.
    pub active_run_id: RunId,
}

/// As many runs wait for the session as may.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{} runs wait for session {session_id} already", limits::WAITING_PER_SESSION)]
pub struct SessionQueueFull {
    /// The session.
    pub session_id: SessionId,
}

/// As many sessions are kept as may.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the gateway keeps as many sessions as it may")]
pub struct TooManySessions;

/// Sessions cannot be stored at present.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the session store cannot be written; no session can be made until it can")]
pub struct SessionsUnavailable;

/// Why no session was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateSessionError {
    /// There are too many.
    #[error(transparent)]
    TooMany(#[from] TooManySessions),
    /// It would not outlive the process.
    #[error(transparent)]
    Unavailable(#[from] SessionsUnavailable),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a claim does when another run holds the session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IfBusy {
    /// It fails.
    #[default]
    Reject,
    /// The run waits behind all others that wait.
    Enqueue,
    /// The run waits before all others; whoever claims sees to it that the active run ends.
    Interrupt,
}

/// A successful claim.
#[derive(Debug, Clone)]
pub enum Claimed {
    /// The session is the run's.
    Held(Arc<Session>),
    /// The session will be the run's.
    Waiting {
        /// The session, with the runs that wait for it.
        session: Arc<Session>,
        /// The run that holds it.
        active_run_id: RunId,
    },
}

/// Why a session was not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// There is none.
    #[error(transparent)]
    NotFound(#[from] SessionNotFound),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a session was not claimed for a run.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another run holds it.
    #[error(transparent)]
    Busy(#[from] SessionBusy),
    /// Too many runs wait for it.
    #[error(transparent)]
    QueueFull(#[from] SessionQueueFull),
    /// It could not be read or changed.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl Sessions {
    /// Sessions kept in `store`, at most so many.
    pub fn new(store: Arc<dyn SessionStore>, most: usize) -> Self {
        Self { store, most }
    }

    /// The session as stored.
    pub async fn get(&self, session_id: &SessionId) -> Result<Arc<Session>, SessionError> {
        Ok(self.stored(session_id).await?.session)
    }

    /// The session as stored, if there is one.
    pub async fn find(&self, session_id: &SessionId) -> Result<Option<Arc<Session>>, StoreError> {
        Ok(self.store.get(session_id).await?.map(|it| it.session))
    }

    /// Makes a session with a fresh id; an empty `user_id` becomes the default user. It outlives the process from now on,
    /// as the runs will that are started in it.
    pub async fn create(&self, user_id: &str, repo_url: &str) -> Result<Arc<Session>, CreateSessionError> {
        if self.store.count().await? >= self.most {
            return Err(TooManySessions.into());
        }
        loop {
            let mut session = Session::new(clock::new_session_id(), user_id, clock::now());
            session.set_repo(repo_url);
            match self.store.put(session.clone(), 0).await {
                Ok(revision) => {
                    self.keep(&session.session_id, revision).await?;
                    return Ok(Arc::new(session));
                }
                Err(PutError::Conflict { .. }) => {}
                Err(PutError::Store(error)) => return Err(error.into()),
            }
        }
    }

    /// Returns when a new session would survive. One that would not is forgotten: nobody knows of it yet.
    async fn keep(&self, session_id: &SessionId, revision: Revision) -> Result<(), SessionsUnavailable> {
        if let Ok(Ok(())) = tokio::time::timeout(CREATE_PATIENCE, self.store.flush()).await {
            return Ok(());
        }
        if let Err(error) = self.store.delete(session_id, revision).await {
            tracing::warn!(%error, %session_id, "a session that nobody knows of stays until it is unused for long");
        }
        Err(SessionsUnavailable)
    }

    /// Changes the session; gives it as it is afterwards. `change` may be called more than once.
    pub async fn change(
        &self,
        session_id: &SessionId,
        change: impl Fn(&mut Session) + Send + Sync,
    ) -> Result<Arc<Session>, SessionError> {
        let changed = self.try_change(session_id, |session| {
            change(session);
            Ok::<_, SessionError>(())
        });
        changed.await
    }

    /// Gives the session to `run_id`, now or when its turn comes. Of any number of simultaneous claims exactly one gets
    /// it now.
    pub async fn claim(
        &self,
        session_id: &SessionId,
        run_id: RunId,
        if_busy: IfBusy,
    ) -> Result<Claimed, ClaimError> {
        let claimed = self.try_change(session_id, |session| {
            let session_id = session.session_id.clone();
            match (session.active_run_id, if_busy) {
                (None, _) => session.give_to(run_id),
                (Some(active_run_id), IfBusy::Reject) => {
                    return Err(SessionBusy { session_id, active_run_id }.into());
                }
                _ if session.waiting.len() >= limits::WAITING_PER_SESSION => {
                    return Err(ClaimError::QueueFull(SessionQueueFull { session_id }));
                }
                (_, IfBusy::Enqueue) => session.waiting.push(run_id),
                (_, IfBusy::Interrupt) => session.waiting.insert(0, run_id),
            }
            Ok(())
        });
        let session = claimed.await?;
        Ok(match session.active_run_id {
            Some(active_run_id) if active_run_id != run_id => Claimed::Waiting { session, active_run_id },
            _ => Claimed::Held(session),
        })
    }

    /// Takes the session back from `run_id`, or takes the run out of those that wait, and writes down what the run has
    /// learnt. Gives the session as it is afterwards; the run that it was passed on to is its active one. `None` when
    /// the session is gone.
    pub async fn release(
        &self,
        session_id: &SessionId,
        run_id: RunId,
        learnt: Option<&SessionUpdate>,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        let released = self.change(session_id, |session| {
            session.waiting.retain(|it| *it != run_id);
            if session.active_run_id == Some(run_id) {
                if let Some(learnt) = learnt {
                    session.learn(learnt);
                }
                session.pass_on();
            }
        });
        match released.await {
            Ok(session) => Ok(Some(session)),
            Err(SessionError::NotFound(_)) => Ok(None),
            Err(SessionError::Store(error)) => Err(error),
        }
    }

    /// Notes that `run_id` was the last run to hold the session, where the session does not know it.
    pub async fn note_latest(&self, session_id: &SessionId, run_id: RunId) -> Result<(), StoreError> {
        let latest = self.find(session_id).await?.map(|it| it.latest_run_id);
        if latest.is_none_or(|it| it == Some(run_id)) {
            return Ok(());
        }
        match self.change(session_id, |session| session.latest_run_id = Some(run_id)).await {
            Ok(_) | Err(SessionError::NotFound(_)) => Ok(()),
            Err(SessionError::Store(error)) => Err(error),
        }
    }

    /// Forgets sessions last used before `instant`, those with an active run excepted; gives their ids.
    pub async fn forget_unused_since(&self, instant: Timestamp) -> Result<Vec<SessionId>, StoreError> {
        let mut forgotten = Vec::new();
        for Stored { session, revision } in self.store.unused_since(instant).await? {
            if session.running() {
                continue;
            }
            match self.store.delete(&session.session_id, revision).await {
                Ok(()) => forgotten.push(session.session_id.clone()),
                // It was used in this moment.
                Err(PutError::Conflict { .. }) => {}
                Err(PutError::Store(error)) => return Err(error),
            }
        }
        Ok(forgotten)
    }

    /// Returns once everything acknowledged would survive the end of the process.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.store.flush().await
    }

    async fn stored(&self, session_id: &SessionId) -> Result<Stored, SessionError> {
        let stored = self.store.get(session_id).await?;
        stored.ok_or_else(|| SessionNotFound { session_id: session_id.to_string() }.into())
    }

    async fn try_change<E: From<SessionError>>(
        &self,
        session_id: &SessionId,
        change: impl Fn(&mut Session) -> Result<(), E> + Send,
    ) -> Result<Arc<Session>, E> {
        loop {
            let Stored { session, revision } = self.stored(session_id).await?;
            let mut changed = Session::clone(&session);
            change(&mut changed)?;
            changed.updated_at = clock::now();
            match self.store.put(changed.clone(), revision).await {
                Ok(_) => return Ok(Arc::new(changed)),
                Err(PutError::Conflict { .. }) => {}
                Err(PutError::Store(error)) => return Err(SessionError::Store(error).into()),
            }
        }
    }
}

impl Cause for SessionNotFound {
    fn code(&self) -> Code {
        Code::NotFound
    }

    fn reason(&self) -> &'static str {
        "SESSION_NOT_FOUND"
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![("session_id", self.session_id.clone())]
    }
}

impl Cause for SessionBusy {
    fn code(&self) -> Code {
        Code::FailedPrecondition
    }

    fn reason(&self) -> &'static str {
        "SESSION_BUSY"
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        let session_id = ("session_id", self.session_id.to_string());
        vec![session_id, ("active_run_id", self.active_run_id.to_string())]
    }
}

impl Cause for TooManySessions {
    fn code(&self) -> Code {
        Code::ResourceExhausted
    }

    fn reason(&self) -> &'static str {
        "TOO_MANY_SESSIONS"
    }

    fn retry_delay(&self) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }
}

impl Cause for SessionsUnavailable {
    fn code(&self) -> Code {
        Code::Unavailable
    }

    fn reason(&self) -> &'static str {
        "SESSIONS_UNAVAILABLE"
    }

    fn retry_delay(&self) -> Option<Duration> {
        Some(Duration::from_secs(5))
    }
}

impl Cause for SessionQueueFull {
    fn code(&self) -> Code {
        Code::ResourceExhausted
    }

    fn reason(&self) -> &'static str {
        "SESSION_QUEUE_FULL"
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![("session_id", self.session_id.to_string())]
    }

    fn retry_delay(&self) -> Option<Duration> {
        Some(Duration::from_secs(5))
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::storage::{FileOptions, FileSessionStore, MemorySessionStore};

    #[tokio::test]
    async fn a_new_session_survives_a_kill_right_after() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileSessionStore::open(dir.path().join("sessions.json"), FileOptions::default()).unwrap();
        let sessions = Sessions::new(Arc::new(store), 10);
        let session = sessions.create("ada", "https://host/x/y.git").await.unwrap();
        // What a kill at this moment would leave.
        let copy = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        let store = FileSessionStore::open(copy.path().join("sessions.json"), FileOptions::default());
        assert_eq!(store.unwrap().get(&session.session_id).await.unwrap().unwrap().session, session);
    }

    /// A store that takes everything and can write nothing.
    struct FullDisk(MemorySessionStore);

    #[async_trait]
    impl SessionStore for FullDisk {
        async fn get(&self, session_id: &SessionId) -> Result<Option<Stored>, StoreError> {
            self.0.get(session_id).await
        }

        async fn put(&self, session: Session, expected: Revision) -> Result<Revision, PutError> {
            self.0.put(session, expected).await
        }

        async fn delete(&self, session_id: &SessionId, expected: Revision) -> Result<(), PutError> {
            self.0.delete(session_id, expected).await
        }

        async fn count(&self) -> Result<usize, StoreError> {
            self.0.count().await
        }

        async fn unused_since(&self, instant: Timestamp) -> Result<Vec<Stored>, StoreError> {
            self.0.unused_since(instant).await
        }

        async fn flush(&self) -> Result<(), StoreError> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_would_not_survive_is_not_made() {
        let sessions = Sessions::new(Arc::new(FullDisk(MemorySessionStore::default())), 10);
        let refused = sessions.create("ada", "").await;
        assert!(matches!(refused, Err(CreateSessionError::Unavailable(_))), "{refused:?}");
        assert_eq!(sessions.store.count().await.unwrap(), 0, "nothing is left of it");
    }
}
