//! One run of an orchestrator: what it pushes goes into the log, what it asks is answered, until it says how it ended.

use futures::{StreamExt as _, future::BoxFuture, future::OptionFuture, stream::FuturesUnordered};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    OrchestratorWorker, PushRefused, Pushed,
    due::{Stage, on_server_draft, see_through},
    memo::{Applied, Fate, Memo, NotedCall},
    push::{Said, error_code, timestamp},
    recall::{Due, Recall},
    registry::{Engaged, Push, Taken},
};
use crate::{
    model::{
        Draft, EventKind, Refused, Request, RequestId, RequestKey, RequestKind, RunError, RunState, limits,
    },
    run::EmitError,
    runner::{
        AskError, Emitter, StopWork, Task, ToolCall, ToolError, Verdict, WorkerOutput,
        emitter::cut,
        pending::outcome,
        size::check_answer,
        tool::{approval_of, on_server},
    },
    runtime::task::{self, TaskKind},
};

/// What one orchestrator may wait for at a time, calls that are blocked or made by the gateway included. One more push is
/// refused.
const AWAITED: usize = 2 * limits::OPEN_REQUESTS;
/// How often the log is read again because an answer came while it was read.
const READINGS: usize = 16;

/// One run of an orchestrator. When it ends without the orchestrator having said so, that is told to stop.
pub(super) struct Work<'a> {
    worker: &'a OrchestratorWorker,
    task: &'a Task,
    engaged: Engaged,
    applied: Applied,
    /// What the orchestrator waits for. Gives what it was told.
    awaited: FuturesUnordered<BoxFuture<'a, Result<Option<RequestKey>, RunError>>>,
    /// What it was told since the last event that notes it; at most about as much as it may wait for.
    told: Vec<RequestKey>,
    /// It is to stop, and knows.
    told_to_stop: bool,
    /// It has said how it ended.
    over: bool,
}

impl<'a> Work<'a> {
    /// From now on pushes find the run.
    pub(super) fn begin(worker: &'a OrchestratorWorker, task: &'a Task) -> (Self, mpsc::Receiver<Push>) {
        let request = &task.request;
        let emitter = task.emitter.clone();
        let (engaged, pushes) =
            worker.engagements.engage(&request.session.session_id, request.run_id, emitter);
        let (applied, awaited, told) = Default::default();
        (Self { worker, task, engaged, applied, awaited, told, told_to_stop: false, over: false }, pushes)
    }

    /// Takes up what the log tells: the gateway was restarted, the orchestrator was not.
    pub(super) async fn go_on(&mut self) -> Result<(), RunError> {
        let run_id = self.task.request.run_id;
        let lost = |_| RunError::interrupted();
        let mut stages = None;
        for _ in 0..READINGS {
            let mut recall = Recall::default();
            self.worker.runs.fold(run_id, |event| recall.take(event)).await.map_err(lost)?;
            stages = rejoin(&self.task.emitter, &recall).await?;
            if stages.is_some() {
                if let Some(theirs) = &recall.their_run {
                    self.engaged.name(theirs);
                }
                self.applied = recall.applied;
                break;
            }
        }
        for (request, stage) in stages.ok_or_else(RunError::interrupted)? {
            self.await_outcome(request, stage);
        }
        if self.worker.runs.get(run_id).await.map_err(lost)?.state == RunState::Cancelling {
            self.task.emitter.cancel_run(String::new()).await;
        }
        Ok(())
    }

    /// Takes up what comes until the work has ended.
    pub(super) async fn follow(
        &mut self,
        mut pushes: mpsc::Receiver<Push>,
    ) -> Result<WorkerOutput, RunError> {
        let worker = self.worker;
        let body = worker.invocation(self.task);
        let mut invoking = self.engaged.theirs().is_none();
        let invoke = OptionFuture::from(invoking.then(|| worker.client.invoke(&body)));
        tokio::pin!(invoke);
        let mut heard = Instant::now();
        loop {
            let waits = invoking || !self.awaited.is_empty();
            tokio::select! {
                biased;
                () = self.task.cancel.cancelled(), if !self.told_to_stop => {
                    if self.task.emitter.is_left() {
                        return Err(RunError::interrupted());
                    }
                    self.tell_to_stop();
                }
                run = &mut invoke, if invoking => {
                    invoking = false;
                    match run {
                        Some(Ok(run)) => self.name(&run).await?,
                        // It has made itself known by a push.
                        Some(Err(_)) if self.engaged.theirs().is_some() => {}
                        Some(Err(error)) => {
                            self.over = true;
                            return Err(error.run_error("did not take up the run"));
                        }
                        None => {}
                    }
                    heard = Instant::now();
                }
                Some(told) = self.awaited.next(), if !self.awaited.is_empty() => {
                    self.told.extend(told?);
                    heard = Instant::now();
                }
                Some(push) = pushes.recv() => {
                    heard = Instant::now();
                    if let Some(end) = self.take(push).await? {
                        return end;
                    }
                }
                () = sleep_until(heard + worker.idle_timeout), if !waits => {
                    let silence = worker.idle_timeout.as_secs_f64();
                    let text = format!("the orchestrator has said nothing for {silence} s");
                    return Err(RunError::retryable("orchestrator_failed", text));
                }
            }
        }
    }

    /// Notes the orchestrator's name of the run, so that it is known after a restart too.
    async fn name(&mut self, theirs: &str) -> Result<(), RunError> {
        if self.engaged.theirs() == Some(theirs) {
            return Ok(());
        }
        if !self.engaged.name(theirs) {
            let text = "the orchestrator gave the run the name of another one";
            return Err(RunError::permanent("orchestrator_failed", text));
        }
        let memo = Memo { their_run: Some(theirs.to_owned()), ..Memo::default() };
        let draft = self.task.emitter.running_draft().with_memo(memo.boxed());
        self.task.emitter.record(draft).await?;
        if self.told_to_stop {
            self.tell_to_stop();
        }
        Ok(())
    }

    /// Takes up a push; gives the end, if it is that.
    async fn take(&mut self, push: Push) -> Result<Option<Result<WorkerOutput, RunError>>, RunError> {
        let Push { pushed: Pushed { run_id, event_id, said }, reply } = push;
        let again = event_id.as_deref().is_some_and(|it| self.applied.has_push(it))
            || said.request().is_some_and(|it| self.applied.has_request(&it));
        if again {
            drop(reply.send(Ok(Taken::Applied)));
            return Ok(None);
        }
        if said.is_last() {
            self.over = true;
            self.engaged.ended_by(event_id);
            // Told before the run is cancelled, which may end this at once. Who pushes waits for the end in the log.
            drop(reply.send(Ok(Taken::Ends)));
            return Ok(Some(end(self.task, said).await));
        }
        if let Said::RunStarted { .. } = said {
            let ours = self.task.request.run_id.to_string();
            let fits = self.engaged.theirs().is_none_or(|it| it == run_id) || run_id == ours;
            if fits && run_id != ours {
                self.name(&run_id).await?;
            }
            drop(reply.send(if fits { Ok(Taken::Applied) } else { Err(PushRefused::Renamed) }));
            return Ok(None);
        }
        let request = said.request();
        let memo = Memo { event_id: event_id.clone(), told: self.told.clone(), ..Memo::default() };
        let applied = self.apply(said, memo).await;
        if applied.is_ok() {
            self.told.clear();
            event_id.iter().for_each(|it| self.applied.add_push(it));
            request.iter().for_each(|it| self.applied.add_request(it));
        }
        // Whoever pushed may have gone away; it is applied.
        drop(reply.send(applied.map(|()| Taken::Applied)));
        Ok(None)
    }

    /// Writes an event into the log; returns when it is there.
    async fn apply(&mut self, said: Said, memo: Memo) -> Result<(), PushRefused> {
        let emitter = &self.task.emitter;
        let draft = match said {
            Said::Delta { text } => Draft::new(EventKind::Delta { text: cut(text) }, ""),
            Said::Log { message } => Draft::log(message),
            Said::State { state, detail } if detail.is_null() => Draft::log(state),
            Said::State { state, detail } => Draft::log(format!("{state} {detail}")),
            Said::Progress { percent, message } => {
                emitter.progress_draft(percent.clamp(0.0, 100.0) as u8, message)
            }
            Said::ToolRequest { tool_call_id, tool_name, args, deadline_ts } => {
                let call = ToolCall { id: tool_call_id, name: tool_name, args };
                return self.call(call, deadline_ts, memo).await;
            }
            Said::ApprovalRequired { approval_id, tool_call_id, tool_name, args_summary, expires_ts } => {
                let request = Request::Approval { tool_call_id, tool_name, summary: args_summary.0 };
                return self.ask(approval_id, request, expires_ts, memo).await;
            }
            Said::InputRequired { input_request_id, prompt, deadline_ts } => {
                return self.ask(input_request_id, Request::Input { prompt }, deadline_ts, memo).await;
            }
            Said::RunStarted { .. } | Said::Done { .. } | Said::Error { .. } | Said::Cancelled { .. } => {
                return Ok(());
            }
        };
        Ok(emitter.record(draft.with_memo(memo.boxed())).await?)
    }

    /// Asks the client.
    async fn ask(
        &mut self,
        id: String,
        request: Request,
        until: Option<i64>,
        memo: Memo,
    ) -> Result<(), PushRefused> {
        self.check_room()?;
        let key = RequestKey::new(request.kind(), id.clone());
        let pending = self.task.emitter.ask_noted(RequestId(id), request, timestamp(until), memo.boxed());
        let pending = pending.await?;
        self.await_outcome(key, Stage::Asked(pending));
        Ok(())
    }

    /// Makes a call as soon as the rules allow it: on its MCP server where it has one, else it asks the client.
    async fn call(&mut self, call: ToolCall, until: Option<i64>, memo: Memo) -> Result<(), PushRefused> {
        self.check_room()?;
        check_answer(&call.args).map_err(AskError::TooLarge)?;
        let emitter = &self.task.emitter;
        let key = RequestKey::new(RequestKind::Tool, call.id.clone());
        let noted = |fate| Memo { call: Some(NotedCall::new(&call, fate)), ..Memo::default() };
        let stage = match self.task.context.tool_policy().verdict(&call.name) {
            Verdict::Block => {
                let memo = Memo { call: noted(Fate::Blocked).call, ..memo };
                let told = format!("the call of the tool {} is blocked", call.name);
                emitter.record(Draft::log(told).with_memo(memo.boxed())).await?;
                Stage::NotMade(ToolError::Blocked)
            }
            Verdict::RequireApproval => {
                let memo = Memo { call: noted(Fate::NeedsApproval).call, ..memo };
                let (approval_id, request) = approval_of(&call);
                Stage::Permit(emitter.ask_noted(approval_id, request, None, memo.boxed()).await?, call)
            }
            Verdict::Allow if on_server(self.task, &call.name).is_some() => {
                emitter.record(on_server_draft(&call, memo)).await?;
                Stage::OnServer(call)
            }
            Verdict::Allow => {
                let request = Request::Tool { tool_name: call.name, args: call.args };
                let id = RequestId(call.id);
                Stage::Asked(emitter.ask_noted(id, request, timestamp(until), memo.boxed()).await?)
            }
        };
        self.await_outcome(key, stage);
        Ok(())
    }

    fn check_room(&self) -> Result<(), PushRefused> {
        if self.awaited.len() < AWAITED { Ok(()) } else { Err(PushRefused::TooMany) }
    }

    fn await_outcome(&mut self, request: RequestKey, stage: Stage) {
        let (task, client) = (self.task, &self.worker.client);
        self.awaited.push(Box::pin(see_through(task, client, request, stage)));
    }

    /// Tells the orchestrator that its run is not wanted any more, as soon as it can be named. That goes on when this ends.
    fn tell_to_stop(&mut self) {
        self.told_to_stop = true;
        let Some(run) = self.engaged.theirs().map(str::to_owned) else { return };
        let client = self.worker.client.clone();
        task::spawn(TaskKind::Notice, async move {
            if let Err(error) = client.cancel(&run).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(run, error, "an orchestrator could not be told that its run is cancelled");
            }
        });
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        if !self.over && !self.told_to_stop && !self.task.emitter.is_left() {
            self.tell_to_stop();
        }
    }
}

impl From<EmitError> for PushRefused {
    fn from(error: EmitError) -> Self {
        match error {
            EmitError::Refused(Refused::NotRunning) => Self::Ending,
            EmitError::Refused(Refused::TooManyOpen) => Self::TooMany,
            EmitError::Refused(Refused::RequestIdUsed(_)) => Self::BadRequest(AskError::Refused(error)),
            EmitError::Refused(_) | EmitError::Gone => Self::Ended,
            EmitError::Full => Self::Full,
        }
    }
}

impl From<StopWork> for PushRefused {
    fn from(error: StopWork) -> Self {
        EmitError::from(error).into()
    }
}

impl From<AskError> for PushRefused {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused(error) => error.into(),
            error => Self::BadRequest(error),
        }
    }
}

/// Waits again for what is open. Nothing when something was closed meanwhile: the log tells how.
async fn rejoin(emitter: &Emitter, recall: &Recall) -> Result<Option<Vec<(RequestKey, Stage)>>, RunError> {
    let mut stages = Vec::with_capacity(recall.due.len());
    for (request, due) in recall.due.clone() {
        let stage = match due {
            Due::Asked { deadline } => emitter.rejoin(request.clone(), deadline).await.map(Stage::Asked),
            Due::Permit { approval, deadline, call } => {
                emitter.rejoin(approval, deadline).await.map(|it| Stage::Permit(it, call))
            }
            Due::Permitted(call) => Ok(Stage::Permitted(call)),
            Due::NotMade(error) => Ok(Stage::NotMade(error)),
            Due::Ended(closing) => Ok(Stage::Ended(outcome(closing))),
        };
        match stage {
            Ok(stage) => stages.push((request, stage)),
            Err(EmitError::Refused(Refused::NotWaiting)) => return Ok(None),
            Err(_) => return Err(RunError::interrupted()),
        }
    }
    Ok(Some(stages))
}

/// What the last word of an orchestrator means for its run.
async fn end(task: &Task, said: Said) -> Result<WorkerOutput, RunError> {
    match said {
        Said::Done { output, usage, message } => {
            let usage = usage.map(Into::into);
            Ok(WorkerOutput { value: output, usage, message, ..WorkerOutput::default() })
        }
        Said::Error { code, message, retryable } => {
            let (code, usually) = error_code(&code);
            Err(RunError { code, message, retryable: retryable.unwrap_or(usually) })
        }
        Said::Cancelled { reason } => {
            task.emitter.cancel_run(cut(reason)).await;
            Err(RunError::permanent("cancelled", "the orchestrator has stopped"))
        }
        _ => Err(RunError::permanent("orchestrator_failed", "the orchestrator has stopped")),
    }
}
