//! InitRun: find or create the session, make sure of its run context, start the bootstrap run.

use super::{
    Caller, Draining, Gateway, Inner, MalformedField, SharedSession, complete,
    error::operation_error,
    start_run::{BeginRun, BeginRunError, PLAN_PIPELINE},
};
use crate::{
    model::{RunId, limits},
    run::{LogFull, LogUnavailable},
    session::{CreateSessionError, SessionBusy, SessionsUnavailable, TooManySessions},
};

/// What the client says.
#[derive(Debug, Clone, Default)]
pub struct InitRun {
    /// Who the session belongs to. Empty: the default user for a new session, unchanged for a known one.
    pub user_id: String,
    /// The repository's address. Empty: unchanged.
    pub repo_url: String,
}

/// The session and its bootstrap run.
#[derive(Debug, Clone)]
pub struct Initialized {
    /// The session, found or made.
    pub session: SharedSession,
    /// The bootstrap run, or the run that holds the session already.
    pub bootstrap_run_id: RunId,
}

operation_error! {
    /// Why InitRun fails.
    pub enum InitRunError {
        MalformedField(MalformedField),
        Draining(Draining),
        LogFull(LogFull),
        LogUnavailable(LogUnavailable),
        TooManySessions(TooManySessions),
        SessionsUnavailable(SessionsUnavailable),
        Inner(Inner),
    }
}

impl Gateway {
    /// Finds the session by the cookie alone; one that is not known makes a new session.
    pub async fn init_run(&self, caller: &Caller, request: InitRun) -> Result<Initialized, InitRunError> {
        let user_id = short("user_id", &request.user_id)?;
        let repo_url = short("repo_url", &request.repo_url)?;
        self.check_open()?;
        let (gateway, cookie) = (self.clone(), caller.cookie_session.clone());
        complete(async move {
            let known = match cookie {
                Some(session_id) => gateway.sessions.find(&session_id).await.map_err(Inner::from)?,
                None => None,
            };
            let session = match known {
                Some(session) => gateway.rename(session, &user_id, &repo_url).await?,
                None => gateway.sessions.create(&user_id, &repo_url).await?,
            };
            let bootstrap_run_id = gateway.bootstrap(&session).await?;
            Ok(Initialized { session, bootstrap_run_id })
        })
        .await
    }

    pub(super) async fn rename(
        &self,
        session: SharedSession,
        user_id: &str,
        repo_url: &str,
    ) -> Result<SharedSession, Inner> {
        let renamed = self.sessions.change(&session.session_id, |session| {
            if !user_id.is_empty() {
                session.user_id = user_id.to_owned();
            }
            if !repo_url.is_empty() {
                session.set_repo(repo_url);
            }
        });
        renamed.await.map_err(Inner::new)
    }

    async fn bootstrap(&self, session: &SharedSession) -> Result<RunId, InitRunError> {
        let begun = BeginRun {
            session_id: session.session_id.clone(),
            pipeline_id: PLAN_PIPELINE.into(),
            params: Default::default(),
            if_busy: Default::default(),
            key: None,
            cancel_on_disconnect: false,
        };
        match self.begin_run(begun).await {
            Ok(run_id) => Ok(run_id),
            Err(BeginRunError::SessionBusy(SessionBusy { active_run_id, .. })) => Ok(active_run_id),
            Err(error) => Err(error.into()),
        }
    }
}

/// The text trimmed; one that is too long, or has line breaks or other control characters in it, is malformed.
pub(super) fn short(field: &'static str, text: &str) -> Result<String, MalformedField> {
    let text = text.trim();
    if text.len() > limits::SHORT_TEXT_BYTES {
        let problem = format!("is longer than {} bytes", limits::SHORT_TEXT_BYTES);
        return Err(MalformedField { field, problem });
    }
    if text.chars().any(char::is_control) {
        return Err(MalformedField { field, problem: "has control characters in it".to_owned() });
    }
    Ok(text.to_owned())
}

impl From<CreateSessionError> for InitRunError {
    fn from(error: CreateSessionError) -> Self {
        match error {
            CreateSessionError::TooMany(cause) => cause.into(),
            CreateSessionError::Unavailable(cause) => cause.into(),
            CreateSessionError::Store(error) => Inner::from(error).into(),
        }
    }
}

impl From<BeginRunError> for InitRunError {
    fn from(error: BeginRunError) -> Self {
        match error {
            BeginRunError::LogFull(cause) => cause.into(),
            BeginRunError::LogUnavailable(cause) => cause.into(),
            BeginRunError::Draining(cause) => cause.into(),
            BeginRunError::Inner(cause) => cause.into(),
            // The session was made or found a moment ago.
            error => Inner::new(error).into(),
        }
    }
}
