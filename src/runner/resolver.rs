//! From a key to a worker: built-in, configured and session workers in one view.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Worker,
    builtin::{self, SessionPlan},
};
use crate::model::{Session, WorkerKey};

/// The workers that every session has: the gateway's own and the configured ones.
#[derive(Clone, Default)]
pub struct Catalog {
    workers: BTreeMap<WorkerKey, Arc<dyn Worker>>,
    aliases: BTreeMap<WorkerKey, WorkerKey>,
}

/// The workers of one session.
#[derive(Clone)]
pub struct Resolver {
    catalog: Arc<Catalog>,
    session: BTreeMap<WorkerKey, Arc<dyn Worker>>,
}

/// Two workers with one key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is already a worker with the key {0}")]
pub struct CatalogError(pub WorkerKey);

impl Catalog {
    /// The gateway's own workers.
    pub fn builtin() -> Self {
        let workers = builtin::workers().into_iter().map(|it| (it.spec().key.clone(), it)).collect();
        let aliases = builtin::ALIASES.map(|(alias, key)| (alias.into(), key.into())).into();
        Self { workers, aliases }
    }

    /// Adds a worker.
    pub fn add(&mut self, worker: Arc<dyn Worker>) -> Result<(), CatalogError> {
        let key = worker.spec().key.clone();
        if self.workers.contains_key(&key) || self.aliases.contains_key(&key) {
            return Err(CatalogError(key));
        }
        self.workers.insert(key, worker);
        Ok(())
    }
}

impl Resolver {
    /// What `catalog` has, and the workers of one session. A session's worker never hides one of the catalog.
    pub fn new(catalog: Arc<Catalog>, session: impl IntoIterator<Item = Arc<dyn Worker>>) -> Self {
        let session = session.into_iter().map(|it| (it.spec().key.clone(), it)).collect();
        Self { catalog, session }
    }

    /// What `catalog` has, and the plan of `session`, where it has one.
    pub fn of_session(catalog: Arc<Catalog>, session: &Session) -> Self {
        let common = Self::new(catalog, []);
        let plan: Vec<_> = session.plan.iter().filter(|key| common.resolve(key).is_some()).cloned().collect();
        if plan.is_empty() {
            return common;
        }
        let plan: Arc<dyn Worker> = Arc::new(SessionPlan::new(&session.purpose, plan));
        Self::new(common.catalog, [plan])
    }

    /// The worker with this key.
    pub fn resolve(&self, key: &WorkerKey) -> Option<Arc<dyn Worker>> {
        let key = self.catalog.aliases.get(key).unwrap_or(key);
        self.catalog.workers.get(key).or_else(|| self.session.get(key)).cloned()
    }

    /// All workers, by key.
    pub fn workers(&self) -> Vec<Arc<dyn Worker>> {
        let mut all = self.session.clone();
        all.extend(self.catalog.workers.clone());
        all.into_values().collect()
    }
}
