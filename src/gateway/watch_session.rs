//! WatchSession: the events of all runs of a session through one cursor, then live.

use super::{
    BadSessionCursor, Caller, Gateway, Inner, MissingField, ReadSessionError, SessionIdError,
    error::{operation_error, pass_on},
};
use crate::{
    model::SessionPosition,
    run::{self, CursorExpired, CursorOutOfRange, RunUnreadable, SessionEnded, WatchEnd, WatchSessionError},
    session::{SessionError, SessionNotFound, Sessions},
};

/// What the client says.
#[derive(Debug, Clone, Default)]
pub struct WatchSession {
    /// The session; empty: the cookie's.
    pub session_id: String,
    /// A cursor; empty: from the first event that is kept; `now`: only what is new.
    pub after: String,
    /// Whether deltas of the catch-up are merged and superseded progress is left out.
    pub compact: bool,
}

/// The watch of a session, which ends when the session does.
pub struct SessionWatch {
    watch: run::SessionWatch,
    sessions: Sessions,
}

operation_error! {
    /// Why the watch of a session does not begin.
    pub enum BeginSessionWatchError {
        MissingField(MissingField),
        SessionNotFound(SessionNotFound),
        BadCursor(BadSessionCursor),
        OutOfRange(CursorOutOfRange),
        Expired(CursorExpired),
        Unreadable(RunUnreadable),
        Inner(Inner),
    }
}

pass_on!(SessionIdError { MissingField, SessionNotFound } => BeginSessionWatchError);
pass_on!(ReadSessionError { SessionNotFound, Inner } => BeginSessionWatchError);
pass_on!(WatchSessionError { OutOfRange, Expired, Unreadable } => BeginSessionWatchError);

impl Gateway {
    /// Begins to read the logs of the session named by the field or the cookie.
    pub async fn watch_session(
        &self,
        caller: &Caller,
        request: WatchSession,
    ) -> Result<SessionWatch, BeginSessionWatchError> {
        let session_id = caller.session_id(&request.session_id)?;
        // A session that does not exist is told before a cursor that is none.
        self.sessions.get(&session_id).await.map_err(ReadSessionError::from)?;
        let position = SessionPosition::parse(request.after.trim(), &session_id);
        let position =
            position.map_err(|error| BadSessionCursor { session_id: session_id.clone(), error })?;
        let watch = self.runs.watch_session(session_id, position).await?;
        let watch = if request.compact { watch.compact() } else { watch };
        Ok(SessionWatch { watch, sessions: self.sessions.clone() })
    }
}

impl SessionWatch {
    /// The next events; see [`run::SessionWatch::next`].
    pub async fn next(&mut self) -> Result<Vec<crate::model::SessionEntry>, WatchEnd> {
        self.watch.next().await
    }

    /// Says so when the session is gone. For a silence: a session in which something happens is kept.
    pub async fn ended(&self) -> Option<WatchEnd> {
        let session_id = self.watch.session_id();
        let found = self.sessions.get(session_id).await;
        let gone = matches!(found, Err(SessionError::NotFound(_)));
        gone.then(|| SessionEnded { session_id: session_id.clone() }.into())
    }
}
