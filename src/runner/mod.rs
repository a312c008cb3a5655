//! Executes runs: workers, the DAG they form, the cache of their outputs, and what they are given to work with.

mod builtin;
mod cache;
mod command;
mod context;
mod emitter;
mod execute;
mod launcher;
pub mod llm;
pub mod mcp;
mod node;
mod plan;
pub mod repo;
mod resolver;
mod restart;
mod size;
#[cfg(test)]
mod tests;
mod worker;

pub use command::{CommandSettings, CommandWorker};
pub use context::{Contexts, RunContext, Services};
pub use emitter::{Emitter, StopWork};
pub use launcher::{Launcher, RunnerSettings};
pub use plan::PlanError;
pub use resolver::{Catalog, CatalogError, Resolver};
pub use restart::Recovered;
pub use worker::{
    Backend, Inputs, Restart, RunRequest, Task, UndeclaredRead, Worker, WorkerOutput, WorkerSpec,
};
