//! Outputs of workers, kept in files by the fingerprint of what they were made from.
//!
//! `<artifacts>/<session>/<worker key>.json` holds the newest output of a worker together with its fingerprint. What
//! cannot be read is as good as absent.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Task, WorkerOutput, WorkerSpec};
use crate::{model::SessionId, runtime::task};

/// The largest output that is kept; a larger one is made anew each time.
const LARGEST_BYTES: usize = 64 << 20;

/// Where outputs are kept.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    artifacts: PathBuf,
}

/// What an output was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Fingerprint(String);

#[derive(Serialize, Deserialize)]
struct Stored {
    fingerprint: Fingerprint,
    output: WorkerOutput,
}

impl Fingerprint {
    /// The fingerprint of everything that decides a worker's output; `depends_on` is what the worker itself names.
    pub(super) fn of(spec: &WorkerSpec, version: &str, task: &Task, depends_on: &Value) -> Self {
        let inputs: Vec<_> =
            task.inputs.iter().map(|(key, output)| json!([key.normalized(), output.value])).collect();
        let made_from = json!([spec.key.normalized(), version, task.request.params, inputs, depends_on]);
        let digest = Sha256::digest(made_from.to_string());
        Self(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Cache {
    pub(super) fn new(artifacts: PathBuf) -> Self {
        Self { artifacts }
    }

    /// The kept output of a worker, if it was made from the same.
    pub(super) async fn load(
        &self,
        session: &SessionId,
        spec: &WorkerSpec,
        made_from: &Fingerprint,
    ) -> Option<WorkerOutput> {
        let path = self.path(session, spec);
        let text = task::blocking(move || fs::read(path).ok()).await??;
        let stored: Stored = serde_json::from_slice(&text).ok()?;
        (stored.fingerprint == *made_from).then_some(stored.output)
    }

    /// Keeps an output. A failure costs time, not results: it is logged, and the output is made anew next time.
    pub(super) async fn save(
        &self,
        session: &SessionId,
        spec: &WorkerSpec,
        made_from: Fingerprint,
        output: &WorkerOutput,
    ) {
        let path = self.path(session, spec);
        let stored = Stored { fingerprint: made_from, output: output.clone() };
        let written = task::blocking(move || {
            let text = serde_json::to_vec_pretty(&stored)?;
            if text.len() > LARGEST_BYTES { Ok(()) } else { write(&path, &text) }
        });
        if let Some(Err(error)) = written.await {
            tracing::warn!(%error, worker = %spec.key, "could not keep a worker's output");
        }
    }

    /// Drops everything that was kept for a session.
    pub(super) async fn forget(&self, session: &SessionId) -> io::Result<()> {
        let folder = self.artifacts.join(session.as_str());
        match task::blocking(move || fs::remove_dir_all(folder)).await {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, session: &SessionId, spec: &WorkerSpec) -> PathBuf {
        let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' };
        let name: String = spec.key.normalized().chars().map(safe).collect();
        self.artifacts.join(session.as_str()).join(format!("{name}.json"))
    }
}

/// Replaces the file as a whole, so that nobody reads half of it.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = path.with_extension("json.new");
    fs::write(&new, text)?;
    fs::rename(new, path)
}
