//! rungate: a self-hosted run gateway. Programs start runs, any number of watchers read their events over any
//! protocol, and all of them see the same numbered events and can resume where they left off.
//!
//! The modules, in reading order:
//!
//! - [`app`] puts the parts together, starts them, and ends them in the opposite order.
//! - [`api`] has one file per protocol: decode, call the gateway, encode.
//! - [`gateway`] has one file per operation, free of any protocol.
//! - [`model`] has the words and the rules: ids, events, cursors, the run state machine.
//! - [`run`] has the writer of each run and the one way to read its log.
//! - [`session`] finds sessions, changes them, claims them for a run.
//! - [`runner`] executes runs: workers, the DAG they form, what they are given to work with.
//! - [`storage`] keeps what survives.
//! - [`wire`] has the generated protobuf types and their conversion.
//! - [`cli`] is the command line for people at a terminal: a client of a gateway.
//! - [`config`] reads the configuration.
//! - [`runtime`] has time, tasks, shutdown and logs.

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod gateway;
pub mod model;
pub mod run;
pub mod runner;
pub mod runtime;
pub mod session;
pub mod storage;
pub mod wire;
