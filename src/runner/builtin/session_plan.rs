//! `session_plan`: runs the workers of the plan that `plan_pipeline` last made for the session.
//!
//! It shows what they have drawn: of several drawings that of the last worker in the plan, without one the plan itself.

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::plan_pipeline::plan_view;
use crate::{
    model::{RunError, WorkerKey},
    runner::{Backend, Task, Worker, WorkerOutput, WorkerSpec},
};

pub(super) const KEY: &str = "session_plan";

/// See the module.
pub(crate) struct SessionPlan {
    spec: WorkerSpec,
}

impl SessionPlan {
    /// The plan made of `workers`, all of which exist.
    pub(crate) fn new(purpose: &str, workers: Vec<WorkerKey>) -> Self {
        let about =
            if purpose.is_empty() { "the session's plan".to_owned() } else { format!("“{purpose}”") };
        let spec = WorkerSpec::builtin(KEY, &format!("Runs the workers planned for {about}"));
        Self { spec: WorkerSpec { requires: workers, backend: Backend::Session, ..spec } }
    }
}

#[async_trait]
impl Worker for SessionPlan {
    fn spec(&self) -> &WorkerSpec {
        &self.spec
    }

    async fn run(&self, task: Task) -> Result<WorkerOutput, RunError> {
        let outputs: Map<String, Value> =
            task.inputs.iter().map(|(key, output)| (key.to_string(), output.value.clone())).collect();
        let drawing = |key: &WorkerKey| task.inputs.get(key).ok()?.view.clone();
        let drawn = self.spec.requires.iter().rev().find_map(drawing);
        let view = drawn.unwrap_or_else(|| {
            let resolver = task.context.resolver(&task.request.session);
            plan_view(&resolver, &self.spec.requires, &task.request.session.purpose)
        });
        Ok(WorkerOutput { value: Value::Object(outputs), view: Some(view), ..WorkerOutput::default() })
    }
}
