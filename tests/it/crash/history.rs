//! What clients saw of a gateway that was killed again and again. Facts only; what they mean is for the checker.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

/// All that was seen.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    pub(super) kills: Vec<Kill>,
    /// In no order: what was answered, by whichever life of the gateway.
    pub(super) answers: Vec<Answer>,
    pub(super) watches: Vec<Watched>,
    pub(super) session_watches: Vec<SessionWatched>,
    /// The logs as they are read at the end, of every run that anybody knows; or why one cannot be read.
    pub(super) logs: BTreeMap<String, Result<Vec<Value>, String>>,
    /// What GetRun says of them at the end.
    pub(super) runs: BTreeMap<String, Result<Value, String>>,
    /// What ListRuns gives at the end, all sessions together.
    pub(super) listed: BTreeSet<String>,
    pub(super) sessions: Vec<SessionAfterwards>,
    /// Who was still waiting for something when everything should have been over.
    pub(super) stuck: Vec<String>,
}

/// The end of one life of the gateway.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kill {
    /// Before this moment it lived.
    pub(super) before: Timestamp,
    /// From this moment on it was dead.
    pub(super) after: Timestamp,
}

/// An answer to a client.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// StartRun, or InitRun for its bootstrap run, which has no request.
    Started { key: String, request: Option<Value>, run_id: String, restart: Restart },
    /// StartRun once more with a key that was answered: the same request.
    Repeated { key: String, answer: Result<String, String> },
    /// StartRun once more with a key that was answered: another request.
    Reused { key: String, answer: Result<String, String> },
    /// CancelRun: the state that it gave.
    Cancelled { run_id: String, state: String },
    /// SubmitRunInput.
    Submitted { run_id: String },
    /// A call that had no reason to fail was refused.
    Refused { call: String, failure: String },
}

/// What becomes of a run that a kill cuts short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    Interrupt,
    Rerun,
}

/// One watcher of a run: all frames that it was sent, joined over its reconnects.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    pub(super) run_id: String,
    /// The protocols it used, in order.
    pub(super) protocols: Vec<String>,
    pub(super) frames: Vec<Value>,
    pub(super) end: End,
}

/// One watcher of a session: all frames that it was sent, joined over its reconnects.
#[derive(Debug, Clone)]
pub(super) struct SessionWatched {
    pub(super) session_id: String,
    pub(super) protocols: Vec<String>,
    pub(super) frames: Vec<Value>,
    /// Never [`End::Whole`]: a session's watch has no end of its own.
    pub(super) end: End,
}

/// How a watch ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// It goes on.
    Open,
    /// As it should.
    Whole,
    /// It was not let go on.
    Refused(String),
}

/// A session when all its runs have ended.
#[derive(Debug, Clone)]
pub(super) struct SessionAfterwards {
    pub(super) session_id: String,
    /// What GetSession says.
    pub(super) running: bool,
    /// A start that needs the session, and the type of its terminal event.
    pub(super) next: Result<String, String>,
}
