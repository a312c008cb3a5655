//! ListRuns: the runs of a session, newest first, paged.

use super::{
    Caller, Gateway, GetSessionError, Inner, MalformedField, MissingField,
    error::{operation_error, pass_on},
};
use crate::{
    model::{Run, RunId, limits},
    run,
    session::SessionNotFound,
};

/// What the client says.
#[derive(Debug, Clone, Default)]
pub struct ListRuns {
    /// The session; empty: the cookie's.
    pub session_id: String,
    /// Runs on the page; 0: the default.
    pub page_size: i32,
    /// What the page before ended with; empty: the first page.
    pub page_token: String,
}

/// A page.
#[derive(Debug, Clone)]
pub struct RunList {
    /// Newest first.
    pub runs: Vec<Run>,
    /// Names the next page; empty on the last.
    pub next_page_token: String,
}

operation_error! {
    /// Why ListRuns fails.
    pub enum ListRunsError {
        MissingField(MissingField),
        MalformedField(MalformedField),
        SessionNotFound(SessionNotFound),
        Inner(Inner),
    }
}

pass_on!(GetSessionError { MissingField, SessionNotFound, Inner } => ListRunsError);

impl Gateway {
    /// A page of a session's runs.
    pub async fn list_runs(&self, caller: &Caller, request: ListRuns) -> Result<RunList, ListRunsError> {
        let limit = match usize::try_from(request.page_size) {
            Ok(0) => limits::PAGE_SIZE,
            Ok(size) => size.min(limits::MAX_PAGE_SIZE),
            Err(_) => return Err(malformed("page_size", "is negative").into()),
        };
        let before = match request.page_token.as_str() {
            "" => None,
            token => Some(RunId::parse(token).map_err(|_| malformed("page_token", "is of no page"))?),
        };
        let session_id = self.get_session(caller, &request.session_id).await?.session_id.clone();
        let page = self.runs.list(run::ListRuns { session_id, before, limit }).await.map_err(Inner::new)?;
        let last = page.runs.last().filter(|_| page.more);
        let next_page_token = last.map(|it| it.run_id.to_string()).unwrap_or_default();
        Ok(RunList { runs: page.runs, next_page_token })
    }
}

fn malformed(field: &'static str, problem: &str) -> MalformedField {
    MalformedField { field, problem: problem.to_owned() }
}
