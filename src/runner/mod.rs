//! Executes runs: workers, the DAG they form, the cache of their outputs, and what they are given to work with.

mod builtin;
mod cache;
mod command;
mod context;
mod emitter;
mod execute;
mod http;
mod launcher;
pub mod llm;
pub mod mcp;
mod node;
mod orchestrator;
mod pending;
mod plan;
pub mod repo;
mod resolver;
mod restart;
mod size;
#[cfg(test)]
mod tests;
mod tool;
mod worker;
mod worker_settings;

pub use command::CommandWorker;
pub use context::{Contexts, RunContext, Services};
pub use emitter::{AskError, Emitter, StopWork};
pub use launcher::{Launcher, RunnerSettings};
pub use orchestrator::{
    BadPush, OrchestratorSettingsError, OrchestratorWorker, Orchestrators, PushRefused, Pushed,
};
pub use pending::{Deadlines, NoAnswer, Pending};
pub use plan::PlanError;
pub use resolver::{Catalog, CatalogError, Resolver};
pub use restart::Recovered;
pub use size::check_answer;
pub use tool::{
    BadToolPattern, ToolCall, ToolError, ToolPolicy, ToolRule, ToolSettings, Verdict, call_tool, permit_tool,
};
pub use worker::{
    Backend, Inputs, Restart, RunRequest, Task, UndeclaredRead, Worker, WorkerOutput, WorkerSpec,
};
pub use worker_settings::{DeclaredBackend, WorkerSettings, WorkerSettingsError};
