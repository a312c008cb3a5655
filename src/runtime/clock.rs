//! The only place that asks what time it is.

#![allow(clippy::disallowed_methods, reason = "this module is where the clock is read")]

use jiff::Timestamp;
use uuid::Uuid;

use crate::model::{RunId, SessionId};

/// The wall clock.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A run id that no other run has, and that sorts after those made before.
pub fn new_run_id() -> RunId {
    RunId::new(Uuid::now_v7())
}

/// A session id that nobody can guess.
pub fn new_session_id() -> SessionId {
    SessionId::new(Uuid::now_v7())
}
