//! `package_graph`: the packages inside a repository and who depends on whom.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{
    progress::with_progress,
    repo_scan::{crashed, repository_state},
    repository,
};
use crate::{
    model::RunError,
    runner::{
        Task, Worker, WorkerOutput, WorkerSpec,
        repo::packages::{PackageProgress, package_graph},
    },
    runtime::task,
};

pub(super) const KEY: &str = "package_graph";

/// See the module.
pub(super) struct PackageGraph {
    spec: WorkerSpec,
}

impl PackageGraph {
    pub(super) fn new() -> Self {
        let about =
            "Draws the packages inside a repository and who depends on whom (Cargo, npm, Go, Python, Maven)";
        let spec = WorkerSpec::builtin(KEY, about);
        Self { spec: WorkerSpec { cache_version: Some("1".to_owned()), ..spec } }
    }
}

#[async_trait]
impl Worker for PackageGraph {
    fn spec(&self) -> &WorkerSpec {
        &self.spec
    }

    async fn depends_on(&self, task: &Task) -> Option<Value> {
        repository_state(task).await
    }

    async fn run(&self, task: Task) -> Result<WorkerOutput, RunError> {
        let repository = repository::open(&task).await?;
        let (dir, cancel) = (repository.dir.clone(), task.cancel.clone());
        let read = with_progress(&task.emitter, |newest| {
            task::blocking(move || {
                let mut tell = |progress: PackageProgress| {
                    newest.send_replace((
                        50,
                        format!("{} files, {} manifests", progress.files, progress.manifests),
                    ));
                };
                package_graph(&dir, &mut tell, &cancel)
            })
        });
        let graph = read
            .await?
            .ok_or_else(crashed)?
            .map_err(|error| RunError::permanent(error.code(), error.to_string()))?;
        for cycle in graph.cycles.iter().filter(|it| !it.development) {
            task.emitter.log(format!("packages depend on each other: {}", cycle.packages.join(", "))).await?;
        }
        for problem in &graph.problems {
            let line = problem.line.map(|it| format!(":{it}")).unwrap_or_default();
            task.emitter.log(format!("{}{line}: {}", problem.path, problem.message)).await?;
        }
        Ok(WorkerOutput { value: json!(graph), view: Some(graph.view()), ..WorkerOutput::default() })
    }
}
