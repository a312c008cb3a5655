//! SubmitRunInput: answer the run that waits for the person, or start the continuation of the conversation.

use super::{
    Caller, Draining, Gateway, Inner, MalformedField, MissingField, NotPending, ReadSessionError,
    RunNotActive, SessionIdError, complete,
    error::{operation_error, pass_on},
    start_run::{BeginRun, BeginRunError, PLAN_PIPELINE},
};
use crate::{
    model::{Answer, RequestKey, RequestKind, RunId, Session, limits},
    run::{AnswerError, ListRuns, LogFull, LogUnavailable, ReadRunError, RunNotFound, RunUnreadable},
    session::{IfBusy, SessionBusy, SessionNotFound, SessionQueueFull},
};

/// What the client says.
#[derive(Debug, Clone, Default)]
pub struct SubmitRunInput {
    /// The session; empty: the cookie's.
    pub session_id: String,
    /// When given: the session's active run or, when none is active, its latest.
    pub run_id: String,
    /// What the person says.
    pub input: String,
    /// The question that is answered; empty: the oldest open one. Where it is given, nothing is begun.
    pub input_request_id: String,
}

operation_error! {
    /// Why SubmitRunInput fails.
    pub enum SubmitRunInputError {
        MissingField(MissingField),
        MalformedField(MalformedField),
        SessionNotFound(SessionNotFound),
        RunNotActive(RunNotActive),
        RunNotFound(RunNotFound),
        RunUnreadable(RunUnreadable),
        NotPending(NotPending),
        SessionBusy(SessionBusy),
        SessionQueueFull(SessionQueueFull),
        LogFull(LogFull),
        LogUnavailable(LogUnavailable),
        Draining(Draining),
        Inner(Inner),
    }
}

pass_on!(SessionIdError { MissingField, SessionNotFound } => SubmitRunInputError);
pass_on!(ReadSessionError { SessionNotFound, Inner } => SubmitRunInputError);
pass_on!(ReadRunError { RunNotFound, RunUnreadable } => SubmitRunInputError);
pass_on!(
    BeginRunError { SessionNotFound, SessionBusy, SessionQueueFull, LogFull, LogUnavailable, Draining, Inner }
    => SubmitRunInputError
);

impl Gateway {
    /// Hands over the person's input; gives the run that handles it.
    pub async fn submit_run_input(
        &self,
        caller: &Caller,
        request: SubmitRunInput,
    ) -> Result<RunId, SubmitRunInputError> {
        let session_id = caller.session_id(&request.session_id)?;
        let input = request.input.trim().to_owned();
        if input.is_empty() {
            return Err(MissingField("input").into());
        }
        if input.len() > limits::INPUT_BYTES {
            let problem = format!("is longer than {} bytes", limits::INPUT_BYTES);
            return Err(MalformedField { field: "input", problem }.into());
        }
        let session = self.sessions.get(&session_id).await.map_err(ReadSessionError::from)?;
        self.check_run(&session, request.run_id.trim()).await?;
        let gateway = self.clone();
        let question = match request.input_request_id.as_str() {
            "" => None,
            id => Some(RequestKey::new(RequestKind::Input, id)),
        };
        complete(async move {
            let answer = Answer::Input(input.clone());
            if question.is_some() {
                return gateway.answer_question(&session, &request.run_id, question, answer).await;
            }
            if let Some(active) = session.active_run_id
                && gateway.runs.answer(active, None, answer).await.is_ok()
            {
                return Ok(active);
            }
            let params = [("user_input".to_owned(), input)].into();
            let begun = BeginRun {
                session_id,
                pipeline_id: PLAN_PIPELINE.into(),
                params,
                if_busy: IfBusy::Reject,
                key: None,
                cancel_on_disconnect: false,
            };
            Ok(gateway.begin_run(begun).await?)
        })
        .await
    }

    /// Answers a question that the client names.
    async fn answer_question(
        &self,
        session: &Session,
        run_id: &str,
        question: Option<RequestKey>,
        answer: Answer,
    ) -> Result<RunId, SubmitRunInputError> {
        let named = RunId::parse(run_id.trim()).ok();
        let run_id = named.or(session.active_run_id).or(session.latest_run_id);
        let run_id = run_id.ok_or(MissingField("run_id"))?;
        match self.runs.answer(run_id, question, answer).await {
            Ok(()) => Ok(run_id),
            Err(AnswerError::NotPending) => Err(NotPending { run_id, what: "this input" }.into()),
            Err(AnswerError::LogFull(cause)) => Err(cause.into()),
            Err(AnswerError::Read(error)) => Err(error.into()),
        }
    }

    /// A run that the client names must be the one the session is at.
    async fn check_run(&self, session: &Session, run_id: &str) -> Result<(), RunNotActive> {
        if run_id.is_empty() {
            return Ok(());
        }
        if let Ok(named) = RunId::parse(run_id) {
            let current = session.active_run_id.or(session.latest_run_id);
            if current == Some(named) || !session.running() && self.is_newest(session, named).await {
                return Ok(());
            }
        }
        let run_id = run_id.chars().take(64).collect();
        Err(RunNotActive { run_id, session_id: session.session_id.clone() })
    }

    /// True for the newest run of a session, if it has ever held it. The session does not know that when the process was
    /// killed right after.
    async fn is_newest(&self, session: &Session, run_id: RunId) -> bool {
        let newest = ListRuns { session_id: session.session_id.clone(), before: None, limit: 1 };
        let newest = self.runs.list(newest).await;
        newest.is_ok_and(|page| page.runs.iter().any(|it| it.run_id == run_id && it.started_at.is_some()))
    }
}
