//! `repo_scan`: what is in a repository.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{progress::with_progress, repository};
use crate::{
    model::{RunError, repo_name},
    runner::{Task, Worker, WorkerOutput, WorkerSpec, repo::scan::scan},
    runtime::task,
};

pub(super) const KEY: &str = "repo_scan";

/// How many files are half of the work, as long as nobody knows how many there are.
const HALF_WAY_FILES: u64 = 5000;

/// See the module.
pub(super) struct RepoScan {
    spec: WorkerSpec,
}

impl RepoScan {
    pub(super) fn new() -> Self {
        let about =
            "Reads a repository: languages, sizes, manifests, entry points, what its README says it is";
        let spec = WorkerSpec::builtin(KEY, about);
        Self { spec: WorkerSpec { weight: 3, cache_version: Some("1".to_owned()), ..spec } }
    }
}

#[async_trait]
impl Worker for RepoScan {
    fn spec(&self) -> &WorkerSpec {
        &self.spec
    }

    async fn depends_on(&self, task: &Task) -> Option<Value> {
        repository_state(task).await
    }

    async fn run(&self, task: Task) -> Result<WorkerOutput, RunError> {
        let repository = repository::open(&task).await?;
        let (dir, cancel) = (repository.dir.clone(), task.cancel.clone());
        let scanned = with_progress(&task.emitter, |newest| {
            task::blocking(move || {
                let mut tell = |progress: crate::runner::repo::scan::ScanProgress| {
                    let share = progress.files * 50 / (progress.files + HALF_WAY_FILES);
                    let text = format!("{} files, {} KiB", progress.files, progress.bytes >> 10);
                    newest.send_replace((50 + share as u8, text));
                };
                scan(&dir, &mut tell, &cancel)
            })
        });
        let scanned = scanned.await?.ok_or_else(crashed)?;
        let scan = scanned.map_err(|error| RunError::permanent(error.code(), error.to_string()))?;
        let view = scan.view(&repo_name(&repository.address_shown));
        Ok(WorkerOutput { value: json!(scan), view: Some(view), ..WorkerOutput::default() })
    }
}

/// What the output of a worker that reads a repository depends on: which one, and its state.
pub(super) async fn repository_state(task: &Task) -> Option<Value> {
    let repository = repository::open(task).await.ok()?;
    let state = repository.fingerprint().await?;
    Some(json!([repository.address_shown, state]))
}

pub(super) fn crashed() -> RunError {
    RunError::permanent("worker_panicked", "the worker crashed")
}
