//! What the end of the gateway makes of runs. The gateway before it is played by a log that it has left behind, or by a
//! bench of its own over the same log.

use std::{
    collections::HashSet,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;
use uuid::Uuid;

use super::*;
use crate::{
    model::{Command, Digest, Draft, Request, RequestId, Run, RunMachine, RunState, limits},
    runner::{Recovered, Restart},
    storage::{
        AppendError, CreateError, ListRuns, NewRun, Newest, PlacedRun, ReadError, RunLog, RunPage, Slice,
        Trim, UsedKey,
    },
};

/// What outlives a gateway.
struct Left {
    log: Arc<DamagedLog>,
    sessions: Sessions,
    session_id: SessionId,
}

impl Left {
    async fn new() -> Self {
        let Setup { log, .. } = Setup::default();
        let sessions = Sessions::new(Arc::new(MemorySessionStore::default()), 100_000);
        let session_id = sessions.create("ada", "").await.unwrap().session_id.clone();
        Self { log: Arc::new(DamagedLog::new(log)), sessions, session_id }
    }

    /// A run of `pipeline` in which this has happened.
    async fn run(&self, pipeline: &str, happened: impl IntoIterator<Item = Command>) -> RunId {
        self.run_in(&self.session_id, pipeline, happened, 1).await
    }

    async fn run_in(
        &self,
        session_id: &SessionId,
        pipeline: &str,
        happened: impl IntoIterator<Item = Command>,
        attempt: u32,
    ) -> RunId {
        let run_id = clock::new_run_id();
        let now = clock::now();
        let (machine, first) = RunMachine::create(run_id, session_id.clone(), pipeline.into(), now);
        let mut machine = RunMachine::restore(Run { attempt, ..machine.run().clone() }, 0);
        let mut events = vec![first];
        for command in happened {
            events.extend(machine.apply(command, now).unwrap());
        }
        let params = [("n".to_owned(), "7".to_owned())].into();
        let new = NewRun { run: machine.run().clone(), events, params, key: None };
        self.log.create(new).await.unwrap();
        run_id
    }

    /// The gateway that comes after.
    async fn taken_up(&self, workers: impl IntoIterator<Item = Fake>) -> (Bench, Recovered) {
        let bench = self.gateway(workers);
        let recovered = tokio::time::timeout(PATIENCE, bench.launcher.recover(&bench.runs)).await;
        (bench, recovered.expect("the start does not hang"))
    }

    fn gateway(&self, workers: impl IntoIterator<Item = Fake>) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let Setup { settings, .. } = Setup::default();
        Bench {
            launcher: launcher(&settings, &folder, self.sessions.clone(), workers),
            runs: Runs::new(self.log.clone(), Shutdown::default()),
            sessions: self.sessions.clone(),
            session_id: self.session_id.clone(),
            folder,
        }
    }
}

/// A log that is damaged where its test says.
struct DamagedLog {
    log: MemoryRunLog,
    /// Nothing of these runs can be read.
    lost: Mutex<HashSet<RunId>>,
    /// The newest events of these runs cannot be read.
    torn: Mutex<HashSet<RunId>>,
}

impl DamagedLog {
    fn new(limits: MemoryLimits) -> Self {
        Self { log: MemoryRunLog::new(limits), lost: Mutex::default(), torn: Mutex::default() }
    }
}

#[async_trait]
impl RunLog for DamagedLog {
    async fn create(&self, new: NewRun) -> Result<(), CreateError> {
        self.log.create(new).await
    }

    async fn append(&self, run: Run, expected: u64, events: Vec<Event>) -> Result<(), AppendError> {
        self.log.append(run, expected, events).await
    }

    async fn read(&self, run_id: RunId, after: u64, max_bytes: usize) -> Result<Slice, ReadError> {
        if after > 0 && self.torn.lock().unwrap().contains(&run_id) {
            return Err(ReadError::Damaged);
        }
        self.log.read(run_id, after, max_bytes).await
    }

    async fn follow(&self, run_id: RunId) -> Result<watch::Receiver<Newest>, ReadError> {
        self.log.follow(run_id).await
    }

    async fn follow_session(&self, session_id: &SessionId) -> watch::Receiver<u64> {
        self.log.follow_session(session_id).await
    }

    async fn run(&self, run_id: RunId) -> Result<Run, ReadError> {
        if self.lost.lock().unwrap().contains(&run_id) {
            return Err(ReadError::Damaged);
        }
        self.log.run(run_id).await
    }

    async fn params(&self, run_id: RunId) -> Result<BTreeMap<String, String>, ReadError> {
        self.log.params(run_id).await
    }

    async fn used_key(&self, name: Digest) -> Option<UsedKey> {
        self.log.used_key(name).await
    }

    async fn list(&self, request: ListRuns) -> Result<RunPage, ReadError> {
        self.log.list(request).await
    }

    async fn placed_after(&self, session_id: &SessionId, after: u64, limit: usize) -> Vec<PlacedRun> {
        self.log.placed_after(session_id, after, limit).await
    }

    async fn live(&self) -> Vec<RunId> {
        self.log.live().await
    }

    async fn all(&self) -> Vec<RunId> {
        self.log.all().await
    }

    async fn trim(&self, trim: Trim) {
        self.log.trim(trim).await;
    }
}

fn rerun(worker: Fake) -> Fake {
    worker.spec(|it| it.restart = Restart::Rerun)
}

/// Gives the parameter that it was started with.
fn param(key: &str) -> Fake {
    fake(key, |task| async move { Ok(output(task.request.params["n"].clone())) })
}

/// The states of a run with the attempts they belong to.
fn states_of(log: &[Event]) -> Vec<(RunState, u32)> {
    let states = log.iter().filter_map(|it| match it.kind {
        EventKind::State { state, attempt } => Some((state, attempt)),
        _ => None,
    });
    states.collect()
}

fn asked() -> [Command; 3] {
    let ask = Command::Ask {
        request_id: RequestId("q".into()),
        request: Request::Input { prompt: "?".into() },
        deadline: jiff::Timestamp::MAX,
        memo: None,
    };
    [Command::Start, Command::Emit(Draft::log("half done").with_progress(50)), ask]
}

#[tokio::test]
async fn a_run_that_was_cut_short_ends_with_an_error() {
    let left = Left::new().await;
    let run = left.run("work", asked()).await;
    let (bench, recovered) = left.taken_up([param("work")]).await;
    assert_eq!(recovered, Recovered { interrupted: 1, ..Recovered::default() });
    let log = bench.log(run).await;
    let error = error_of(&log);
    assert_eq!((error.code.as_str(), error.retryable), ("interrupted", true));
    assert!(error.message.contains("the gateway ended"), "{}", error.message);
    let session = bench.session().await;
    assert_eq!((session.active_run_id, session.latest_run_id), (None, Some(run)), "the session knows it");
    assert!(!bench.run("work").await.is_empty(), "the session is free");
    assert_eq!(bench.launcher.recover(&bench.runs).await, Recovered::default(), "nothing is left to do");
}

#[tokio::test]
async fn a_run_begins_again_in_its_log() {
    let left = Left::new().await;
    let run = left.run("work", asked()).await;
    let (bench, recovered) = left.taken_up([rerun(param("work"))]).await;
    assert_eq!(recovered, Recovered { rerun: 1, ..Recovered::default() });
    let log = bench.log(run).await;
    assert_eq!(*output_of(&log), Value::from("7"), "it has its parameters");
    let states = [
        (RunState::Queued, 1),
        (RunState::Running, 1),
        (RunState::WaitingInput, 1),
        (RunState::Queued, 2),
        (RunState::Running, 2),
    ];
    assert_eq!(states_of(&log), states);
    assert_eq!(bench.runs.get(run).await.unwrap().attempt, 2);
    let session = bench.session().await;
    assert_eq!((session.active_run_id, session.latest_run_id), (None, Some(run)));
}

#[tokio::test]
async fn runs_that_waited_are_queued_again_in_their_order() {
    let left = Left::new().await;
    let place = Arc::new(AtomicUsize::new(0));
    let worker = |key| {
        let place = place.clone();
        rerun(fake(key, move |_| {
            let place = place.fetch_add(1, Ordering::Relaxed);
            async move { Ok(output(place)) }
        }))
    };
    // The active run comes later in the log than one that waits: it went before it.
    let second = left.run("work", []).await;
    let first = left.run("work", [Command::Start]).await;
    let gone = left.run("other", []).await;
    let third = left.run("work", []).await;
    let (bench, recovered) = left.taken_up([worker("work"), gives("other", 1)]).await;
    assert_eq!(recovered, Recovered { interrupted: 1, rerun: 3, ..Recovered::default() });
    for (run, place, attempt) in [(first, 0, 2), (second, 1, 1), (third, 2, 1)] {
        let log = bench.log(run).await;
        assert_eq!(*output_of(&log), Value::from(place));
        assert_eq!(
            states_of(&log).last(),
            Some(&(RunState::Running, attempt)),
            "who never began begins once"
        );
    }
    assert_eq!(error_of(&bench.log(gone).await).code, "interrupted");
    let session = bench.session().await;
    assert_eq!((session.active_run_id, session.latest_run_id), (None, Some(third)));
    assert!(session.waiting.is_empty());
}

#[tokio::test]
async fn a_run_whose_session_is_gone_does_not_begin_again() {
    let left = Left::new().await;
    let gone = SessionId::new(Uuid::from_u128(1));
    let run = left.run_in(&gone, "work", [Command::Start], 1).await;
    let (bench, recovered) = left.taken_up([rerun(param("work"))]).await;
    assert_eq!(recovered, Recovered { interrupted: 1, ..Recovered::default() });
    assert_eq!(error_of(&bench.log(run).await).code, "interrupted");
}

#[tokio::test]
async fn a_run_whose_worker_is_gone_does_not_begin_again() {
    let left = Left::new().await;
    let run = left.run("work", [Command::Start]).await;
    let (bench, _) = left.taken_up([]).await;
    assert_eq!(error_of(&bench.log(run).await).code, "interrupted");
}

#[tokio::test]
async fn a_run_does_not_begin_again_for_ever() {
    let left = Left::new().await;
    let other = left.sessions.create("", "").await.unwrap().session_id.clone();
    let last = left.run_in(&left.session_id, "work", [Command::Start], limits::ATTEMPTS - 1).await;
    let over = left.run_in(&other, "work", [Command::Start], limits::ATTEMPTS).await;
    let (bench, recovered) = left.taken_up([rerun(param("work"))]).await;
    assert_eq!(recovered, Recovered { interrupted: 1, rerun: 1, ..Recovered::default() });
    assert_eq!(states_of(&bench.log(last).await).last(), Some(&(RunState::Running, limits::ATTEMPTS)));
    assert_eq!(error_of(&bench.log(over).await).code, "interrupted");
}

#[tokio::test]
async fn who_asked_for_the_end_gets_it_after_a_restart() {
    let left = Left::new().await;
    let run = left.run("work", [Command::Start, Command::Cancel { reason: "enough".into() }]).await;
    let (bench, recovered) = left.taken_up([rerun(param("work"))]).await;
    assert_eq!(recovered, Recovered { cancelled: 1, ..Recovered::default() });
    assert_eq!(bench.log(run).await.last().unwrap().kind, EventKind::Cancelled);
    assert!(!bench.session().await.running());
}

#[tokio::test]
async fn the_worker_of_the_run_decides_for_those_it_requires() {
    for (restart, needed, ends_well) in
        [(Restart::Rerun, Restart::Interrupt, true), (Restart::Interrupt, Restart::Rerun, false)]
    {
        let left = Left::new().await;
        let run = left.run("end", [Command::Start]).await;
        let needed = gives("needed", 1).spec(|it| it.restart = needed);
        let end = gives("end", 2).requires(&["needed"]).spec(|it| it.restart = restart);
        let (bench, _) = left.taken_up([needed, end]).await;
        let log = bench.log(run).await;
        assert_eq!(matches!(log.last().unwrap().kind, EventKind::Complete { .. }), ends_well, "{log:#?}");
    }
}

/// What a worker was about to keep when the process died is not taken for its output.
#[tokio::test]
async fn half_an_output_is_none() {
    let left = Left::new().await;
    let run = left.run("work", [Command::Start]).await;
    let bench = left.gateway([rerun(gives("work", "whole").cached("1"))]);
    let folder = bench.folder.path().join("artifacts").join(left.session_id.as_str());
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["work.json", "work.json.new"] {
        std::fs::write(folder.join(name), r#"{"fingerprint":"0","output":{"value":"ha"#).unwrap();
    }
    bench.launcher.recover(&bench.runs).await;
    let log = bench.log(run).await;
    assert_eq!((output_of(&log), end_of(&log, "work")), (&Value::from("whole"), Some(NodeState::Succeeded)));
}

#[tokio::test]
async fn a_damaged_run_stops_nothing() {
    let left = Left::new().await;
    let sessions = [(); 3].map(|()| left.sessions.create("", ""));
    let [one, two, three] = futures::future::join_all(sessions).await.try_into().unwrap();
    let [one, two, three] = [one, two, three].map(|it| it.unwrap().session_id.clone());
    let lost = left.run_in(&one, "work", [Command::Start], 1).await;
    let torn = left.run_in(&two, "work", [Command::Start], 1).await;
    let waits = left.run_in(&two, "work", [], 1).await;
    let whole = left.run_in(&three, "work", [Command::Start], 1).await;
    left.log.lost.lock().unwrap().insert(lost);
    left.log.torn.lock().unwrap().insert(torn);
    let (bench, recovered) = left.taken_up([rerun(param("work"))]).await;
    assert_eq!(recovered, Recovered { interrupted: 1, rerun: 2, unreadable: 1, ..Recovered::default() });
    for run in [waits, whole] {
        assert_eq!(*output_of(&bench.log(run).await), Value::from("7"));
    }
    let ended = bench.runs.get(torn).await.unwrap();
    assert_eq!(ended.error.unwrap().code, "interrupted", "what comes after the damage would not be seen");
    for session in [one, two, three] {
        assert!(!bench.sessions.get(&session).await.unwrap().running());
    }
}

#[tokio::test]
async fn ten_thousand_runs_are_taken_up_at_once() {
    const RUNS: usize = 10_000;
    let left = Left::new().await;
    let mut runs = Vec::new();
    for number in 0..RUNS {
        let session_id = SessionId::new(Uuid::from_u128(number as u128 / 10));
        runs.push(left.run_in(&session_id, "work", [Command::Start], 1).await);
    }
    let (bench, recovered) = left.taken_up([param("work")]).await;
    assert_eq!(recovered, Recovered { interrupted: RUNS, ..Recovered::default() });
    for run in runs {
        assert_eq!(bench.runs.get(run).await.unwrap().state, RunState::Failed);
    }
}

/// A gateway that is told to end leaves runs that begin again without an end, and ends the others.
#[tokio::test]
async fn runs_survive_an_orderly_end_as_they_survive_any_other() {
    let left = Left::new().await;
    let lingers = |key| {
        fake(key, |task: Task| async move {
            drop(task.emitter.log("at work").await);
            std::future::pending().await
        })
    };
    let before = left.gateway([rerun(lingers("again")), lingers("once")]);
    let (active, _) = before.start("again", &[("n", "7")]).await;
    let waits = waiting(&before, "again").await;
    let no_more = waiting(&before, "once").await;
    tokio::time::timeout(PATIENCE, before.launcher.stop_all(&before.runs, true)).await.expect("it ends");
    let state = async |run| before.runs.get(run).await.unwrap().state;
    assert_eq!(state(active).await, RunState::Running);
    assert_eq!(state(waits).await, RunState::Queued);
    assert_eq!(error_of(&before.log(no_more).await).code, "interrupted");
    let session = before.session().await;
    assert!(!session.running() && session.waiting.is_empty(), "{session:?}");

    let (after, recovered) = left.taken_up([rerun(param("again")), param("once")]).await;
    assert_eq!(recovered, Recovered { rerun: 2, ..Recovered::default() });
    for (run, attempt) in [(active, 2), (waits, 1)] {
        let log = after.log(run).await;
        assert_eq!(
            (output_of(&log), states_of(&log).last()),
            (&"7".into(), Some(&(RunState::Running, attempt)))
        );
    }
    assert_eq!(after.session().await.latest_run_id, Some(waits));
}

/// A run that waits for the session of the bench.
async fn waiting(bench: &Bench, key: &str) -> RunId {
    let run_id = clock::new_run_id();
    let claimed = bench.sessions.claim(&bench.session_id, run_id, IfBusy::Enqueue).await.unwrap();
    let Claimed::Waiting { session, .. } = claimed else { panic!("the session is busy") };
    let params = BTreeMap::from([("n".to_owned(), "7".to_owned())]);
    let log = BeginLog {
        run_id,
        session_id: bench.session_id.clone(),
        pipeline_id: key.into(),
        params: params.clone(),
        key: None,
        cancel_on_disconnect: false,
        at_once: false,
    };
    let writer = bench.runs.create(log).await.unwrap();
    bench.launcher.hold(RunRequest { run_id, session, pipeline_id: key.into(), params }, writer).await;
    run_id
}

/// Where logs do not outlive the process nothing is left for later.
#[tokio::test]
async fn without_a_durable_log_every_run_is_told_that_it_was_interrupted() {
    let lingers = rerun(fake("again", |_: Task| std::future::pending()));
    let bench = Bench::new([lingers]).await;
    let (run, _) = bench.start("again", &[]).await;
    let waits = waiting(&bench, "again").await;
    bench.launcher.stop_all(&bench.runs, false).await;
    for run in [run, waits] {
        assert_eq!(error_of(&bench.log(run).await).code, "interrupted");
    }
}

/// A run that somebody has cancelled is cancelled, although the gateway ends.
#[tokio::test]
async fn who_asked_for_the_end_gets_it_from_a_gateway_that_ends() {
    let bench = Bench::new([rerun(fake("again", |_: Task| std::future::pending()))]).await;
    let (run, writer) = bench.start("again", &[]).await;
    writer.apply(Command::Cancel { reason: "enough".into() }).await.unwrap();
    bench.launcher.stop_all(&bench.runs, true).await;
    let log = bench.log(run).await;
    assert_eq!(
        (&log.last().unwrap().kind, log.last().unwrap().message.as_str()),
        (&EventKind::Cancelled, "enough")
    );
}
