//! The workers that are always there.

mod test_pipeline;
mod worker_dag;

use std::sync::Arc;

use super::Worker;
use crate::model::Session;

/// The gateway's own workers.
pub(super) fn workers() -> Vec<Arc<dyn Worker>> {
    vec![Arc::new(test_pipeline::TestPipeline::new()), Arc::new(worker_dag::WorkerDag::new())]
}

/// The workers that only this session has.
pub(super) fn session_workers(_session: &Session) -> Vec<Arc<dyn Worker>> {
    Vec::new()
}
