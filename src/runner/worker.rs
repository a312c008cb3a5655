//! What a worker is, what it is given, and what it gives back.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Deadlines, Emitter, RunContext};
use crate::model::{ClientView, RunError, RunId, Session, SessionUpdate, Usage, WorkerKey};

/// A unit of work with a key.
#[async_trait]
pub trait Worker: Send + Sync + 'static {
    /// What is known without running it.
    fn spec(&self) -> &WorkerSpec;

    /// What it requires for this request; by default what its spec says.
    fn requires(&self, _request: &RunRequest) -> Vec<WorkerKey> {
        self.spec().requires.clone()
    }

    /// What its output depends on beside parameters and inputs, such as the state of a repository. `None`: it cannot
    /// be told, so the cache is not used.
    async fn depends_on(&self, _task: &Task) -> Option<Value> {
        Some(Value::Null)
    }

    /// Does the work. Ends early when `task.cancel` is cancelled; who does not is dropped after a grace time, at its next
    /// `await`. Work that blocks its thread cannot be dropped, so it belongs into `runtime::task::blocking`; a worker
    /// that blocks nevertheless is left behind: its run ends without it.
    async fn run(&self, task: Task) -> Result<WorkerOutput, RunError>;
}

/// What is known of a worker without running it.
#[derive(Debug, Clone)]
pub struct WorkerSpec {
    /// What clients start it by.
    pub key: WorkerKey,
    /// One line for people.
    pub description: String,
    /// Workers that run before it and whose outputs it may read.
    pub requires: Vec<WorkerKey>,
    /// Who runs it.
    pub backend: Backend,
    /// Its share of the run's progress, beside the shares of the others.
    pub weight: u32,
    /// After this long it has failed, the time it waits for answers aside. `None`: the runner's default.
    pub timeout: Option<Duration>,
    /// How long it waits for answers.
    pub deadlines: Deadlines,
    /// Its output may be used again while its input and this version are the same. `None`: never.
    pub cache_version: Option<String>,
    /// What becomes of runs of it that the end of the gateway cuts short.
    pub restart: Restart,
}

/// What becomes of a run that the end of the gateway cuts short. The worker that the run was started with decides for
/// all workers of the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Restart {
    /// It ends with an error that says so: whoever started it decides whether to start it again.
    #[default]
    Interrupt,
    /// Its workers begin again from the start when the gateway is back. For workers whose work may be done twice.
    Rerun,
    /// They go on where they are: whoever works at them outlives the gateway. Only for runs of one worker.
    Resume,
}

/// Who runs a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The gateway itself.
    Builtin,
    /// A program of the user.
    Command,
    /// A program that is reached over HTTP and pushes what it does.
    Orchestrator,
    /// Made for one session.
    Session,
}

/// What a client asked for.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// Names the run.
    pub run_id: RunId,
    /// The session as it was when the run was started.
    pub session: Arc<Session>,
    /// The worker at the end of the DAG.
    pub pipeline_id: WorkerKey,
    /// The client's parameters.
    pub params: BTreeMap<String, String>,
}

/// What a worker is given.
#[derive(Clone)]
pub struct Task {
    /// What the client asked for.
    pub request: Arc<RunRequest>,
    /// The outputs of the workers it requires.
    pub inputs: Inputs,
    /// What there is to work with: the repository, a language model, tools.
    pub context: Arc<RunContext>,
    /// Where it says what it does.
    pub emitter: Emitter,
    /// Cancelled when the worker is to stop.
    pub cancel: CancellationToken,
    /// True when the run was cut short and somebody who outlived the gateway is still at work for this worker.
    pub resumed: bool,
}

/// Outputs of required workers, and of no others.
#[derive(Debug, Clone, Default)]
pub struct Inputs(BTreeMap<WorkerKey, Arc<WorkerOutput>>);

/// A worker asked for the output of a worker that it does not require.
#[derive(Debug, Clone, thiserror::Error)]
#[error("it does not declare that it requires `{0}`, so it may not read its output")]
pub struct UndeclaredRead(pub WorkerKey);

/// What a worker gives back. Kept in the cache as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerOutput {
    /// The result.
    pub value: Value,
    /// What a client can draw of it.
    pub view: Option<ClientView>,
    /// The message of the COMPLETE event, where it is not `Done`.
    pub message: Option<String>,
    /// What language models charged for.
    pub usage: Option<Usage>,
    /// What the session learns from it.
    pub learnt: Option<SessionUpdate>,
}

impl WorkerSpec {
    /// A worker of the gateway itself that requires nothing, is never cached, and is not begun again by itself.
    pub fn builtin(key: &str, description: &str) -> Self {
        Self {
            key: key.into(),
            description: description.to_owned(),
            requires: Vec::new(),
            backend: Backend::Builtin,
            weight: 1,
            timeout: None,
            deadlines: Deadlines::default(),
            cache_version: None,
            restart: Restart::Interrupt,
        }
    }
}

impl Backend {
    /// The backend's name on every protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Command => "command",
            Self::Orchestrator => "orchestrator",
            Self::Session => "session",
        }
    }
}

impl Inputs {
    /// The outputs of the workers that one worker requires.
    pub fn new(outputs: BTreeMap<WorkerKey, Arc<WorkerOutput>>) -> Self {
        Self(outputs)
    }

    /// The output of a required worker.
    pub fn get(&self, key: &WorkerKey) -> Result<&WorkerOutput, UndeclaredRead> {
        self.0.get(key).map(Arc::as_ref).ok_or_else(|| UndeclaredRead(key.clone()))
    }

    /// All of them, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&WorkerKey, &WorkerOutput)> {
        self.0.iter().map(|(key, output)| (key, output.as_ref()))
    }
}

impl From<UndeclaredRead> for RunError {
    fn from(error: UndeclaredRead) -> Self {
        Self::permanent("undeclared_read", error.to_string())
    }
}
