//! Executes runs: workers, their DAG, their cache, and what they are given to work with.

pub mod repo;
pub mod worker;
