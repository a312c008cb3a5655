//! What the workers of a session work with. Built at a session's first run, and again when it is needed after a restart.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Catalog, Resolver, ToolPolicy, llm::LanguageModel, mcp::McpRegistry, repo::open::Repositories};
use crate::model::{ClientView, Session, SessionId, UidGenerator, limits};

/// Contexts that are kept at a time. Beyond it those of sessions without a run are dropped and built again on need.
const KEPT_CONTEXTS: usize = 1024;

/// What all sessions share.
pub struct Services {
    /// The workers that every session has.
    pub catalog: Arc<Catalog>,
    /// The language model, where one is configured.
    pub model: Option<Arc<dyn LanguageModel>>,
    /// The tools of MCP servers; none where none is configured.
    pub tools: Arc<McpRegistry>,
    /// Which tools workers may call.
    pub tool_policy: ToolPolicy,
    /// The repositories that clients may name.
    pub repositories: Arc<Repositories>,
}

/// What the workers of one session work with.
pub struct RunContext {
    session_id: SessionId,
    services: Arc<Services>,
    uids: Mutex<UidGenerator>,
}

/// The contexts of all sessions.
#[derive(Clone)]
pub struct Contexts {
    services: Arc<Services>,
    kept: Arc<Mutex<HashMap<SessionId, Arc<RunContext>>>>,
}

impl Contexts {
    /// Contexts that offer `services`.
    pub fn new(services: Services) -> Self {
        Self { services: Arc::new(services), kept: Arc::default() }
    }

    /// The context of a session.
    pub fn of(&self, session_id: &SessionId) -> Arc<RunContext> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_CONTEXTS && !kept.contains_key(session_id) {
            kept.retain(|_, context| Arc::strong_count(context) > 1);
        }
        let context = kept.entry(session_id.clone()).or_insert_with(|| {
            let (session_id, services) = (session_id.clone(), self.services.clone());
            Arc::new(RunContext { session_id, services, uids: Mutex::default() })
        });
        context.clone()
    }

    /// The workers that every session has.
    pub fn common_resolver(&self) -> Resolver {
        Resolver::new(self.services.catalog.clone(), [])
    }

    /// The workers of the session as it is now, for who needs nothing else of its context.
    pub fn resolver_of(&self, session: &Session) -> Resolver {
        Resolver::of_session(self.services.catalog.clone(), session)
    }

    /// Forgets a session's context; gives the repositories, which may keep clones of it.
    pub fn forget(&self, session_id: &SessionId) -> &Repositories {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(session_id);
        &self.services.repositories
    }
}

impl RunContext {
    /// The session it belongs to.
    pub fn session_id(&self) -> &SessionId {
        &self.session_id
    }

    /// The language model, where one is configured.
    pub fn model(&self) -> Option<&dyn LanguageModel> {
        self.services.model.as_deref()
    }

    /// The tools of MCP servers; none where none is configured.
    pub fn tools(&self) -> &McpRegistry {
        &self.services.tools
    }

    /// Which tools workers may call.
    pub fn tool_policy(&self) -> &ToolPolicy {
        &self.services.tool_policy
    }

    /// The repositories that clients may name. What is read of one goes through a handle that cannot leave it.
    pub fn repositories(&self) -> &Repositories {
        &self.services.repositories
    }

    /// The workers of the session as it is now.
    pub fn resolver(&self, session: &Session) -> Resolver {
        Resolver::of_session(self.services.catalog.clone(), session)
    }

    /// Gives the nodes of a worker's view their uids; the same node gets the same uid in all views of the session.
    pub fn name_nodes(&self, view: &mut ClientView) {
        let mut uids = self.uids.lock().unwrap_or_else(PoisonError::into_inner);
        if uids.len() >= limits::NODE_IDS {
            *uids = UidGenerator::default();
        }
        uids.rewrite(view);
    }
}
