//! The runner with workers of the tests' own, real runs, real sessions and logs in memory.

mod answers;
mod cache;
mod dag;
mod events;
mod restart;
mod stop;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::BoxFuture;
use serde_json::Value;
use tempfile::TempDir;

use super::{
    Catalog, Contexts, Launcher, RunRequest, RunnerSettings, Services, Task, Worker, WorkerOutput,
    WorkerSpec,
    mcp::McpRegistry,
    repo::{
        open::{RepoLimits, Repositories},
        policy::RepoPolicy,
    },
};
use crate::{
    model::{Event, EventKind, NodeState, Position, RunError, RunId, Session, SessionId, WorkerKey},
    run::{BeginLog, Runs, WriterHandle},
    runtime::{clock, shutdown::Shutdown},
    session::{Claimed, IfBusy, Sessions},
    storage::{MemoryLimits, MemoryRunLog, MemorySessionStore},
};

/// A run that does not end within this hangs.
const PATIENCE: Duration = Duration::from_secs(20);

type Act = dyn Fn(Task) -> BoxFuture<'static, Result<WorkerOutput, RunError>> + Send + Sync;
type DependsOn = dyn Fn(&Task) -> Option<Value> + Send + Sync;

/// A worker that does what its test says.
struct Fake {
    spec: WorkerSpec,
    act: Box<Act>,
    depends_on: Box<DependsOn>,
}

/// A gateway without protocols.
struct Bench {
    sessions: Sessions,
    runs: Runs,
    launcher: Launcher,
    session_id: SessionId,
    folder: TempDir,
}

/// How a bench differs from the usual one.
struct Setup {
    settings: RunnerSettings,
    log: MemoryLimits,
}

/// A worker whose work is `act`.
fn fake<F>(key: &str, act: impl Fn(Task) -> F + Send + Sync + 'static) -> Fake
where
    F: Future<Output = Result<WorkerOutput, RunError>> + Send + 'static,
{
    let act = Box::new(move |task| -> BoxFuture<'static, _> { Box::pin(act(task)) });
    Fake { spec: WorkerSpec::builtin(key, ""), act, depends_on: Box::new(|_| Some(Value::Null)) }
}

/// A worker that gives this at once.
fn gives(key: &str, value: impl Into<Value>) -> Fake {
    let value = value.into();
    fake(key, move |_| std::future::ready(Ok(output(value.clone()))))
}

fn output(value: impl Into<Value>) -> WorkerOutput {
    WorkerOutput { value: value.into(), ..WorkerOutput::default() }
}

impl Fake {
    fn requires(mut self, keys: &[&str]) -> Self {
        self.spec.requires = keys.iter().map(|it| WorkerKey::new(it)).collect();
        self
    }

    fn spec(mut self, change: impl FnOnce(&mut WorkerSpec)) -> Self {
        change(&mut self.spec);
        self
    }

    fn cached(self, version: &str) -> Self {
        self.spec(|it| it.cache_version = Some(version.to_owned()))
    }

    fn depends_on(mut self, depends_on: impl Fn(&Task) -> Option<Value> + Send + Sync + 'static) -> Self {
        self.depends_on = Box::new(depends_on);
        self
    }
}

#[async_trait]
impl Worker for Fake {
    fn spec(&self) -> &WorkerSpec {
        &self.spec
    }

    async fn depends_on(&self, task: &Task) -> Option<Value> {
        (self.depends_on)(task)
    }

    async fn run(&self, task: Task) -> Result<WorkerOutput, RunError> {
        (self.act)(task).await
    }
}

impl Default for Setup {
    fn default() -> Self {
        let settings =
            RunnerSettings { cancel_grace: Duration::from_millis(100), ..RunnerSettings::default() };
        Self { settings, log: MemoryLimits { per_run: 64 << 20, total: 256 << 20 } }
    }
}

impl Bench {
    async fn new(workers: impl IntoIterator<Item = Fake>) -> Self {
        Self::with(Setup::default(), workers).await
    }

    async fn with(setup: Setup, workers: impl IntoIterator<Item = Fake>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sessions = Sessions::new(Arc::new(MemorySessionStore::default()), 100);
        let session_id = sessions.create("ada", "").await.unwrap().session_id.clone();
        let runs = Runs::new(Arc::new(MemoryRunLog::new(setup.log)), Shutdown::default());
        let launcher = launcher(&setup.settings, &folder, sessions.clone(), workers);
        Self { sessions, runs, launcher, session_id, folder }
    }

    /// The same gateway with other workers, as after a restart.
    fn restarted(self, workers: impl IntoIterator<Item = Fake>) -> Self {
        let launcher = launcher(&RunnerSettings::default(), &self.folder, self.sessions.clone(), workers);
        Self { launcher, ..self }
    }

    /// Starts a run as the gateway does.
    async fn start(&self, key: &str, params: &[(&str, &str)]) -> (RunId, WriterHandle) {
        let (request, writer) = self.begin(key, params).await;
        let run_id = request.run_id;
        self.launcher.launch_begun(request, writer.clone());
        (run_id, writer)
    }

    /// Begins the log of a run that nobody works at yet.
    async fn begin(&self, key: &str, params: &[(&str, &str)]) -> (RunRequest, WriterHandle) {
        let run_id = clock::new_run_id();
        let claimed = self.sessions.claim(&self.session_id, run_id, IfBusy::Reject).await.unwrap();
        let Claimed::Held(session) = claimed else { panic!("the session is free") };
        let pipeline_id = WorkerKey::new(key);
        let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let params = BTreeMap::from_iter(params);
        let log = BeginLog {
            run_id,
            session_id: self.session_id.clone(),
            pipeline_id: pipeline_id.clone(),
            params: params.clone(),
            key: None,
            cancel_on_disconnect: false,
            at_once: true,
        };
        let writer = self.runs.create(log).await.unwrap();
        (RunRequest { run_id, session, pipeline_id, params }, writer)
    }

    /// The events of a run, to the terminal one.
    async fn log(&self, run_id: RunId) -> Vec<Event> {
        let mut watch = self.runs.watch(run_id, Position::Start).await.unwrap();
        let mut log = Vec::new();
        while let Some(entries) = tokio::time::timeout(PATIENCE, watch.next()).await.expect("the run ends") {
            log.extend(entries.unwrap().into_iter().map(|it| it.event.clone()));
        }
        check_log(&log);
        log
    }

    /// Runs a worker to its end.
    async fn run(&self, key: &str) -> Vec<Event> {
        self.run_with(key, &[]).await
    }

    async fn run_with(&self, key: &str, params: &[(&str, &str)]) -> Vec<Event> {
        let (run_id, _) = self.start(key, params).await;
        self.log(run_id).await
    }

    async fn session(&self) -> Arc<Session> {
        self.sessions.get(&self.session_id).await.unwrap()
    }
}

fn launcher(
    settings: &RunnerSettings,
    folder: &TempDir,
    sessions: Sessions,
    workers: impl IntoIterator<Item = Fake>,
) -> Launcher {
    let mut catalog = Catalog::builtin();
    for worker in workers {
        catalog.add(Arc::new(worker)).unwrap();
    }
    let policy = RepoPolicy::new(None, None, true);
    let repositories = Repositories::new(policy, folder.path().join("clones"), RepoLimits::default());
    let services = Services {
        catalog: Arc::new(catalog),
        model: None,
        tools: Arc::new(McpRegistry::new(BTreeMap::new()).unwrap()),
        tool_policy: crate::runner::ToolPolicy::default(),
        repositories: Arc::new(repositories),
    };
    Launcher::new(settings, folder.path().join("artifacts"), Contexts::new(services), sessions)
}

/// What holds for every log.
fn check_log(log: &[Event]) {
    for (event, sequence) in log.iter().zip(1..) {
        assert_eq!(event.sequence, sequence);
        assert_eq!(event.kind.is_terminal(), sequence == log.len() as u64, "{event:?}");
    }
    assert!(log.is_sorted_by_key(|it| it.progress_percent), "progress never falls: {log:#?}");
}

/// The output that a run ended with.
fn output_of(log: &[Event]) -> &Value {
    match &log.last().unwrap().kind {
        EventKind::Complete { output, .. } => output,
        other => panic!("{other:?}"),
    }
}

/// The error that a run ended with.
fn error_of(log: &[Event]) -> &RunError {
    match &log.last().unwrap().kind {
        EventKind::Error(error) => error,
        other => panic!("{other:?}"),
    }
}

/// The NODE events of a run.
fn nodes_of(log: &[Event]) -> Vec<(String, NodeState)> {
    let nodes = log.iter().filter_map(|it| match &it.kind {
        EventKind::Node { worker_key, state, .. } => Some((worker_key.to_string(), *state)),
        _ => None,
    });
    nodes.collect()
}

/// How one worker of a run ended.
fn end_of(log: &[Event], key: &str) -> Option<NodeState> {
    nodes_of(log).into_iter().filter(|it| it.0 == key).map(|it| it.1).next_back()
}
