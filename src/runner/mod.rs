//! Executes runs: workers, their DAG, their cache, and what they are given to work with.

pub mod llm;
pub mod mcp;
pub mod worker;
