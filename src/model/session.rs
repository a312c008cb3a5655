//! Sessions: what the gateway remembers of a user between runs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{RunId, SessionId, WorkerKey, repo_name};

/// The user of a session that nobody named one for.
pub const DEFAULT_USER: &str = "demo-user";

/// One user's conversation with the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Names the session; also the value of the cookie.
    pub session_id: SessionId,
    /// Who it belongs to.
    pub user_id: String,
    /// The repository's address; may be empty.
    #[serde(default)]
    pub repo_url: String,
    /// The repository's name, inferred from its address.
    #[serde(default)]
    pub repo: String,
    /// What the user wants, as far as it is known.
    #[serde(default)]
    pub purpose: String,
    /// The workers of the plan that was last made for this session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<WorkerKey>,
    /// The run that holds the session. At most one at a time does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_run_id: Option<RunId>,
    /// The run that last held the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_run_id: Option<RunId>,
    /// The runs that wait for the session, the next one first. They do not outlive the process, nor does this.
    #[serde(skip)]
    pub waiting: Vec<RunId>,
    /// When it was made.
    #[serde(default)]
    pub created_at: Timestamp,
    /// When it was last used; what it is expired by.
    #[serde(default)]
    pub updated_at: Timestamp,
}

/// What a run has learnt for its session. Empty fields leave the session as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionUpdate {
    /// What the user wants.
    pub purpose: String,
    /// The repository's address.
    pub repo_url: String,
    /// The workers of a new plan.
    pub plan: Vec<WorkerKey>,
}

impl Session {
    /// A fresh session of `user_id`; an empty one becomes [`DEFAULT_USER`].
    pub fn new(session_id: SessionId, user_id: &str, now: Timestamp) -> Self {
        Self {
            session_id,
            user_id: if user_id.is_empty() { DEFAULT_USER } else { user_id }.to_owned(),
            repo_url: String::new(),
            repo: String::new(),
            purpose: String::new(),
            plan: Vec::new(),
            active_run_id: None,
            latest_run_id: None,
            waiting: Vec::new(),
            created_at: now,
            updated_at: now,
        }
    }

    /// True while a run holds the session.
    pub fn running(&self) -> bool {
        self.active_run_id.is_some()
    }

    /// Gives the session to a run.
    pub fn give_to(&mut self, run_id: RunId) {
        self.active_run_id = Some(run_id);
        self.latest_run_id = Some(run_id);
    }

    /// Takes the session back from the active run and gives it to the next one that waits, if any.
    pub fn pass_on(&mut self) {
        self.active_run_id = None;
        if !self.waiting.is_empty() {
            let next = self.waiting.remove(0);
            self.give_to(next);
        }
    }

    /// Names the repository. Another repository makes the plan of the old one void.
    pub fn set_repo(&mut self, repo_url: &str) {
        if self.repo_url != repo_url {
            self.plan.clear();
        }
        self.repo_url = repo_url.to_owned();
        self.repo = repo_name(repo_url);
    }

    /// Takes over what a run has learnt.
    pub fn learn(&mut self, update: &SessionUpdate) {
        if !update.purpose.is_empty() {
            self.purpose.clone_from(&update.purpose);
        }
        if !update.repo_url.is_empty() {
            self.set_repo(&update.repo_url);
        }
        if !update.plan.is_empty() {
            self.plan.clone_from(&update.plan);
        }
    }
}
