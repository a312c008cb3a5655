//! The key of a worker: the id that clients start.

use std::{borrow::Borrow, fmt, hash, sync::Arc};

use serde::{Deserialize, Serialize};

/// A worker's key as its owner wrote it. Two keys are the same when they are equal trimmed and lower-cased. Clones share it.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "String")]
pub struct WorkerKey {
    shown: Arc<str>,
    /// The same text where it is the same.
    compared: Arc<str>,
}

impl WorkerKey {
    /// The key written as `text`.
    pub fn new(text: &str) -> Self {
        let shown: Arc<str> = text.trim().into();
        let lower = shown.to_lowercase();
        Self { compared: if *lower == *shown { shown.clone() } else { lower.into() }, shown }
    }

    /// The key as its owner wrote it, trimmed.
    pub fn as_str(&self) -> &str {
        &self.shown
    }

    /// The form that is compared, and that can stand where case does not count.
    pub fn normalized(&self) -> &str {
        &self.compared
    }

    /// True when nothing is left after trimming.
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }
}

impl PartialEq for WorkerKey {
    fn eq(&self, other: &Self) -> bool {
        self.compared == other.compared
    }
}

impl Eq for WorkerKey {}

impl PartialOrd for WorkerKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for WorkerKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.compared.cmp(&other.compared)
    }
}

impl hash::Hash for WorkerKey {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.compared.hash(state);
    }
}

impl Borrow<str> for WorkerKey {
    fn borrow(&self) -> &str {
        &self.compared
    }
}

impl fmt::Display for WorkerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl From<String> for WorkerKey {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<&str> for WorkerKey {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl Serialize for WorkerKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown)
    }
}
