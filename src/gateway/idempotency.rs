//! Idempotency keys: the same key with the same request is the same run, however often and however simultaneously it is
//! sent. What a key was used for stands in the run log; here is who may use it first.

use tokio::sync::{Mutex, MutexGuard};

use super::{
    Gateway,
    start_run::{BeginRun, StartRunError},
};
use crate::model::{Cause, Code, Digest, IdempotencyKey, RunId};

/// An idempotency key came again with another request.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the idempotency key was used for another request")]
pub struct KeyReused {
    /// The run that the key stands for.
    run_id: RunId,
}

/// Lets one request at a time use a key. Keys share locks, so that their number is bounded; two that meet by chance wait
/// for each other as long as a run takes to begin.
pub(super) struct KeyLocks([Mutex<()>; KeyLocks::COUNT]);

impl KeyLocks {
    const COUNT: usize = 1024;

    async fn lock(&self, name: Digest) -> MutexGuard<'_, ()> {
        let number = usize::from(u16::from_le_bytes([name.0[0], name.0[1]])) % Self::COUNT;
        self.0[number].lock().await
    }
}

impl Default for KeyLocks {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::new(())))
    }
}

impl Gateway {
    /// The run that `key` stands for, begun now if there is none yet. Who comes while it is being begun waits for it. A
    /// start that fails leaves nothing behind, so that the next one tries again.
    pub(super) async fn begin_once(
        &self,
        key: IdempotencyKey,
        begun: BeginRun,
    ) -> Result<RunId, StartRunError> {
        let _lock = self.key_locks.lock(key.name).await;
        match self.runs.used_key(&key).await {
            Some(used) if used.request == key.request => Ok(used.run_id),
            Some(used) => Err(KeyReused { run_id: used.run_id }.into()),
            None => Ok(self.begin_run(BeginRun { key: Some(key), ..begun }).await?),
        }
    }
}

impl Cause for KeyReused {
    fn code(&self) -> Code {
        Code::AlreadyExists
    }

    fn reason(&self) -> &'static str {
        "IDEMPOTENCY_KEY_REUSED"
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![("run_id", self.run_id.to_string())]
    }
}
