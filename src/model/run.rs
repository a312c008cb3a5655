//! The run state machine: `state + command + now -> events`, without clock or I/O.
//!
//! ```text
//! QUEUED ──start──> RUNNING <──close── WAITING_INPUT, WAITING_TOOL, WAITING_APPROVAL
//!    │                 │ ───ask─────────────^ │          (a rerun leads back to QUEUED)
//!    │                 ├──cancel──> CANCELLING <┘
//!    └──cancel─┐       │                │
//!              v     finish           finish
//!        CANCELLED   SUCCEEDED, FAILED, CANCELLED
//! ```

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Answer, ClientView, Closed, Closing, Draft, Event, EventKind, Request, RequestId, RequestKey,
    RequestKind, Requests, RunId, SessionId, Usage, WorkerKey,
};

/// What is known of a run beside its log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Names the run.
    pub run_id: RunId,
    /// The session it was started in.
    pub session_id: SessionId,
    /// The worker at the end of its DAG.
    pub pipeline_id: WorkerKey,
    /// Where it stands.
    pub state: RunState,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When its workers began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The sequence of its newest event.
    pub last_sequence: u64,
    /// Why it failed.
    pub error: Option<RunError>,
    /// How often its workers were begun from the start, this time included.
    #[serde(default = "first_attempt")]
    pub attempt: u32,
    /// Whether it is cancelled when nobody watches it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel_on_disconnect: bool,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Waits for capacity.
    Queued,
    /// Its workers are at work.
    Running,
    /// A worker waits for the person.
    WaitingInput,
    /// A worker waits for a tool of the client.
    WaitingTool,
    /// A worker waits for a decision.
    WaitingApproval,
    /// Asked to stop; its workers have been told.
    Cancelling,
    /// Terminal.
    Succeeded,
    /// Terminal.
    Failed,
    /// Terminal.
    Cancelled,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// A stable name for programs, such as `worker_failed`.
    pub code: String,
    /// What a person reads.
    pub message: String,
    /// True when the same run may succeed if started again.
    pub retryable: bool,
}

/// How a run ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Its last worker gave an output.
    Succeeded {
        /// The message of the COMPLETE event.
        message: String,
        /// The output.
        output: Value,
        /// What a client can draw of it.
        view: Option<ClientView>,
        /// What language models charged for.
        usage: Option<Usage>,
    },
    /// It could not be done.
    Failed(RunError),
    /// Its workers stopped as they were told.
    Cancelled,
}

/// What can be asked of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Capacity was found; its workers begin.
    Start,
    /// A worker has something to say.
    Emit(Draft),
    /// A worker asks something of the client and waits.
    Ask {
        /// Names the request; each kind of request has names of its own.
        request_id: RequestId,
        /// What it asks.
        request: Request,
        /// When it stops waiting.
        deadline: Timestamp,
        /// What the worker keeps with it; see [`Event::memo`].
        memo: Option<Box<Value>>,
    },
    /// After a restart of the gateway a worker waits again for what it had asked before. Nothing is told of it.
    Rejoin(RequestKey),
    /// A request ends.
    Close {
        /// The request; none: the person's answer is for the oldest open question.
        request: Option<RequestKey>,
        /// How it ends.
        closing: Closing,
    },
    /// Somebody wants it to stop.
    Cancel {
        /// Why; may be empty.
        reason: String,
    },
    /// Its workers have ended.
    Finish(Outcome),
    /// Its workers are gone with their process, and will be begun again from the start.
    Rerun,
    /// The gateway ends; its workers are to stop.
    Stop(Stop),
}

/// What the end of the gateway makes of a run that has not ended by itself when its workers have stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It ends with an error that says so.
    Interrupt,
    /// It stays without an end: it begins again when the gateway is back.
    Leave,
    /// It stays as it is from this moment on, open requests included: who works at it outlives the gateway, and it is taken
    /// up where it stands when the gateway is back.
    Park,
}

/// Why a run does not take a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has its terminal event.
    #[error("the run has ended")]
    Ended(RunState),
    /// It was started before.
    #[error("the run was started before")]
    Started,
    /// Its workers have not begun or have been told to stop.
    #[error("the run is not running")]
    NotRunning,
    /// It waits for no such answer.
    #[error("the run does not wait for this answer")]
    NotWaiting,
    /// It was given another answer.
    #[error("the run was given another answer")]
    AnsweredOtherwise,
    /// Somebody still waits for the answer.
    #[error("the answer is still awaited")]
    StillAwaited,
    /// The worker used a name for two questions.
    #[error("the request id {0} was used before")]
    RequestIdUsed(RequestId),
    /// More questions are open than a run may have.
    #[error("too many open requests")]
    TooManyOpen,
}

/// A run and the rules by which it changes.
#[derive(Debug, Clone, PartialEq)]
pub struct RunMachine {
    run: Run,
    progress_percent: u8,
    cancel_reason: String,
    requests: Requests,
    stop: Option<Stop>,
    left: bool,
}

impl RunState {
    /// True for the three states that no run leaves.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// True while a worker waits for an answer of the client.
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::WaitingInput | Self::WaitingTool | Self::WaitingApproval)
    }

    /// The state's name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::WaitingInput => "waiting_input",
            Self::WaitingTool => "waiting_tool",
            Self::WaitingApproval => "waiting_approval",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl RunError {
    /// An error that another try would meet again.
    pub fn permanent(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), retryable: false }
    }

    /// An error that another try may not meet.
    pub fn retryable(code: &str, message: impl Into<String>) -> Self {
        Self { retryable: true, ..Self::permanent(code, message) }
    }

    /// The end of the gateway cut the run short.
    pub fn interrupted() -> Self {
        Self::retryable("interrupted", "the gateway ended before the run did")
    }
}

impl RunMachine {
    /// A new run, and the event that begins its log.
    pub fn create(
        run_id: RunId,
        session_id: SessionId,
        pipeline_id: WorkerKey,
        now: Timestamp,
    ) -> (Self, Event) {
        let run = Run {
            run_id,
            session_id,
            pipeline_id,
            state: RunState::Queued,
            created_at: now,
            started_at: None,
            finished_at: None,
            last_sequence: 0,
            error: None,
            attempt: 1,
            cancel_on_disconnect: false,
        };
        let mut machine = Self::restore(run, 0);
        let event = machine.state_event(RunState::Queued, "", now);
        (machine, event)
    }

    /// The same run, cancelled when nobody watches it any more, or not.
    #[must_use]
    pub fn cancelled_on_disconnect(mut self, cancel: bool) -> Self {
        self.run.cancel_on_disconnect = cancel;
        self
    }

    /// A run whose workers are gone with their process: what is known of it, and the progress that its newest event told.
    /// Nobody waits for the answers to its questions any more.
    pub fn restore(run: Run, progress_percent: u8) -> Self {
        Self {
            run,
            progress_percent,
            cancel_reason: String::new(),
            requests: Requests::default(),
            stop: None,
            left: false,
        }
    }

    /// The same run with what its log tells of its requests: whoever works at it outlived the gateway and waits for them.
    #[must_use]
    pub fn asking(self, requests: Requests) -> Self {
        Self { requests, ..self }
    }

    /// What is known of the run beside its log.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// True once the run is left without an end because the gateway ends. Nothing is taken any more.
    pub fn is_left(&self) -> bool {
        self.left
    }

    /// Takes `command` and gives the events to append, in order; nothing changes when it is refused.
    pub fn apply(&mut self, command: Command, now: Timestamp) -> Result<Vec<Event>, Refused> {
        if self.run.state.is_terminal() {
            return Err(Refused::Ended(self.run.state));
        }
        if self.left {
            return Err(Refused::NotRunning);
        }
        match command {
            Command::Start => self.start(now),
            Command::Emit(draft) => Ok(vec![self.number(draft, now)]),
            Command::Ask { request_id, request, deadline, memo } => {
                let key = RequestKey { kind: request.kind(), id: request_id.clone() };
                self.ask(key, request_draft(request_id, request, deadline).with_memo(memo), now)
            }
            Command::Rejoin(request) if self.requests.open().contains(&request) => Ok(Vec::new()),
            Command::Rejoin(_) => Err(Refused::NotWaiting),
            Command::Close { request, closing } => self.close(request, closing, now),
            Command::Cancel { reason } => Ok(self.cancel(reason, now)),
            Command::Finish(outcome) => Ok(self.end(outcome, now)),
            Command::Rerun => Ok(vec![self.rerun(now)]),
            Command::Stop(stop) => Ok(self.stop(stop, now)),
        }
    }

    /// What the run asked and how that ended.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    fn start(&mut self, now: Timestamp) -> Result<Vec<Event>, Refused> {
        if self.run.state != RunState::Queued {
            return Err(Refused::Started);
        }
        self.run.started_at.get_or_insert(now);
        Ok(vec![self.state_event(RunState::Running, "", now)])
    }

    /// Who asked for the end gets it; every other run waits for its turn once more.
    fn rerun(&mut self, now: Timestamp) -> Event {
        if self.run.state == RunState::Cancelling {
            return self.finish(Outcome::Cancelled, now);
        }
        self.requests.clear();
        // A run whose workers never began is still at its first attempt.
        if self.run.started_at.is_some() {
            self.run.attempt += 1;
        }
        self.state_event(RunState::Queued, "the gateway ended meanwhile; the run begins again", now)
    }

    fn ask(&mut self, request: RequestKey, draft: Draft, now: Timestamp) -> Result<Vec<Event>, Refused> {
        if self.run.state != RunState::Running && !self.run.state.is_waiting() {
            return Err(Refused::NotRunning);
        }
        self.requests.ask(request)?;
        Ok(self.with_state_waited_in(draft, now))
    }

    /// A run that was asked to stop takes no more answers: its workers do not wait for them.
    fn close(
        &mut self,
        request: Option<RequestKey>,
        closing: Closing,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refused> {
        let request = request.or_else(|| self.requests.oldest(RequestKind::Input).cloned());
        let request = request.ok_or(Refused::NotWaiting)?;
        let stopping = self.run.state == RunState::Cancelling;
        if stopping && matches!(closing, Closing::Answered(_)) && self.requests.open().contains(&request) {
            return Err(Refused::NotWaiting);
        }
        match self.requests.close(&request, &closing)? {
            Closed::Before => Ok(Vec::new()),
            Closed::Now => {
                let message = closing_message(request.kind, &closing);
                let draft = Draft::new(EventKind::Closed { request, closing }, message);
                Ok(self.with_state_waited_in(draft, now))
            }
        }
    }

    /// The event, and the state of the run after it if that is another one: the oldest open request decides.
    fn with_state_waited_in(&mut self, draft: Draft, now: Timestamp) -> Vec<Event> {
        let mut events = vec![self.number(draft, now)];
        let state = match self.requests.awaited() {
            None => RunState::Running,
            Some(RequestKind::Input) => RunState::WaitingInput,
            Some(RequestKind::Tool) => RunState::WaitingTool,
            Some(RequestKind::Approval) => RunState::WaitingApproval,
        };
        if self.run.state != RunState::Cancelling && self.run.state != state {
            events.push(self.state_event(state, "", now));
        }
        events
    }

    fn cancel(&mut self, reason: String, now: Timestamp) -> Vec<Event> {
        match self.run.state {
            RunState::Cancelling => Vec::new(),
            RunState::Queued => {
                self.cancel_reason = reason;
                vec![self.finish(Outcome::Cancelled, now)]
            }
            _ => {
                self.cancel_reason = reason.clone();
                vec![self.state_event(RunState::Cancelling, &reason, now)]
            }
        }
    }

    /// A run that waits has no workers that must stop first.
    fn stop(&mut self, stop: Stop, now: Timestamp) -> Vec<Event> {
        self.stop = Some(stop);
        match (self.run.state, stop) {
            (RunState::Queued, _) => self.end(Outcome::Cancelled, now),
            (_, Stop::Park) => {
                self.left = true;
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Workers that stopped because the gateway ends were not cancelled by anybody.
    fn end(&mut self, outcome: Outcome, now: Timestamp) -> Vec<Event> {
        let outcome = match (outcome, self.stop) {
            (Outcome::Cancelled, Some(_)) if self.run.state == RunState::Cancelling => Outcome::Cancelled,
            (Outcome::Cancelled, Some(Stop::Interrupt)) => Outcome::Failed(RunError::interrupted()),
            (Outcome::Cancelled, Some(Stop::Leave | Stop::Park)) => {
                self.left = true;
                return Vec::new();
            }
            (outcome, _) => outcome,
        };
        vec![self.finish(outcome, now)]
    }

    fn finish(&mut self, outcome: Outcome, now: Timestamp) -> Event {
        // Who asked for the end is told that it ended so, whatever the workers made of their last moments.
        let outcome = if self.run.state == RunState::Cancelling { Outcome::Cancelled } else { outcome };
        self.run.finished_at = Some(now);
        let draft = match outcome {
            Outcome::Succeeded { message, output, view, usage } => {
                self.run.state = RunState::Succeeded;
                Draft::new(EventKind::Complete { output, usage }, message).with_progress(100).with_view(view)
            }
            Outcome::Failed(error) => {
                self.run.state = RunState::Failed;
                self.run.error = Some(error.clone());
                let message = error.message.clone();
                Draft::new(EventKind::Error(error), message)
            }
            Outcome::Cancelled => {
                self.run.state = RunState::Cancelled;
                Draft::new(EventKind::Cancelled, std::mem::take(&mut self.cancel_reason))
            }
        };
        self.number(draft, now)
    }

    fn state_event(&mut self, state: RunState, message: &str, now: Timestamp) -> Event {
        self.run.state = state;
        self.number(Draft::new(EventKind::State { state, attempt: self.run.attempt }, message), now)
    }

    fn number(&mut self, draft: Draft, now: Timestamp) -> Event {
        self.run.last_sequence += 1;
        self.progress_percent = self.progress_percent.max(draft.progress_percent.unwrap_or(0).min(100));
        Event {
            run_id: self.run.run_id,
            sequence: self.run.last_sequence,
            time: now,
            message: draft.message,
            progress_percent: self.progress_percent,
            view: draft.view,
            kind: draft.kind,
            memo: draft.memo,
        }
    }
}

fn first_attempt() -> u32 {
    1
}

/// The event that tells a request to who can answer it.
fn request_draft(request_id: RequestId, request: Request, deadline: Timestamp) -> Draft {
    match request {
        Request::Input { prompt } => {
            let message = prompt.clone();
            Draft::new(EventKind::InputRequired { request_id, prompt, deadline: Some(deadline) }, message)
        }
        Request::Tool { tool_name, args } => {
            let message = format!("waits for the tool {tool_name}");
            Draft::new(
                EventKind::ToolRequest { tool_call_id: request_id, tool_name, args, deadline },
                message,
            )
        }
        Request::Approval { tool_call_id, tool_name, summary } => {
            let message = summary.clone();
            let (approval_id, expires_at) = (request_id, deadline);
            let kind =
                EventKind::ApprovalRequired { approval_id, tool_call_id, tool_name, summary, expires_at };
            Draft::new(kind, message)
        }
    }
}

fn closing_message(kind: RequestKind, closing: &Closing) -> &'static str {
    match (kind, closing) {
        (_, Closing::Answered(Answer::Input(_))) => "input received",
        (_, Closing::Answered(Answer::Tool(_))) => "tool result received",
        (_, Closing::Answered(Answer::ToolFailed(_))) => "the tool failed",
        (_, Closing::Answered(Answer::Approved { .. })) => "approved",
        (_, Closing::Answered(Answer::Rejected { .. })) => "rejected",
        (RequestKind::Input, Closing::Expired) => "nobody answered in time",
        (RequestKind::Tool, Closing::Expired) => "the tool gave no result in time",
        (RequestKind::Approval, Closing::Expired) => "nobody decided in time",
        (RequestKind::Input, Closing::Withdrawn) => "input no longer awaited",
        (RequestKind::Tool, Closing::Withdrawn) => "tool result no longer awaited",
        (RequestKind::Approval, Closing::Withdrawn) => "approval no longer awaited",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn commands() -> impl Strategy<Value = Vec<Command>> {
        let key = || {
            let kind =
                prop_oneof![Just(RequestKind::Input), Just(RequestKind::Tool), Just(RequestKind::Approval)];
            (kind, 0..3u8).prop_map(|(kind, id)| RequestKey::new(kind, id.to_string()))
        };
        let closing = prop_oneof![
            (0..2u8).prop_map(|it| Closing::Answered(Answer::Input(it.to_string()))),
            (0..2u8).prop_map(|it| Closing::Answered(Answer::Tool(it.into()))),
            Just(Closing::Answered(Answer::Rejected { reason: String::new() })),
            Just(Closing::Expired),
            Just(Closing::Withdrawn),
        ];
        let outcome = prop_oneof![
            Just(Outcome::Cancelled),
            Just(Outcome::Failed(RunError::permanent("worker_failed", "no"))),
            Just(Outcome::Succeeded { message: "Done".into(), output: Value::Null, view: None, usage: None }),
        ];
        let command = prop_oneof![
            2 => Just(Command::Start),
            6 => (0..=120u8).prop_map(|it| Command::Emit(Draft::log("…").with_progress(it))),
            4 => key().prop_map(ask),
            5 => (proptest::option::of(key()), closing)
                .prop_map(|(request, closing)| Command::Close { request, closing }),
            1 => key().prop_map(Command::Rejoin),
            1 => Just(Command::Cancel { reason: "enough".into() }),
            1 => outcome.prop_map(Command::Finish),
            1 => Just(Command::Rerun),
            1 => prop_oneof![Just(Stop::Interrupt), Just(Stop::Leave), Just(Stop::Park)].prop_map(Command::Stop),
        ];
        proptest::collection::vec(command, 0..40)
    }

    fn ask(RequestKey { kind, id }: RequestKey) -> Command {
        let request = match kind {
            RequestKind::Input => Request::Input { prompt: "?".into() },
            RequestKind::Tool => Request::Tool { tool_name: "t".into(), args: Value::Null },
            RequestKind::Approval => {
                Request::Approval { tool_call_id: "".into(), tool_name: "t".into(), summary: "s".into() }
            }
        };
        Command::Ask { request_id: id, request, deadline: Timestamp::UNIX_EPOCH, memo: None }
    }

    fn fresh() -> (RunMachine, Event) {
        let session_id = SessionId::new(Uuid::from_u128(1));
        RunMachine::create(RunId::new(Uuid::from_u128(2)), session_id, "test".into(), Timestamp::UNIX_EPOCH)
    }

    proptest! {
        #[test]
        fn every_log_is_numbered_without_a_gap_and_ends_once(commands in commands()) {
            let (mut machine, first) = fresh();
            let mut log = vec![first];
            for command in commands {
                let before = machine.clone();
                match machine.apply(command, Timestamp::UNIX_EPOCH) {
                    Ok(events) => log.extend(events),
                    Err(_) => prop_assert_eq!(&machine, &before, "a refused command changes nothing"),
                }
                prop_assert_eq!(machine.run().last_sequence, log.len() as u64);
            }
            for (place, event) in log.iter().enumerate() {
                prop_assert_eq!(event.sequence, place as u64 + 1);
            }
            prop_assert!(log.is_sorted_by_key(|it| it.progress_percent), "progress never falls");
            let terminal = log.iter().filter(|it| it.kind.is_terminal()).count();
            prop_assert_eq!(terminal, usize::from(machine.run().state.is_terminal()));
            prop_assert!(log.iter().rev().skip(1).all(|it| !it.kind.is_terminal()), "the terminal event is the last");
            let told = log.iter().rev().find_map(|it| match it.kind {
                EventKind::State { state, .. } => Some(state),
                _ => None,
            });
            if !machine.run().state.is_terminal() {
                // Also of a run that was left: that is what it is taken up by.
                prop_assert_eq!(told, Some(machine.run().state), "watchers know the state");
            }
        }

        #[test]
        fn a_run_waits_exactly_while_a_request_is_open(commands in commands()) {
            let (mut machine, _) = fresh();
            for command in commands {
                let _ = machine.apply(command, Timestamp::UNIX_EPOCH);
                let awaited = match machine.run().state {
                    RunState::Running => None,
                    RunState::WaitingInput => Some(RequestKind::Input),
                    RunState::WaitingTool => Some(RequestKind::Tool),
                    RunState::WaitingApproval => Some(RequestKind::Approval),
                    _ => continue,
                };
                prop_assert_eq!(machine.requests().awaited(), awaited);
            }
        }

        #[test]
        fn the_log_tells_of_each_request_once_and_of_its_end_once(commands in commands()) {
            let (mut machine, _) = fresh();
            let mut told = Requests::default();
            for command in commands {
                let mut now = Vec::new();
                for event in machine.apply(command, Timestamp::UNIX_EPOCH).unwrap_or_default() {
                    told.replay(&event.kind);
                    now.extend(match event.kind {
                        EventKind::Closed { request, .. } => Some(request),
                        _ => None,
                    });
                }
                prop_assert!(now.len() <= 1);
                prop_assert_eq!(machine.requests(), &told, "the log is enough to know what is asked");
            }
        }

        #[test]
        fn whoever_asked_for_the_end_is_told_so(commands in commands()) {
            let (mut machine, _) = fresh();
            let mut asked = false;
            for command in commands {
                let cancel = matches!(command, Command::Cancel { .. });
                let ended_before = machine.run().state.is_terminal();
                if machine.apply(command, Timestamp::UNIX_EPOCH).is_ok() && cancel && !ended_before {
                    asked = true;
                }
            }
            if asked && machine.run().state.is_terminal() {
                prop_assert_eq!(machine.run().state, RunState::Cancelled);
            }
        }
    }

    #[test]
    fn the_end_of_the_gateway_is_no_cancellation() {
        for (stop, begun) in
            [(Stop::Interrupt, true), (Stop::Interrupt, false), (Stop::Leave, true), (Stop::Leave, false)]
        {
            let (mut machine, _) = fresh();
            let mut apply = |command| machine.apply(command, Timestamp::UNIX_EPOCH).unwrap();
            if begun {
                apply(Command::Start);
                assert!(apply(Command::Stop(stop)).is_empty(), "its workers have to stop first");
                assert_eq!(apply(Command::Emit(Draft::log("last words"))).len(), 1);
                apply(Command::Finish(Outcome::Cancelled));
            } else {
                apply(Command::Stop(stop));
            }
            let end = (machine.run().state, machine.run().error.as_ref().map(|it| it.code.as_str()));
            let unended = if begun { RunState::Running } else { RunState::Queued };
            match stop {
                Stop::Interrupt => assert_eq!(end, (RunState::Failed, Some("interrupted"))),
                Stop::Leave | Stop::Park => assert_eq!((end, machine.is_left()), ((unended, None), true)),
            }
            assert!(machine.apply(Command::Emit(Draft::log("late")), Timestamp::UNIX_EPOCH).is_err());
        }
    }

    #[test]
    fn a_run_that_is_parked_stays_as_it_is() {
        let (mut machine, _) = fresh();
        let mut apply = |command| machine.apply(command, Timestamp::UNIX_EPOCH);
        let key = RequestKey::new(RequestKind::Tool, "t");
        apply(Command::Start).unwrap();
        apply(ask(key.clone())).unwrap();
        apply(Command::Rejoin(key.clone())).unwrap();
        assert_eq!(apply(Command::Stop(Stop::Park)), Ok(Vec::new()));
        let withdrawn = Command::Close { request: Some(key.clone()), closing: Closing::Withdrawn };
        assert_eq!(apply(withdrawn), Err(Refused::NotRunning), "its request stays open");
        assert_eq!(apply(Command::Finish(Outcome::Cancelled)), Err(Refused::NotRunning));
        let requests = machine.requests().clone();
        let mut machine = RunMachine::restore(machine.run().clone(), 0).asking(requests);
        let mut apply = |command| machine.apply(command, Timestamp::UNIX_EPOCH);
        assert_eq!(apply(Command::Rejoin(key.clone())), Ok(Vec::new()));
        let answered = Closing::Answered(Answer::Tool(Value::Null));
        let closed = apply(Command::Close { request: Some(key.clone()), closing: answered });
        assert_eq!(closed.map(|it| it.len()), Ok(2));
        assert_eq!(apply(Command::Rejoin(key)), Err(Refused::NotWaiting));
    }

    #[test]
    fn who_cancels_a_run_that_is_to_be_left_gets_its_end() {
        let (mut machine, _) = fresh();
        let cancel = Command::Cancel { reason: "enough".into() };
        for command in
            [Command::Start, Command::Stop(Stop::Leave), cancel, Command::Finish(Outcome::Cancelled)]
        {
            machine.apply(command, Timestamp::UNIX_EPOCH).unwrap();
        }
        assert_eq!((machine.run().state, machine.is_left()), (RunState::Cancelled, false));
    }

    #[test]
    fn what_ends_in_the_last_moment_has_ended_by_itself() {
        for stop in [Stop::Interrupt, Stop::Leave] {
            let (mut machine, _) = fresh();
            let done =
                Outcome::Succeeded { message: "Done".into(), output: Value::Null, view: None, usage: None };
            for command in [Command::Start, Command::Stop(stop), Command::Finish(done)] {
                machine.apply(command, Timestamp::UNIX_EPOCH).unwrap();
            }
            assert_eq!((machine.run().state, machine.is_left()), (RunState::Succeeded, false));
        }
    }

    #[test]
    fn the_oldest_request_decides_what_is_waited_for() {
        let (mut machine, _) = fresh();
        let mut apply = |command| {
            let events = machine.apply(command, Timestamp::UNIX_EPOCH)?;
            Ok::<_, Refused>((events.len(), machine.run().state))
        };
        let [tool, input] =
            [(RequestKind::Tool, "t"), (RequestKind::Input, "i")].map(|(kind, id)| RequestKey::new(kind, id));
        let result = |text: &str| Command::Close {
            request: Some(tool.clone()),
            closing: Closing::Answered(Answer::Tool(text.into())),
        };
        assert_eq!(apply(Command::Start), Ok((1, RunState::Running)));
        assert_eq!(apply(ask(tool.clone())), Ok((2, RunState::WaitingTool)));
        assert_eq!(apply(ask(input)), Ok((1, RunState::WaitingTool)));
        assert_eq!(apply(result("a")), Ok((2, RunState::WaitingInput)));
        assert_eq!(apply(result("a")), Ok((0, RunState::WaitingInput)), "the same answer again");
        assert_eq!(apply(result("b")), Err(Refused::AnsweredOtherwise));
        let words = Closing::Answered(Answer::Input("hello".into()));
        assert_eq!(apply(Command::Close { request: None, closing: words }), Ok((2, RunState::Running)));
    }

    #[test]
    fn a_run_that_is_to_stop_takes_no_answer() {
        let (mut machine, _) = fresh();
        let mut apply = |command| machine.apply(command, Timestamp::UNIX_EPOCH);
        let key = RequestKey::new(RequestKind::Approval, "a");
        apply(Command::Start).unwrap();
        apply(ask(key.clone())).unwrap();
        apply(Command::Cancel { reason: String::new() }).unwrap();
        let close = |closing| Command::Close { request: Some(key.clone()), closing };
        let approved = Closing::Answered(Answer::Approved { reason: String::new() });
        assert_eq!(apply(close(approved)), Err(Refused::NotWaiting));
        assert_eq!(apply(close(Closing::Withdrawn)).map(|it| it.len()), Ok(1));
    }
}
