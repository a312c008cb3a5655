//! `worker_DAG`: a graph of all workers and what they require.

use async_trait::async_trait;
use serde_json::json;

use crate::{
    model::{ClientView, Graph, GraphEdge, GraphNode, RunError},
    runner::{Task, Worker, WorkerOutput, WorkerSpec},
};

/// See the module.
pub(super) struct WorkerDag {
    spec: WorkerSpec,
}

impl WorkerDag {
    pub(super) fn new() -> Self {
        Self { spec: WorkerSpec::builtin("worker_DAG", "Draws all workers and what they require") }
    }
}

#[async_trait]
impl Worker for WorkerDag {
    fn spec(&self) -> &WorkerSpec {
        &self.spec
    }

    async fn run(&self, task: Task) -> Result<WorkerOutput, RunError> {
        let mut graph = Graph::default();
        let mut listed = Vec::new();
        for worker in task.context.resolver(&task.request.session).workers() {
            let spec = worker.spec();
            let key = spec.key.as_str();
            graph.nodes.push(GraphNode::new(key, key, &spec.description));
            graph.edges.extend(spec.requires.iter().map(|it| GraphEdge::new(it.as_str(), key)));
            listed.push(json!({"key": key, "requires": spec.requires, "backend": spec.backend.name()}));
        }
        for edge in &mut graph.edges {
            // A requirement may be written in another case than its worker; one that nobody declares is drawn too.
            match graph.nodes.iter().find(|node| node.uid.eq_ignore_ascii_case(&edge.from)) {
                Some(node) => edge.from.clone_from(&node.uid),
                None => graph.nodes.push(GraphNode::new(&edge.from, &edge.from, "not declared")),
            }
        }
        let view = Some(ClientView::graph("worker_DAG", graph));
        Ok(WorkerOutput { value: json!({"workers": listed}), view, ..WorkerOutput::default() })
    }
}
