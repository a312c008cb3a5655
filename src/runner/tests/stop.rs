//! How workers are stopped, and what becomes of those that crash.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{Notify, oneshot};

use super::*;
use crate::model::RunState;

/// Tells when it is dropped.
struct Dropped(Option<oneshot::Sender<()>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.take().unwrap().send(());
    }
}

/// A worker that does not care whether it is asked to stop, and tells when it is dropped.
fn deaf(key: &str) -> (Fake, oneshot::Receiver<()>) {
    let (sender, dropped) = oneshot::channel();
    let sender = std::sync::Mutex::new(Some(sender));
    let worker = fake(key, move |_| {
        let guard = Dropped(sender.lock().unwrap().take());
        async move {
            std::future::pending::<()>().await;
            drop(guard);
            Ok(output("never"))
        }
    });
    (worker, dropped)
}

async fn until_running(bench: &Bench, run_id: RunId) {
    let mut watch = bench.runs.watch(run_id, Position::Start).await.unwrap();
    loop {
        let entries = watch.next().await.unwrap().unwrap();
        if entries.iter().any(|it| matches!(it.event.kind, EventKind::Node { .. })) {
            return;
        }
    }
}

#[tokio::test]
async fn a_cancel_reaches_the_worker_which_has_time_for_its_last_words() {
    let obedient = fake("obedient", |task: Task| async move {
        task.cancel.cancelled().await;
        task.emitter.log("tidying up").await?;
        Err(RunError::permanent("stopped", "it was stopped"))
    });
    let bench = Bench::new([obedient]).await;
    let (run_id, _) = bench.start("obedient", &[]).await;
    until_running(&bench, run_id).await;
    let state = bench.runs.cancel(run_id, "enough".to_owned()).await.unwrap();
    assert_eq!(state, RunState::Cancelling);
    let log = bench.log(run_id).await;
    assert_eq!(
        (&log.last().unwrap().kind, log.last().unwrap().message.as_str()),
        (&EventKind::Cancelled, "enough")
    );
    assert!(log.iter().any(|it| it.message == "tidying up"));
    assert_eq!(end_of(&log, "obedient"), Some(NodeState::Cancelled));
}

#[tokio::test]
async fn a_worker_that_ignores_a_cancel_is_dropped_after_the_grace_time() {
    let (worker, dropped) = deaf("deaf");
    let bench = Bench::new([worker]).await;
    let (run_id, _) = bench.start("deaf", &[]).await;
    until_running(&bench, run_id).await;
    let begun = Instant::now();
    bench.runs.cancel(run_id, String::new()).await.unwrap();
    let log = bench.log(run_id).await;
    assert_eq!(log.last().unwrap().kind, EventKind::Cancelled);
    assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
    // It was dropped before the run was over.
    let mut dropped = dropped;
    assert!(dropped.try_recv().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_worker_that_blocks_its_thread_is_left_behind() {
    let (release, blocked) = std::sync::mpsc::sync_channel::<()>(0);
    let blocked = std::sync::Mutex::new(blocked);
    let blocking = fake("blocking", move |_| {
        let _ = blocked.lock().unwrap().recv();
        std::future::ready(Ok(output("late")))
    });
    let bench = Bench::new([blocking, gives("other", 1)]).await;
    let (run_id, _) = bench.start("blocking", &[]).await;
    until_running(&bench, run_id).await;
    bench.runs.cancel(run_id, String::new()).await.unwrap();
    assert_eq!(bench.log(run_id).await.last().unwrap().kind, EventKind::Cancelled);
    assert_eq!(output_of(&bench.run("other").await), 1);
    drop(release);
}

#[tokio::test]
async fn a_worker_out_of_time_is_stopped_like_a_cancelled_one() {
    let (worker, dropped) = deaf("deaf");
    let obedient = fake("obedient", |task: Task| async move {
        task.cancel.cancelled().await;
        task.emitter.log("tidying up").await?;
        Ok(output("too late"))
    });
    let short = |it: &mut WorkerSpec| it.timeout = Some(Duration::from_millis(50));
    let bench = Bench::new([worker.spec(short), obedient.spec(short)]).await;
    for key in ["deaf", "obedient"] {
        let log = bench.run(key).await;
        assert_eq!((error_of(&log).code.as_str(), error_of(&log).retryable), ("worker_timeout", true));
        assert_eq!(error_of(&log).message, "the worker took longer than 0.05 s");
        assert_eq!(end_of(&log, key), Some(NodeState::Failed));
        assert_eq!(log.iter().any(|it| it.message == "tidying up"), key == "obedient");
    }
    dropped.await.unwrap();
}

#[tokio::test]
async fn a_cancelled_run_skips_what_has_not_begun() {
    let (worker, _dropped) = deaf("deaf");
    let bench = Bench::new([worker, gives("end", 1).requires(&["deaf"])]).await;
    let (run_id, _) = bench.start("end", &[]).await;
    until_running(&bench, run_id).await;
    bench.runs.cancel(run_id, String::new()).await.unwrap();
    let log = bench.log(run_id).await;
    assert_eq!(end_of(&log, "deaf"), Some(NodeState::Cancelled));
    assert_eq!(end_of(&log, "end"), Some(NodeState::Skipped));
}

#[tokio::test]
async fn a_panic_is_the_error_of_its_run_and_of_nothing_else() {
    let goes_on = Arc::new(Notify::new());
    let waits = goes_on.clone();
    let other = fake("other", move |_| {
        let waits = waits.clone();
        async move {
            waits.notified().await;
            Ok(output("well"))
        }
    });
    let in_run = fake("in_run", |_| async { panic!("in its work") });
    let in_state = gives("in_state", 1).cached("1").depends_on(|_| panic!("when asked what it depends on"));
    let mut bench = Bench::new([in_run, in_state, other]).await;
    let (running, _) = bench.start("other", &[]).await;
    let first = bench.session_id.clone();
    bench.session_id = bench.sessions.create("bob", "").await.unwrap().session_id.clone();
    for key in ["in_run", "in_state"] {
        let log = bench.run(key).await;
        assert_eq!(error_of(&log).code, "worker_panicked");
        assert_eq!(error_of(&log).message, "the worker crashed", "a client reads nothing of the inside");
        assert_eq!(end_of(&log, key), Some(NodeState::Failed));
    }
    assert!(!bench.session().await.running());
    goes_on.notify_one();
    assert_eq!(output_of(&bench.log(running).await), "well");
    assert!(!bench.sessions.get(&first).await.unwrap().running());
}

/// A worker that crashes when it is asked what it requires.
struct Moody(WorkerSpec);

#[async_trait]
impl Worker for Moody {
    fn spec(&self) -> &WorkerSpec {
        &self.0
    }

    fn requires(&self, _request: &RunRequest) -> Vec<WorkerKey> {
        panic!("not today")
    }

    async fn run(&self, _task: Task) -> Result<WorkerOutput, RunError> {
        Ok(WorkerOutput::default())
    }
}

#[test]
fn a_panic_before_the_work_is_an_error_too() {
    let mut catalog = Catalog::builtin();
    catalog.add(Arc::new(Moody(WorkerSpec::builtin("moody", "")))).unwrap();
    let resolver = crate::runner::Resolver::new(Arc::new(catalog), []);
    let request = RunRequest {
        run_id: clock::new_run_id(),
        session: Arc::new(Session::new(clock::new_session_id(), "", clock::now())),
        pipeline_id: "moody".into(),
        params: BTreeMap::new(),
    };
    let error = crate::runner::plan::Plan::make(&resolver, &request).err().unwrap();
    assert_eq!(RunError::from(error).code, "worker_panicked");
}
