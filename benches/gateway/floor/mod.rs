//! The least programs for the same work: what the gateway is measured against. Each is this program again as a process
//! of its own, so that its time is counted in the same way.

pub(crate) mod append;
pub(crate) mod fan_out;
