//! The workers that are always there.

mod mcp_call;
mod mcp_tools;
mod package_graph;
mod plan_pipeline;
mod progress;
mod repo_scan;
mod repository;
mod session_plan;
mod test_pipeline;
mod worker_dag;

use std::sync::Arc;

use super::Worker;

pub(super) use session_plan::SessionPlan;

/// The gateway's own workers.
pub(super) fn workers() -> Vec<Arc<dyn Worker>> {
    vec![
        Arc::new(plan_pipeline::PlanPipeline::new()),
        Arc::new(test_pipeline::TestPipeline::new()),
        Arc::new(worker_dag::WorkerDag::new()),
        Arc::new(repo_scan::RepoScan::new()),
        Arc::new(package_graph::PackageGraph::new()),
        Arc::new(mcp_tools::McpTools::new()),
        Arc::new(mcp_call::McpCall::new()),
    ]
}

/// Other names that clients know the gateway's own workers by.
pub(super) const ALIASES: [(&str, &str); 1] = [("init_purpose", plan_pipeline::KEY)];
