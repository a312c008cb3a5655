//! Executes the workers of a run: each once, those that do not need each other side by side.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;

use super::{
    Deadlines, Emitter, Inputs, RunContext, RunRequest, Task, WorkerOutput,
    cache::Cache,
    emitter::{RunProgress, cut},
    node::{NodeEnd, TimeLimits, run_node},
    plan::{Plan, PlanNode},
    size::{check_output, too_large},
};
use crate::{
    model::{NodeState, Outcome, RunError, SessionUpdate, Usage, WorkerKey},
    run::{Work, WriterHandle},
};

/// What the execution of every run shares.
pub(super) struct Executor {
    pub(super) cache: Cache,
    pub(super) time_limits: TimeLimits,
    /// Workers of one run at work at a time.
    pub(super) parallel: usize,
}

/// One run on its way.
struct Execution<'a> {
    executor: &'a Executor,
    request: Arc<RunRequest>,
    context: Arc<RunContext>,
    writer: WriterHandle,
    work: Work,
    progress: Arc<RunProgress>,
    /// The key of the worker at the end of the DAG, as it is declared.
    end: WorkerKey,
    /// Cancelled with the run, and when one of its workers fails.
    cancel: CancellationToken,
}

impl Executor {
    /// Executes the run to its end; gives how it ended and what the session learns.
    pub(super) async fn execute(
        &self,
        request: Arc<RunRequest>,
        context: Arc<RunContext>,
        writer: WriterHandle,
        work: Work,
    ) -> (Outcome, Option<SessionUpdate>) {
        let plan = match Plan::make(&context.resolver(&request.session), &request) {
            Ok(plan) => plan,
            Err(error) => return (Outcome::Failed(error.into()), None),
        };
        let progress = Arc::new(RunProgress::new(plan.weights()));
        let cancel = writer.cancelled().child_token();
        let end = plan.end().unwrap_or_else(|| request.pipeline_id.clone());
        let execution = Execution { executor: self, request, context, writer, work, progress, end, cancel };
        execution.run(plan).await
    }
}

impl<'a> Execution<'a> {
    async fn run(&self, plan: Plan) -> (Outcome, Option<SessionUpdate>) {
        let mut waiting: BTreeMap<WorkerKey, PlanNode> =
            plan.nodes.into_iter().map(|it| (it.worker.spec().key.clone(), it)).collect();
        let mut done: BTreeMap<WorkerKey, Arc<WorkerOutput>> = BTreeMap::new();
        let mut failure: Option<RunError> = None;
        let mut working = FuturesUnordered::new();
        loop {
            while working.len() < self.executor.parallel && !self.cancel.is_cancelled() {
                let Some(node) = take_ready(&mut waiting, &done) else { break };
                working.push(self.start(node, &done));
            }
            match working.next().await {
                None => break,
                Some((key, NodeEnd::Done(output))) => {
                    done.insert(key, output);
                }
                Some((_, NodeEnd::Cancelled)) => {}
                Some((key, NodeEnd::Failed(error))) => {
                    self.cancel.cancel();
                    failure.get_or_insert_with(|| self.failure_of(&key, error));
                }
            }
        }
        for key in waiting.into_keys() {
            drop(self.emitter(&key, Deadlines::default()).node(NodeState::Skipped, 0, "").await);
        }
        self.outcome(done, failure).await
    }

    /// The work of one worker, given the outputs of those that it requires.
    fn start(
        &self,
        node: PlanNode,
        done: &BTreeMap<WorkerKey, Arc<WorkerOutput>>,
    ) -> impl Future<Output = (WorkerKey, NodeEnd)> + use<'a> {
        let key = node.worker.spec().key.clone();
        let required: BTreeSet<_> = node.requires.into_iter().collect();
        let inputs = done.iter().filter(|(key, _)| required.contains(*key));
        let task = Task {
            request: self.request.clone(),
            inputs: Inputs::new(inputs.map(|(key, output)| (key.clone(), output.clone())).collect()),
            context: self.context.clone(),
            emitter: self.emitter(&key, node.worker.spec().deadlines),
            cancel: self.cancel.clone(),
            resumed: self.work == Work::GoesOn,
        };
        let Executor { cache, time_limits, .. } = self.executor;
        async move { (key, run_node(node.worker, task, cache, *time_limits).await) }
    }

    fn emitter(&self, key: &WorkerKey, deadlines: Deadlines) -> Emitter {
        let (writer, progress, context) = (self.writer.clone(), self.progress.clone(), self.context.clone());
        Emitter::new(writer, key.clone(), progress, context, deadlines)
    }

    /// The run's error: its last worker's own, or which of the others failed.
    fn failure_of(&self, key: &WorkerKey, error: RunError) -> RunError {
        if *key == self.end {
            return RunError { message: cut(error.message), ..error };
        }
        RunError { message: cut(format!("required worker {key} failed: {}", error.message)), ..error }
    }

    async fn outcome(
        &self,
        mut done: BTreeMap<WorkerKey, Arc<WorkerOutput>>,
        failure: Option<RunError>,
    ) -> (Outcome, Option<SessionUpdate>) {
        if let Some(error) = failure {
            return (Outcome::Failed(error), None);
        }
        let usage = done.values().filter_map(|it| it.usage).reduce(|mut sum: Usage, it| {
            sum += it;
            sum
        });
        let Some(output) = done.remove(&self.end) else { return (Outcome::Cancelled, None) };
        let WorkerOutput { value, mut view, message, learnt, .. } = Arc::unwrap_or_clone(output);
        if let Err(error) = check_output(&value) {
            return (Outcome::Failed(error), None);
        }
        if let Some(view) = &mut view {
            self.context.name_nodes(view);
        }
        if let Some(left_out) = view.as_ref().and_then(too_large) {
            view = None;
            drop(self.emitter(&self.end, Deadlines::default()).log(left_out).await);
        }
        let message = cut(message.unwrap_or_else(|| "Done".to_owned()));
        (Outcome::Succeeded { message, output: value, view, usage }, learnt)
    }
}

/// A worker all of whose requirements are done.
fn take_ready(
    waiting: &mut BTreeMap<WorkerKey, PlanNode>,
    done: &BTreeMap<WorkerKey, Arc<WorkerOutput>>,
) -> Option<PlanNode> {
    let ready = waiting.iter().find(|(_, node)| node.requires.iter().all(|it| done.contains_key(it)));
    let key = ready?.0.clone();
    waiting.remove(&key)
}
