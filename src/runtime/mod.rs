//! What every part of a server needs and no part should invent: time, tasks and their end, pauses between tries, logs.

pub mod backoff;
pub mod clock;
pub mod files;
pub mod shutdown;
pub mod task;
pub mod telemetry;
