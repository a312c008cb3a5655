//! `test_pipeline`: five steps with a growing graph. The first thing a newcomer can watch.

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    model::{ClientView, Graph, GraphEdge, GraphNode, RunError},
    runner::{Task, Worker, WorkerOutput, WorkerSpec},
};

/// Between two steps.
const PAUSE: Duration = Duration::from_millis(300);

/// The steps: what is said, how far it is, how many nodes are shown.
const STEPS: [(&str, u8, usize); 5] = [
    ("Step 1: Initializing...", 10, 1),
    ("Step 2: Loading Graph...", 30, 2),
    ("Step 3: Analyzing nodes...", 50, 3),
    ("Step 4: Computing edges...", 70, 4),
    ("Step 5: Finalizing...", 90, 4),
];

/// The nodes, in the order they appear, each following the one before.
const NODES: [(&str, &str, &str); 4] = [
    ("init", "Initialize", "System initialization"),
    ("load", "Load Data", "Loading input data"),
    ("process", "Process", "Main processing step"),
    ("output", "Output", "Generate output"),
];

/// See the module.
pub(super) struct TestPipeline {
    spec: WorkerSpec,
}

impl TestPipeline {
    pub(super) fn new() -> Self {
        Self {
            spec: WorkerSpec::builtin(
                "test_pipeline",
                "Five steps and a growing graph, to see that all is well",
            ),
        }
    }
}

#[async_trait]
impl Worker for TestPipeline {
    fn spec(&self) -> &WorkerSpec {
        &self.spec
    }

    async fn run(&self, task: Task) -> Result<WorkerOutput, RunError> {
        for (message, percent, nodes) in STEPS {
            task.emitter.step(percent, message, view(nodes)).await?;
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = task.cancel.cancelled() => break,
            }
        }
        Ok(WorkerOutput { view: Some(view(NODES.len())), ..WorkerOutput::default() })
    }
}

fn view(nodes: usize) -> ClientView {
    let shown = &NODES[..nodes];
    let edges = shown.windows(2).map(|it| GraphEdge::new(it[0].0, it[1].0));
    let nodes = shown.iter().map(|(uid, label, description)| GraphNode::new(uid, label, description));
    ClientView::graph("", Graph { nodes: nodes.collect(), edges: edges.collect() })
}
