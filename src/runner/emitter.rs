//! How a worker's words reach the run's log: in order, cut to size, with the progress of the whole run.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    RunContext,
    pending::{Deadlines, Pending, Waits},
    size::{check_answer, too_large},
};
use crate::{
    model::{
        ClientView, Closing, Command, Draft, EventKind, NodeState, Request, RequestId, RequestKey, RunError,
        WorkerKey, limits,
    },
    run::{EmitError, WriterHandle},
    runtime::clock,
};

/// Told to a worker whose words are not wanted any more: it should stop.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the run takes no more events")]
pub struct StopWork(#[from] EmitError);

/// Why a worker cannot ask.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AskError {
    /// The name of the request is empty or longer than [`limits::REQUEST_ID_BYTES`].
    #[error("the name of a request is empty or longer than {} bytes", limits::REQUEST_ID_BYTES)]
    BadName,
    /// What the tool is to be given does not fit into an event.
    #[error("the arguments of a tool call: {0}")]
    TooLarge(String),
    /// The run takes no such request.
    #[error(transparent)]
    Refused(#[from] EmitError),
}

/// One worker's way to the run's log.
#[derive(Clone)]
pub struct Emitter {
    writer: WriterHandle,
    key: WorkerKey,
    progress: Arc<RunProgress>,
    context: Arc<RunContext>,
    deadlines: Deadlines,
    /// What the worker has asked, or was refused; at most [`limits::REQUESTS_PER_RUN`] of the first.
    asked: Arc<Mutex<Vec<RequestKey>>>,
    waits: Waits,
}

/// How far each worker of a run is.
#[derive(Debug)]
pub(super) struct RunProgress {
    workers: Mutex<BTreeMap<WorkerKey, Share>>,
}

#[derive(Debug, Clone, Copy)]
struct Share {
    weight: u32,
    percent: u8,
}

impl Emitter {
    pub(super) fn new(
        writer: WriterHandle,
        key: WorkerKey,
        progress: Arc<RunProgress>,
        context: Arc<RunContext>,
        deadlines: Deadlines,
    ) -> Self {
        let (asked, waits) = Default::default();
        Self { writer, key, progress, context, deadlines, asked, waits }
    }

    /// A line of the run's story.
    pub async fn log(&self, message: impl Into<String>) -> Result<(), StopWork> {
        self.emit(Draft::log(message)).await
    }

    /// This worker is `percent` done.
    pub async fn progress(&self, percent: u8, message: impl Into<String>) -> Result<(), StopWork> {
        let overall = self.progress.set(&self.key, percent);
        self.emit(Draft::new(EventKind::Progress, message).with_progress(overall)).await?;
        if self.progress.has_several() { self.node(NodeState::Running, percent, "").await } else { Ok(()) }
    }

    /// A line of the run's story that also tells how far this worker is and what it looks like.
    pub async fn step(&self, percent: u8, message: &str, view: ClientView) -> Result<(), StopWork> {
        let overall = self.progress.set(&self.key, percent);
        self.emit(Draft::log(message).with_progress(overall).with_view(view)).await
    }

    /// Something to draw.
    pub async fn view(&self, message: impl Into<String>, view: ClientView) -> Result<(), StopWork> {
        self.emit(Draft::log(message).with_view(view)).await
    }

    /// A piece of text that continues the one before.
    pub async fn delta(&self, text: impl Into<String>) -> Result<(), StopWork> {
        let text = cut(text.into());
        self.emit(Draft::new(EventKind::Delta { text }, "")).await
    }

    /// Asks something of the client; the wait for the answer ends with the worker's deadline for such requests.
    pub async fn ask(&self, request_id: RequestId, request: Request) -> Result<Pending, AskError> {
        self.ask_noted(request_id, request, None, None).await
    }

    /// The same with an earlier deadline, where there is one, and with a memo for the worker itself.
    pub(super) async fn ask_noted(
        &self,
        request_id: RequestId,
        request: Request,
        until: Option<Timestamp>,
        memo: Option<Box<Value>>,
    ) -> Result<Pending, AskError> {
        check_name(&request_id.0)?;
        let request = match request {
            Request::Input { prompt } => Request::Input { prompt: cut(prompt) },
            Request::Tool { tool_name, args } => {
                check_answer(&args).map_err(AskError::TooLarge)?;
                Request::Tool { tool_name: cut(tool_name), args }
            }
            Request::Approval { tool_call_id, tool_name, summary } => {
                let tool_call_id = cut(tool_call_id);
                Request::Approval { tool_call_id, tool_name: cut(tool_name), summary: cut(summary) }
            }
        };
        let key = RequestKey { kind: request.kind(), id: request_id.clone() };
        let time = SignedDuration::try_from(self.deadlines.of(key.kind)).unwrap_or(SignedDuration::MAX);
        let deadline = clock::now().saturating_add(time).unwrap_or(Timestamp::MAX);
        let deadline = until.map_or(deadline, |it| it.min(deadline));
        // Noted first: whoever is dropped while he asks may have asked.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(key.clone());
        let answer = self.writer.ask(request_id, request, deadline, memo).await?;
        Ok(Pending::new(key, deadline, answer, self.writer.clone(), &self.waits))
    }

    /// Waits again for what was asked before the gateway was restarted. Refused when it is no longer open.
    pub(super) async fn rejoin(&self, key: RequestKey, deadline: Timestamp) -> Result<Pending, EmitError> {
        let answer = self.writer.rejoin(key.clone()).await?;
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(key.clone());
        Ok(Pending::new(key, deadline, answer, self.writer.clone(), &self.waits))
    }

    /// Says something and waits until it is in the log.
    pub(super) async fn record(&self, draft: Draft) -> Result<(), StopWork> {
        self.writer.apply(Command::Emit(self.fitted(draft))).await?;
        Ok(())
    }

    /// What tells that this worker is `percent` done.
    pub(super) fn progress_draft(&self, percent: u8, message: impl Into<String>) -> Draft {
        Draft::new(EventKind::Progress, message).with_progress(self.progress.set(&self.key, percent))
    }

    /// What tells that this worker is at work.
    pub(super) fn running_draft(&self) -> Draft {
        let (worker_key, error) = (self.key.clone(), String::new());
        let kind = EventKind::Node { worker_key, state: NodeState::Running, progress_percent: 0, error };
        Draft::new(kind, "")
    }

    /// Asks the run to stop, as a client would.
    pub(super) async fn cancel_run(&self, reason: String) {
        // A run that has ended needs no more.
        drop(self.writer.apply(Command::Cancel { reason }).await);
    }

    /// True when the run has no other worker.
    pub(super) fn is_alone(&self) -> bool {
        !self.progress.has_several()
    }

    /// True once the run is left without an end because the gateway ends: nobody has cancelled it.
    pub(super) fn is_left(&self) -> bool {
        self.writer.is_left()
    }

    /// Returns when the terminal event is in the log, or the run is left without one.
    pub(super) async fn ended(&self) {
        self.writer.ended().await;
    }

    /// Takes back what the worker has asked and nobody has answered: it waits no more.
    pub(super) async fn withdraw(&self) {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner));
        // Together, so that they share a commit of the log. One that was answered is refused, and so is all when the run has
        // ended.
        let withdrawn = asked.into_iter().map(|it| self.writer.close(Some(it), Closing::Withdrawn));
        drop(futures::future::join_all(withdrawn).await);
    }

    /// How long the worker has waited for answers.
    pub(super) fn waited(&self) -> Duration {
        self.waits.total()
    }

    /// Cancelled when the worker is to stop at once, because it only waits.
    pub(super) fn cancelled_at_once(&self) -> &CancellationToken {
        self.writer.cancelled_at_once()
    }

    /// Where this worker stands.
    pub(super) async fn node(&self, state: NodeState, percent: u8, error: &str) -> Result<(), StopWork> {
        if matches!(state, NodeState::Succeeded | NodeState::Cached) {
            self.progress.set(&self.key, 100);
        }
        let worker_key = self.key.clone();
        let error = cut(error.to_owned());
        let kind = EventKind::Node { worker_key, state, progress_percent: percent, error };
        self.emit(Draft::new(kind, "").with_progress(self.progress.overall())).await
    }

    async fn emit(&self, draft: Draft) -> Result<(), StopWork> {
        Ok(self.writer.emit(self.fitted(draft)).await?)
    }

    /// The same, cut to size.
    fn fitted(&self, mut draft: Draft) -> Draft {
        draft.message = cut(draft.message);
        if let Some(view) = &mut draft.view {
            self.context.name_nodes(view);
        }
        if let Some(left_out) = draft.view.as_ref().and_then(too_large) {
            draft.view = None;
            draft.message = format!("{} [{left_out}]", draft.message).trim_start().to_owned();
        }
        draft
    }
}

impl RunProgress {
    pub(super) fn new(weights: impl IntoIterator<Item = (WorkerKey, u32)>) -> Self {
        let shares = weights.into_iter().map(|(key, weight)| (key, Share { weight, percent: 0 }));
        Self { workers: Mutex::new(shares.collect()) }
    }

    /// Notes that a worker is `percent` done; gives the progress of the whole run.
    fn set(&self, key: &WorkerKey, percent: u8) -> u8 {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = workers.get_mut(key) {
            share.percent = share.percent.max(percent.min(100));
        }
        overall(&workers)
    }

    fn overall(&self) -> u8 {
        overall(&self.workers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn has_several(&self) -> bool {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).len() > 1
    }
}

impl From<StopWork> for EmitError {
    fn from(StopWork(error): StopWork) -> Self {
        error
    }
}

impl From<StopWork> for RunError {
    fn from(stop: StopWork) -> Self {
        Self::permanent("run_ended", stop.to_string())
    }
}

fn overall(workers: &BTreeMap<WorkerKey, Share>) -> u8 {
    let total: u64 = workers.values().map(|it| u64::from(it.weight)).sum();
    let done: u64 = workers.values().map(|it| u64::from(it.weight) * u64::from(it.percent)).sum();
    done.checked_div(total).map_or(0, |percent| percent.min(100) as u8)
}

/// Refuses what cannot name a request.
pub(super) fn check_name(id: &str) -> Result<(), AskError> {
    if id.is_empty() || id.len() > limits::REQUEST_ID_BYTES { Err(AskError::BadName) } else { Ok(()) }
}

/// Text that fits into one event; what is cut off is told.
pub(super) fn cut(mut text: String) -> String {
    if text.len() > limits::EVENT_TEXT_BYTES {
        let whole = text.len();
        let end = text.floor_char_boundary(limits::EVENT_TEXT_BYTES);
        text.truncate(end);
        text.push_str(&format!(" … [{} of {whole} bytes cut]", whole - end));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_weighted() {
        let progress = RunProgress::new([("scan".into(), 3), ("plan".into(), 1)]);
        assert_eq!(progress.set(&"scan".into(), 50), 37);
        assert_eq!(progress.set(&"SCAN ".into(), 100), 75);
        assert_eq!(progress.set(&"plan".into(), 200), 100);
    }

    #[test]
    fn long_text_is_cut_and_says_so() {
        let text = cut("ä".repeat(limits::EVENT_TEXT_BYTES));
        assert!(text.len() < limits::EVENT_TEXT_BYTES + 64);
        assert!(text.ends_with("bytes cut]"), "{}", &text[text.len() - 40..]);
    }
}
