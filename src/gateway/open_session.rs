//! OpenSession: the session that a conversation is about, found or made. Starts nothing.

use super::{
    Caller, Gateway, Inner, MalformedField, SharedSession, complete,
    error::{self, operation_error},
    init_run::short,
};
use crate::session::{
    CreateSessionError, SessionError, SessionNotFound, SessionsUnavailable, TooManySessions,
};

/// What the client says.
#[derive(Debug, Clone, Default)]
pub struct OpenSession {
    /// The session; one that is not known is an error. Empty: the cookie's or, when that names none, a new one.
    pub session_id: String,
    /// Who the session belongs to. Empty: the default user for a new session, unchanged for a known one.
    pub user_id: String,
}

operation_error! {
    /// Why no session is opened.
    pub enum OpenSessionError {
        MalformedField(MalformedField),
        SessionNotFound(SessionNotFound),
        TooManySessions(TooManySessions),
        SessionsUnavailable(SessionsUnavailable),
        Inner(Inner),
    }
}

impl Gateway {
    /// Finds the session that the field or the cookie names, or makes a new one. Never another one than the field says.
    pub async fn open_session(
        &self,
        caller: &Caller,
        request: OpenSession,
    ) -> Result<SharedSession, OpenSessionError> {
        let user_id = short("user_id", &request.user_id)?;
        let named = match request.session_id.trim() {
            "" => None,
            text => Some(error::session_id(text)?),
        };
        let (sessions, cookie) = (self.sessions.clone(), caller.cookie_session.clone());
        let gateway = self.clone();
        complete(async move {
            let known = match (named, cookie) {
                (Some(session_id), _) => Some(sessions.get(&session_id).await?),
                (None, Some(session_id)) => sessions.find(&session_id).await.map_err(Inner::from)?,
                (None, None) => None,
            };
            match known {
                Some(session) if user_id.is_empty() || session.user_id == user_id => Ok(session),
                Some(session) => Ok(gateway.rename(session, &user_id, "").await?),
                None => Ok(sessions.create(&user_id, "").await?),
            }
        })
        .await
    }
}

impl From<SessionError> for OpenSessionError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::NotFound(cause) => cause.into(),
            SessionError::Store(error) => Inner::from(error).into(),
        }
    }
}

impl From<CreateSessionError> for OpenSessionError {
    fn from(error: CreateSessionError) -> Self {
        match error {
            CreateSessionError::TooMany(cause) => cause.into(),
            CreateSessionError::Unavailable(cause) => cause.into(),
            CreateSessionError::Store(error) => Inner::from(error).into(),
        }
    }
}
