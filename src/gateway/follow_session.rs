//! FollowSession: the runs of a session as they begin, for those who watch each of them by itself.

use super::Gateway;
use crate::{model::SessionId, run::SessionRuns};

impl Gateway {
    /// Follows the session from now on: runs that are there already are not told.
    pub async fn follow_session(&self, session_id: &SessionId) -> SessionRuns {
        self.runs.follow_session(session_id.clone()).await
    }
}
