//! How a program is declared as a worker.

use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::optional as duration;
use serde::{Deserialize, Serialize};

use crate::{
    model::WorkerKey,
    runner::{Deadlines, Restart},
};

/// A worker that is a program: `[workers.KEY]` of the configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandSettings {
    /// The program and its arguments. Started in the folder of the configuration file, without a shell.
    pub command: Vec<String>,
    /// One line for people.
    #[serde(default)]
    pub description: String,
    /// Keys of workers that run before it; their outputs arrive in `inputs`.
    #[serde(default)]
    pub requires: Vec<WorkerKey>,
    /// After this long it has failed. Without it the runner's default counts.
    #[serde(default, with = "duration", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How long it waits for the result of a client's tool.
    #[serde(default, with = "duration", skip_serializing_if = "Option::is_none")]
    pub tool_timeout: Option<Duration>,
    /// How long it waits for a decision.
    #[serde(default, with = "duration", skip_serializing_if = "Option::is_none")]
    pub approval_timeout: Option<Duration>,
    /// How long it waits for words of the person.
    #[serde(default, with = "duration", skip_serializing_if = "Option::is_none")]
    pub input_timeout: Option<Duration>,
    /// Its share of a run's progress, beside the shares of the other workers.
    #[serde(default = "one")]
    pub weight: u32,
    /// What becomes of its runs that the end of the gateway cuts short.
    #[serde(default)]
    pub restart: Restart,
    /// When set, its output is used again while parameters, inputs and this text stay the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_version: Option<String>,
}

impl CommandSettings {
    /// How long it waits for answers.
    pub fn deadlines(&self) -> Deadlines {
        let Deadlines { tool, approval, input } = Deadlines::default();
        Deadlines {
            tool: self.tool_timeout.unwrap_or(tool),
            approval: self.approval_timeout.unwrap_or(approval),
            input: self.input_timeout.unwrap_or(input),
        }
    }
}

fn one() -> u32 {
    1
}
