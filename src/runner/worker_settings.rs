//! How a worker of the user's own is declared: a program that the gateway starts, or an orchestrator that it asks.

use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::optional as duration;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Backend, Deadlines, Restart, WorkerSpec};
use crate::model::WorkerKey;

/// A worker of the user's own: `[workers.KEY]` of the configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSettings {
    /// A program and its arguments. Started in the folder of the configuration file, without a shell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The base URL of an orchestrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orchestrator: Option<String>,
    /// What the orchestrator knows the agent by. Without it the worker's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// An orchestrator that says nothing for so long, while nobody is waited for, has failed.
    #[serde(default, with = "duration", skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,
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
    /// What becomes of its runs that the end of the gateway cuts short. Without it those of a program end with an error, and
    /// those of an orchestrator go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// When set, its output is used again while parameters, inputs and this text stay the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_version: Option<String>,
}

/// Who does the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeclaredBackend {
    /// The program of `command`.
    Command,
    /// The orchestrator at this base URL.
    Orchestrator(Url),
}

/// Why a worker cannot be declared so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkerSettingsError {
    /// It is not clear who does the work.
    #[error("needs exactly one of `command` and `orchestrator`")]
    NotOne,
    /// The list is there, but the name of the program is not.
    #[error("`command` names no program")]
    EmptyCommand,
    /// The base URL is none.
    #[error("`orchestrator` is no http or https URL without user, query and fragment")]
    BadUrl,
    /// A key that says nothing here.
    #[error("`{key}` is not for a worker with `{backend}`")]
    NotForIt {
        /// The key.
        key: &'static str,
        /// What the worker is made of.
        backend: &'static str,
    },
}

impl WorkerSettings {
    /// Who does the work, if that is clear and everything fits to it.
    pub fn backend(&self) -> Result<DeclaredBackend, WorkerSettingsError> {
        let refuse = |keys: &[(&'static str, bool)], backend| match keys.iter().find(|(_, set)| *set) {
            Some((key, _)) => Err(WorkerSettingsError::NotForIt { key, backend }),
            None => Ok(()),
        };
        match (self.command.first(), &self.orchestrator) {
            (Some(program), None) => {
                if program.is_empty() {
                    return Err(WorkerSettingsError::EmptyCommand);
                }
                let resume = self.restart == Some(Restart::Resume);
                let others = [
                    ("agent", self.agent.is_some()),
                    ("idle_timeout", self.idle_timeout.is_some()),
                    ("restart = \"resume\"", resume),
                ];
                refuse(&others, "command")?;
                Ok(DeclaredBackend::Command)
            }
            (None, Some(url)) => {
                refuse(&[("cache_version", self.cache_version.is_some())], "orchestrator")?;
                Ok(DeclaredBackend::Orchestrator(base_url(url)?))
            }
            _ => Err(WorkerSettingsError::NotOne),
        }
    }

    /// What is known of the worker `key` without running it.
    pub fn spec(&self, key: WorkerKey, backend: Backend) -> WorkerSpec {
        let restart = match backend {
            Backend::Orchestrator => Restart::Resume,
            _ => Restart::Interrupt,
        };
        WorkerSpec {
            key,
            description: self.description.clone(),
            requires: self.requires.clone(),
            backend,
            weight: self.weight,
            timeout: self.timeout,
            deadlines: self.deadlines(),
            cache_version: self.cache_version.clone(),
            restart: self.restart.unwrap_or(restart),
        }
    }

    fn deadlines(&self) -> Deadlines {
        let Deadlines { tool, approval, input } = Deadlines::default();
        Deadlines {
            tool: self.tool_timeout.unwrap_or(tool),
            approval: self.approval_timeout.unwrap_or(approval),
            input: self.input_timeout.unwrap_or(input),
        }
    }
}

/// The URL that paths are put behind.
fn base_url(text: &str) -> Result<Url, WorkerSettingsError> {
    let url = Url::parse(text.trim()).map_err(|_| WorkerSettingsError::BadUrl)?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if !matches!(url.scheme(), "http" | "https") || !plain || url.password().is_some() {
        return Err(WorkerSettingsError::BadUrl);
    }
    Ok(url)
}

fn one() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(text: &str) -> Result<DeclaredBackend, String> {
        toml::from_str::<WorkerSettings>(text).unwrap().backend().map_err(|it| it.to_string())
    }

    #[test]
    fn a_worker_is_made_of_exactly_one_thing() {
        assert_eq!(declared("command = ['x']"), Ok(DeclaredBackend::Command));
        let url = "http://127.0.0.1:8081/base".parse().unwrap();
        let orchestrator = "orchestrator = 'http://127.0.0.1:8081/base'";
        assert_eq!(declared(orchestrator), Ok(DeclaredBackend::Orchestrator(url)));
        let not_one = Err("needs exactly one of `command` and `orchestrator`".to_owned());
        for text in ["", "command = []", "command = ['x']\norchestrator = 'http://h'"] {
            assert_eq!(declared(text), not_one, "{text}");
        }
        assert_eq!(declared("command = ['']"), Err("`command` names no program".to_owned()));
    }

    #[test]
    fn what_says_nothing_is_refused() {
        for text in ["agent = 'a'", "idle_timeout = '1m'", "restart = 'resume'"] {
            let error = declared(&format!("command = ['x']\n{text}")).unwrap_err();
            assert!(error.ends_with("is not for a worker with `command`"), "{error}");
        }
        let error = declared("orchestrator = 'http://h'\ncache_version = '1'").unwrap_err();
        assert_eq!(error, "`cache_version` is not for a worker with `orchestrator`");
        for url in ["", "h:1", "ftp://h", "http://u:p@h", "http://h/?q=1", "http://h/#x"] {
            let error = declared(&format!("orchestrator = '{url}'")).unwrap_err();
            assert!(error.starts_with("`orchestrator` is no http"), "{url}: {error}");
        }
    }

    #[test]
    fn runs_of_an_orchestrator_go_on_unless_it_is_said_otherwise() {
        let restart = |text: &str, backend| {
            let settings: WorkerSettings = toml::from_str(text).unwrap();
            settings.spec("w".into(), backend).restart
        };
        assert_eq!(restart("command = ['x']", Backend::Command), Restart::Interrupt);
        let url = "orchestrator = 'http://h'";
        assert_eq!(restart(url, Backend::Orchestrator), Restart::Resume);
        let said = format!("{url}\nrestart = 'rerun'");
        assert_eq!(restart(&said, Backend::Orchestrator), Restart::Rerun);
    }
}
