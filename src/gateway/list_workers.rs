//! ListWorkers: what can be started.

use super::{
    Caller, Gateway, Inner, ReadSessionError,
    error::{operation_error, pass_on, session_id},
};
use crate::{model::Session, runner::WorkerSpec, session::SessionNotFound};

/// A worker that can be started.
pub type ListedWorker = WorkerSpec;

operation_error! {
    /// Why ListWorkers fails.
    pub enum ListWorkersError {
        SessionNotFound(SessionNotFound),
        Inner(Inner),
    }
}

pass_on!(ReadSessionError { SessionNotFound, Inner } => ListWorkersError);

impl Gateway {
    /// All workers, by key; with those of the session when the caller has one.
    pub async fn list_workers(
        &self,
        caller: &Caller,
        named: &str,
    ) -> Result<Vec<ListedWorker>, ListWorkersError> {
        let session = match named.trim() {
            "" => match &caller.cookie_session {
                // A cookie of a session that is gone is no error: nobody asked for that session by name.
                Some(session_id) => self.sessions.find(session_id).await.map_err(Inner::from)?,
                None => None,
            },
            named => Some(self.sessions.get(&session_id(named)?).await.map_err(ReadSessionError::from)?),
        };
        let workers = match &session {
            Some(session) => self.workers_of(session),
            None => self.launcher.contexts().common_resolver().workers(),
        };
        Ok(workers.iter().map(|it| it.spec().clone()).collect())
    }

    fn workers_of(&self, session: &Session) -> Vec<std::sync::Arc<dyn crate::runner::Worker>> {
        self.launcher.contexts().of(&session.session_id).resolver(session).workers()
    }
}
