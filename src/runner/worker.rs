//! What a worker is, what it is given, and what it gives back.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::model::{ClientView, RunError, RunId, Session, SessionUpdate, Usage, WorkerKey};

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
    /// After this long it has failed.
    pub timeout: Option<Duration>,
    /// Its output may be used again while input and version are the same. `None`: never.
    pub cache_version: Option<String>,
}

/// Who runs a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The gateway itself.
    Builtin,
    /// A program of the user.
    Command,
    /// Made for one session.
    Session,
}

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

    /// Does the work. Ends early when `task.cancel` is cancelled; who does not is dropped after a grace time.
    async fn run(&self, task: Task) -> Result<WorkerOutput, RunError>;
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
pub struct Task {
    /// What the client asked for.
    pub request: Arc<RunRequest>,
    /// The outputs of the workers it requires.
    pub inputs: Inputs,
    /// Cancelled when the run is to stop.
    pub cancel: CancellationToken,
}

/// Outputs of required workers, and of no others.
#[derive(Debug, Clone, Default)]
pub struct Inputs(BTreeMap<WorkerKey, Arc<WorkerOutput>>);

/// What a worker gives back. Kept in the cache as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
