//! Which workers a run needs, and in which order: each once, after those that it requires.

use std::{
    collections::{BTreeMap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{Resolver, RunRequest, Worker};
use crate::model::{RunError, WorkerKey};

/// The workers of a run.
pub(super) struct Plan {
    /// Each after all that it requires; the last one is what the client asked for.
    pub(super) nodes: Vec<PlanNode>,
}

/// One worker of a run.
pub(super) struct PlanNode {
    pub(super) worker: Arc<dyn Worker>,
    /// By the keys under which the required workers are declared, whatever alias they are required by.
    pub(super) requires: Vec<WorkerKey>,
}

/// Why a worker cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Nobody has declared it.
    #[error("unknown worker {0}")]
    Unknown(WorkerKey),
    /// Somebody requires it, but nobody has declared it.
    #[error("worker {by} requires the unknown worker {key}")]
    UnknownRequired {
        /// The missing one.
        key: WorkerKey,
        /// Who requires it.
        by: WorkerKey,
    },
    /// Workers require each other.
    #[error("workers require each other: {}", in_a_row(.0))]
    Cycle(Vec<WorkerKey>),
    /// A worker crashed when it was asked what it requires.
    #[error("worker {0} crashed")]
    Panicked(WorkerKey),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Open,
    Done,
}

impl Plan {
    /// The plan for `request`.
    pub(super) fn make(resolver: &Resolver, request: &RunRequest) -> Result<Self, PlanError> {
        let key = &request.pipeline_id;
        let worker = resolver.resolve(key).ok_or_else(|| PlanError::Unknown(key.clone()))?;
        let mut nodes = Vec::new();
        let mut marks = HashMap::new();
        visit(worker, resolver, request, &mut Vec::new(), &mut marks, &mut nodes)?;
        Ok(Self { nodes })
    }

    /// The key of what the client asked for, as it is declared.
    pub(super) fn end(&self) -> Option<WorkerKey> {
        Some(self.nodes.last()?.worker.spec().key.clone())
    }

    pub(super) fn weights(&self) -> BTreeMap<WorkerKey, u32> {
        let specs = self.nodes.iter().map(|it| it.worker.spec());
        specs.map(|it| (it.key.clone(), it.weight)).collect()
    }
}

/// Depth first; `path` holds the workers on the way down, so that a cycle can be named.
fn visit(
    worker: Arc<dyn Worker>,
    resolver: &Resolver,
    request: &RunRequest,
    path: &mut Vec<WorkerKey>,
    marks: &mut HashMap<WorkerKey, Mark>,
    nodes: &mut Vec<PlanNode>,
) -> Result<(), PlanError> {
    let key = worker.spec().key.clone();
    match marks.get(&key) {
        Some(Mark::Done) => return Ok(()),
        Some(Mark::Open) => {
            let from = path.iter().position(|it| *it == key).unwrap_or(0);
            let cycle = path[from..].iter().cloned().chain([key]).collect();
            return Err(PlanError::Cycle(cycle));
        }
        None => {}
    }
    marks.insert(key.clone(), Mark::Open);
    path.push(key.clone());
    let mut requires = Vec::new();
    for needed in requires_of(&*worker, request)? {
        let unknown = || PlanError::UnknownRequired { key: needed.clone(), by: key.clone() };
        let needed = resolver.resolve(&needed).ok_or_else(unknown)?;
        requires.push(needed.spec().key.clone());
        visit(needed, resolver, request, path, marks, nodes)?;
    }
    requires.sort();
    requires.dedup();
    path.pop();
    marks.insert(key, Mark::Done);
    nodes.push(PlanNode { worker, requires });
    Ok(())
}

/// Asks a worker what it requires. It is foreign code outside of its own task, so a panic ends here.
fn requires_of(worker: &dyn Worker, request: &RunRequest) -> Result<Vec<WorkerKey>, PlanError> {
    catch_unwind(AssertUnwindSafe(|| worker.requires(request))).map_err(|_| {
        tracing::error!(worker = %worker.spec().key, "a worker panicked when asked what it requires");
        PlanError::Panicked(worker.spec().key.clone())
    })
}

fn in_a_row(keys: &[WorkerKey]) -> String {
    let keys: Vec<_> = keys.iter().map(WorkerKey::as_str).collect();
    keys.join(" → ")
}

impl From<PlanError> for RunError {
    fn from(error: PlanError) -> Self {
        let code = match error {
            PlanError::Unknown(_) | PlanError::UnknownRequired { .. } => "unknown_worker",
            PlanError::Cycle(_) => "cyclic_requires",
            PlanError::Panicked(_) => "worker_panicked",
        };
        Self::permanent(code, error.to_string())
    }
}
