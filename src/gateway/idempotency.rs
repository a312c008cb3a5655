//! Idempotency keys: the same key with the same request is the same run, however often and however simultaneously it is
//! sent.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::OnceCell, time::Instant};

use crate::model::{Cause, Code, RunId, SessionId, limits};

/// An idempotency key came again with another request.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the idempotency key was used for another request")]
pub struct KeyReused {
    /// The run that the key stands for, as far as it is known.
    run_id: Option<RunId>,
}

/// The keys that were used lately. They live as long as the process, like the runs that they stand for.
#[derive(Default)]
pub(super) struct Idempotency {
    keys: Mutex<Keys>,
}

/// A key is the session's own.
type Name = (SessionId, String);

#[derive(Default)]
struct Keys {
    by_name: HashMap<Name, Arc<Request>>,
    /// In the order of their first use.
    by_age: VecDeque<(Instant, Name, Arc<Request>)>,
}

struct Request {
    fingerprint: String,
    run_id: OnceCell<RunId>,
}

impl Idempotency {
    /// The run that `name` stands for, started by `start` if there is none yet. Who comes while it is being started waits
    /// for it. A start that fails leaves nothing behind, so that the next one tries again.
    pub(super) async fn once<E: From<KeyReused>>(
        &self,
        name: Name,
        fingerprint: String,
        start: impl Future<Output = Result<RunId, E>>,
    ) -> Result<RunId, E> {
        let request = self.keys().request(&name, &fingerprint);
        if request.fingerprint != fingerprint {
            return Err(KeyReused { run_id: request.run_id.get().copied() }.into());
        }
        let run_id = request.run_id.get_or_try_init(|| start).await.copied();
        if run_id.is_err() {
            self.keys().forget_failed(&name, &request);
        }
        run_id
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    fn request(&mut self, name: &Name, fingerprint: &str) -> Arc<Request> {
        self.forget_old();
        if let Some(request) = self.by_name.get(name) {
            return request.clone();
        }
        let request = Arc::new(Request { fingerprint: fingerprint.to_owned(), run_id: OnceCell::new() });
        self.by_name.insert(name.clone(), request.clone());
        self.by_age.push_back((Instant::now(), name.clone(), request.clone()));
        request
    }

    /// Frees the key of a request that came to nothing, unless another one with the key is under way.
    fn forget_failed(&mut self, name: &Name, request: &Arc<Request>) {
        // Held by the two collections here, and by the caller.
        if Arc::strong_count(request) <= 3 && request.run_id.get().is_none() {
            self.forget(name, request);
        }
    }

    fn forget(&mut self, name: &Name, request: &Arc<Request>) {
        if self.by_name.get(name).is_some_and(|it| Arc::ptr_eq(it, request)) {
            self.by_name.remove(name);
        }
    }

    fn forget_old(&mut self) {
        while let Some((used, ..)) = self.by_age.front() {
            if used.elapsed() < limits::IDEMPOTENCY_KEPT && self.by_age.len() < limits::IDEMPOTENCY_KEYS {
                break;
            }
            if let Some((_, name, request)) = self.by_age.pop_front() {
                self.forget(&name, &request);
            }
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
        self.run_id.map(|it| ("run_id", it.to_string())).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use uuid::Uuid;

    use super::*;

    fn name(key: &str) -> Name {
        (SessionId::new(Uuid::nil()), key.to_owned())
    }

    #[tokio::test]
    async fn simultaneous_requests_with_one_key_start_one_run() {
        let (keys, started) = (Idempotency::default(), AtomicU32::new(0));
        let calls = (0..100).map(|_| {
            keys.once::<KeyReused>(name("k"), "same".into(), async {
                tokio::task::yield_now().await;
                Ok(RunId::new(Uuid::from_u128(started.fetch_add(1, Ordering::SeqCst).into())))
            })
        });
        let runs = futures::future::join_all(calls).await;
        assert!(runs.iter().all(|it| it.as_ref().unwrap() == runs[0].as_ref().unwrap()));
        assert_eq!(started.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn another_request_with_the_key_is_refused_and_a_failed_one_leaves_it_free() {
        let keys = Idempotency::default();
        let run_id = RunId::new(Uuid::nil());
        let failed = keys.once(name("k"), "a".into(), async { Err(KeyReused { run_id: None }) }).await;
        assert!(failed.is_err());
        let failed = keys.once(name("k"), "c".into(), async { Err(KeyReused { run_id: None }) }).await;
        assert!(failed.is_err(), "another request, that fails by itself");
        assert_eq!(
            keys.once::<KeyReused>(name("k"), "a".into(), async { Ok(run_id) }).await.unwrap(),
            run_id
        );
        let other = keys.once::<KeyReused>(name("k"), "b".into(), async { Ok(run_id) }).await.unwrap_err();
        assert_eq!(other.run_id, Some(run_id));
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_free_again_after_its_time() {
        let keys = Idempotency::default();
        let first = RunId::new(Uuid::from_u128(1));
        keys.once::<KeyReused>(name("k"), "a".into(), async { Ok(first) }).await.unwrap();
        tokio::time::advance(limits::IDEMPOTENCY_KEPT).await;
        let second = RunId::new(Uuid::from_u128(2));
        assert_eq!(
            keys.once::<KeyReused>(name("k"), "b".into(), async { Ok(second) }).await.unwrap(),
            second
        );
    }
}
