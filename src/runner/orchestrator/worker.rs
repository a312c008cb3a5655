//! The worker that an orchestrator is.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    Orchestrators,
    client::{OrchestratorClient, OrchestratorSettingsError},
    work::Work,
};
use crate::{
    model::{RunError, WorkerKey},
    run::Runs,
    runner::{Backend, Task, Worker, WorkerOutput, WorkerSettings, WorkerSpec, llm::Secret},
};

/// An orchestrator that says nothing for so long, while nobody is waited for, has failed: the default of the setting.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// See the module.
pub struct OrchestratorWorker {
    spec: WorkerSpec,
    pub(super) client: OrchestratorClient,
    agent: String,
    pub(super) idle_timeout: Duration,
    pub(super) engagements: Orchestrators,
    pub(super) runs: Runs,
}

impl OrchestratorWorker {
    /// The worker `key`, whose orchestrator is called below `base` with `token`.
    pub fn new(
        key: WorkerKey,
        settings: &WorkerSettings,
        base: Url,
        token: &Secret,
        engagements: Orchestrators,
        runs: Runs,
    ) -> Result<Self, OrchestratorSettingsError> {
        Ok(Self {
            agent: settings.agent.clone().unwrap_or_else(|| key.as_str().to_owned()),
            spec: settings.spec(key, Backend::Orchestrator),
            client: OrchestratorClient::new(base, token)?,
            idle_timeout: settings.idle_timeout.unwrap_or(IDLE_TIMEOUT),
            engagements,
            runs,
        })
    }

    /// What the orchestrator is asked to do.
    pub(super) fn invocation(&self, task: &Task) -> Value {
        let request = &task.request;
        let inputs: Map<_, _> =
            task.inputs.iter().map(|(key, output)| (key.as_str().to_owned(), output.value.clone())).collect();
        let words = request.params.get("user_input").map(String::as_str).unwrap_or_default();
        json!({
            "session_id": request.session.session_id,
            "agent_id": self.agent,
            "input_message": {"role": "user", "content": words},
            "request_id": request.run_id.to_string(),
            "context": {"params": request.params, "inputs": inputs},
        })
    }
}

#[async_trait]
impl Worker for OrchestratorWorker {
    fn spec(&self) -> &WorkerSpec {
        &self.spec
    }

    async fn run(&self, task: Task) -> Result<WorkerOutput, RunError> {
        let (mut work, pushes) = Work::begin(self, &task);
        if task.resumed {
            work.go_on().await?;
        }
        work.follow(pushes).await
    }
}
