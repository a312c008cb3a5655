//! rungate: a self-hosted run gateway.
#![allow(missing_docs)]
pub mod api;
pub mod model;
pub mod runtime;
pub mod storage;
pub mod runner;
