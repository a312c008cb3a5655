//! GetSession: the session as stored.

use super::{
    Caller, Gateway, Inner, MissingField, ReadSessionError, SessionIdError, SharedSession,
    error::{operation_error, pass_on},
};
use crate::session::SessionNotFound;

operation_error! {
    /// Why GetSession fails.
    pub enum GetSessionError {
        MissingField(MissingField),
        SessionNotFound(SessionNotFound),
        Inner(Inner),
    }
}

pass_on!(SessionIdError { MissingField, SessionNotFound } => GetSessionError);
pass_on!(ReadSessionError { SessionNotFound, Inner } => GetSessionError);

impl Gateway {
    /// The session named by the field or the cookie.
    pub async fn get_session(
        &self,
        caller: &Caller,
        session_id: &str,
    ) -> Result<SharedSession, GetSessionError> {
        let session_id = caller.session_id(session_id)?;
        Ok(self.sessions.get(&session_id).await.map_err(ReadSessionError::from)?)
    }
}
