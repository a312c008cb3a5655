//! Events: the entries of a run's log.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ClientView, Closing, Cursor, RequestId, RequestKey, RunError, RunId, RunState, WorkerKey};

/// One entry of a run's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The run it belongs to.
    pub run_id: RunId,
    /// 1, 2, 3 … without a gap within the run.
    pub sequence: u64,
    /// When the run's writer took it up.
    pub time: Timestamp,
    /// What it says to a person; may be empty.
    pub message: String,
    /// Progress of the whole run when the event was written, 0 to 100; never falls.
    pub progress_percent: u8,
    /// What a client can draw.
    pub view: Option<ClientView>,
    /// What happened.
    pub kind: EventKind,
    /// What the worker keeps with the event to find its way back after a restart of the gateway. Shown to no client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<Box<Value>>,
}

/// An event before the run's writer has numbered it.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// What it says to a person; may be empty.
    pub message: String,
    /// Progress of the whole run, where the event tells of any.
    pub progress_percent: Option<u8>,
    /// What a client can draw.
    pub view: Option<ClientView>,
    /// What happened.
    pub kind: EventKind,
    /// What the worker keeps with it; see [`Event::memo`].
    pub memo: Option<Box<Value>>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum EventKind {
    /// A line of the run's story.
    Log,
    /// The run got further.
    Progress,
    /// A piece of text that continues the one before.
    Delta {
        /// The piece.
        text: String,
    },
    /// The run entered a state.
    State {
        /// The state entered.
        state: RunState,
        /// How often its workers were begun from the start, this time included.
        attempt: u32,
    },
    /// The run waits for the person.
    InputRequired {
        /// Names the question.
        request_id: RequestId,
        /// The question.
        prompt: String,
        /// When the worker stops waiting; unknown of questions that were asked before this was told.
        #[serde(default)]
        deadline: Option<Timestamp>,
    },
    /// The run waits for a tool of the client.
    ToolRequest {
        /// Names the call.
        tool_call_id: RequestId,
        /// The tool.
        tool_name: String,
        /// What the tool is given.
        args: Value,
        /// When the worker stops waiting.
        deadline: Timestamp,
    },
    /// The run waits for a decision.
    ApprovalRequired {
        /// Names the decision.
        approval_id: RequestId,
        /// The tool call that is to be approved; may be empty.
        tool_call_id: String,
        /// The tool that is to be approved.
        tool_name: String,
        /// What would be done.
        summary: String,
        /// When the worker stops waiting.
        expires_at: Timestamp,
    },
    /// The run waits no more for what it had asked.
    Closed {
        /// What it had asked.
        request: RequestKey,
        /// How that ended.
        closing: Closing,
    },
    /// The run waits for capacity.
    Queued {
        /// 1 is next.
        position: u32,
        /// Runs before this one.
        ahead: u32,
        /// What it waits for.
        reason: String,
    },
    /// A worker of the run got further.
    Node {
        /// The worker.
        worker_key: WorkerKey,
        /// Where it stands.
        state: NodeState,
        /// Progress of this worker alone, 0 to 100.
        progress_percent: u8,
        /// What went wrong; empty unless failed.
        error: String,
    },
    /// Terminal: the run succeeded.
    Complete {
        /// The output of the run's last worker.
        output: Value,
        /// What language models charged for.
        usage: Option<Usage>,
    },
    /// Terminal: the run failed.
    Error(RunError),
    /// Terminal: the run was cancelled.
    Cancelled,
}

/// Where a worker of a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// At work.
    Running,
    /// Not run: its output of an earlier run is still good.
    Cached,
    /// Done.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Stopped.
    Cancelled,
    /// Never begun, because a worker that it requires failed or the run was cancelled.
    Skipped,
}

/// What language models charged for, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}

impl Event {
    /// The position right after this event.
    pub fn cursor(&self) -> Cursor {
        Cursor { run_id: self.run_id, sequence: self.sequence }
    }
}

impl EventKind {
    /// True for the one event that ends a log.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Complete { .. } | Self::Error(_) | Self::Cancelled)
    }
}

impl Draft {
    /// An event that only says something.
    pub fn new(kind: EventKind, message: impl Into<String>) -> Self {
        Self { message: message.into(), progress_percent: None, view: None, kind, memo: None }
    }

    /// A LOG event.
    pub fn log(message: impl Into<String>) -> Self {
        Self::new(EventKind::Log, message)
    }

    /// The same event with the run's progress.
    pub fn with_progress(self, percent: u8) -> Self {
        Self { progress_percent: Some(percent.min(100)), ..self }
    }

    /// The same event with something to draw.
    pub fn with_view(self, view: impl Into<Option<ClientView>>) -> Self {
        Self { view: view.into(), ..self }
    }

    /// The same event with what the worker keeps with it.
    pub fn with_memo(self, memo: Option<Box<Value>>) -> Self {
        Self { memo, ..self }
    }
}

impl NodeState {
    /// The state's name on every protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Cached => "cached",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
    }
}
