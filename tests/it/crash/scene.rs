//! What happens in one seed: lives of a gateway, each ended by a kill, and the clients that talk to all of them.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, future::join_all, stream};
use rungate::runtime::clock;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Play,
    clients::{CALLING, call, repeat, start_request, start_runs, watch, watch_session},
    history::{Answer, End, History, Kill, Restart, SessionAfterwards, SessionWatched, Watched},
    random::Random,
};
use crate::support::{
    client::{Client, PROTOCOLS, Protocol},
    gateway::{Gateway, Setup},
    ports::quiet_address,
    story,
};

/// Sessions in which runs are started.
const SESSIONS: usize = 4;
/// A change of a session is safe from a kill after 50 ms; a busy machine may need longer.
const SAFE: Duration = Duration::from_millis(200);
/// From the last kill until nothing new is started.
const LAST_LIFE: Duration = Duration::from_millis(150);
/// The same where there is none.
const ONLY_LIFE: Duration = Duration::from_millis(600);
/// When nothing new is started, what goes on ends within this time. A run takes two seconds at most, and a few may wait
/// for each other.
const SETTLED: Duration = Duration::from_secs(40);
/// A finished log is read within this time.
const READ: Duration = Duration::from_secs(10);
/// What was read has come to those who watch sessions too within this time.
const SEEN: Duration = Duration::from_secs(5);
/// Between two looks whether all has come.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Questions that are asked at a time when all is over.
const AT_A_TIME: usize = 4;

/// What all clients of one seed share. A clone shares it too.
#[derive(Clone)]
pub(super) struct Scene(Arc<Shared>);

struct Shared {
    address: SocketAddr,
    history: Mutex<History>,
    tasks: TaskTracker,
    over: AtomicBool,
    /// Who watches sessions, and what ends that.
    audience: TaskTracker,
    all_seen: CancellationToken,
}

/// Plays a seed and gives what was seen.
pub(super) async fn play(play: Play) -> History {
    let Play { seed, killed, environment } = play;
    let mut random = Random::new(seed);
    let data = tempfile::tempdir().unwrap();
    let listen = quiet_address();
    let mut gateway = life(listen, data.path(), environment).await;
    let scene = Scene(Arc::new(Shared {
        address: listen,
        history: Mutex::default(),
        tasks: TaskTracker::new(),
        over: AtomicBool::new(false),
        audience: TaskTracker::new(),
        all_seen: CancellationToken::new(),
    }));
    let sessions = scene.make_sessions(&mut random).await;
    for session in &sessions {
        scene.spawn(start_runs(scene.clone(), session.clone(), random.fork()));
        scene.0.audience.spawn(watch_session(scene.clone(), session.clone(), random.fork()));
    }
    let kills = if killed { random.within(2..5) } else { 0 };
    for _ in 0..kills {
        sleep(Duration::from_millis(random.within(50..400))).await;
        let before = clock::now();
        gateway.kill();
        scene.history().kills.push(Kill { before, after: clock::now() });
        sleep(Duration::from_millis(random.within(0..50))).await;
        gateway = life(listen, data.path(), environment).await;
    }
    sleep(if killed { LAST_LIFE } else { ONLY_LIFE }).await;
    scene.0.over.store(true, Ordering::Relaxed);
    scene.0.tasks.close();
    if timeout(SETTLED, scene.0.tasks.wait()).await.is_err() {
        scene.history().stuck.push(format!("{} clients", scene.0.tasks.len()));
    }
    scene.look_back(&sessions, &mut random).await;
    drop(gateway);
    std::mem::take(&mut *scene.history())
}

async fn life(listen: SocketAddr, data: &Path, environment: &[(&'static str, &'static str)]) -> Gateway {
    let mut setup = Setup::default().config(include_str!("workers.toml")).data(data).listen(listen);
    for (name, value) in environment {
        setup = setup.environment(name, *value);
    }
    setup.start().await
}

impl Scene {
    /// A client of whichever life there is.
    pub(super) fn client(&self, protocol: Protocol) -> Client {
        Client::new(protocol, self.0.address)
    }

    /// True when nothing new is started any more.
    pub(super) fn is_over(&self) -> bool {
        self.0.over.load(Ordering::Relaxed)
    }

    /// Writes down what was answered.
    pub(super) fn note(&self, answer: Answer) {
        self.history().answers.push(answer);
    }

    /// Begins to write down what a watcher gets.
    pub(super) fn begin_watch(&self, watched: Watched) -> usize {
        let mut history = self.history();
        history.watches.push(watched);
        history.watches.len() - 1
    }

    /// Writes down what a watcher gets.
    pub(super) fn watched(&self, place: usize, change: impl FnOnce(&mut Watched)) {
        change(&mut self.history().watches[place]);
    }

    /// Begins to write down what a watcher of a session gets.
    pub(super) fn begin_session_watch(&self, session_id: &str) -> usize {
        let (protocols, frames) = (Vec::new(), Vec::new());
        let watched = SessionWatched { session_id: session_id.to_owned(), protocols, frames, end: End::Open };
        let mut history = self.history();
        history.session_watches.push(watched);
        history.session_watches.len() - 1
    }

    /// Writes down what a watcher of a session gets.
    pub(super) fn session_watched(&self, place: usize, change: impl FnOnce(&mut SessionWatched)) {
        change(&mut self.history().session_watches[place]);
    }

    /// Returns when watchers of sessions have seen what there is, or have had the time for it.
    pub(super) async fn all_seen(&self) {
        self.0.all_seen.cancelled().await;
    }

    /// Lets another client begin.
    pub(super) fn spawn(&self, client: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(client);
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.0.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn make_sessions(&self, random: &mut Random) -> Vec<String> {
        let mut sessions = Vec::new();
        while sessions.len() < SESSIONS {
            let made = self.client(random.one_of(&CALLING)).call("InitRun", json!({})).await.unwrap();
            let run_id = story::text(&made["bootstrapRunId"]).to_owned();
            let (key, restart) = (format!("bootstrap of {run_id}"), Restart::Interrupt);
            self.note(Answer::Started { key, request: None, run_id: run_id.clone(), restart });
            watch(self.clone(), run_id, random.fork()).await;
            sessions.push(story::text(&made["sessionId"]).to_owned());
        }
        sleep(SAFE).await;
        sessions
    }

    /// Asks for everything once more when all is over.
    async fn look_back(&self, sessions: &[String], random: &mut Random) {
        let listed = join_all(sessions.iter().map(|it| self.listed(it))).await;
        self.history().listed = listed.into_iter().flatten().collect();
        let history = self.history().clone();
        let started = history.answers.iter().filter_map(|it| match it {
            Answer::Started { run_id, .. } => Some(run_id.clone()),
            _ => None,
        });
        let ids: BTreeSet<_> = started.chain(history.listed.iter().cloned()).collect();
        let reads = ids.into_iter().map(|it| self.read(it, random.fork())).collect::<Vec<_>>();
        stream::iter(reads).buffer_unordered(AT_A_TIME).collect::<()>().await;
        drop(timeout(SEEN, self.sessions_seen()).await);
        self.0.all_seen.cancel();
        self.0.audience.close();
        self.0.audience.wait().await;
        for session in sessions {
            let after = self.afterwards(session, random).await;
            self.history().sessions.push(after);
        }
        self.repeat_all(&history, random).await;
    }

    /// Returns when as many events have come over the watches of sessions as there are.
    async fn sessions_seen(&self) {
        let missing = || {
            let history = self.history();
            let all: usize = history.logs.values().flatten().map(Vec::len).sum();
            let seen: usize = history.session_watches.iter().map(|it| it.frames.len()).sum();
            seen < all
        };
        while missing() {
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn listed(&self, session: &str) -> Vec<String> {
        let (mut runs, mut token) = (Vec::new(), Value::from(""));
        loop {
            let request = json!({"sessionId": session, "pageSize": 5, "pageToken": token});
            let Ok(page) = self.client(Protocol::Connect).call("ListRuns", request).await else {
                return runs;
            };
            let ids = page["runs"].as_array().into_iter().flatten();
            runs.extend(ids.map(|it| story::text(&it["runId"]).to_owned()));
            match &page["nextPageToken"] {
                Value::Null => return runs,
                next => token = next.clone(),
            }
        }
    }

    /// Reads a run and its log.
    async fn read(&self, run_id: String, mut random: Random) {
        let client = self.client(random.one_of(&PROTOCOLS));
        let log = match timeout(READ, client.watch(&run_id).until_failure()).await {
            Ok((log, None)) => Ok(log),
            Ok((log, Some(failure))) => Err(format!("after {} events: {failure:?}", log.len())),
            Err(_) => Err("it does not end".to_owned()),
        };
        let run = self.client(random.one_of(&CALLING)).call("GetRun", json!({"runId": run_id})).await;
        let run = run.map(|it| it["run"].clone()).map_err(|it| format!("{it:?}"));
        let mut history = self.history();
        history.logs.insert(run_id.clone(), log);
        history.runs.insert(run_id, run);
    }

    /// Each key once more.
    async fn repeat_all(&self, history: &History, random: &mut Random) {
        for answer in &history.answers {
            if let Answer::Started { key, request: Some(request), .. } = answer {
                repeat(self, key.clone(), request, random).await;
            }
        }
    }

    async fn afterwards(&self, session: &str, random: &mut Random) -> SessionAfterwards {
        let read = call(self, random, "GetSession", &json!({"sessionId": session})).await;
        let running = read.is_ok_and(|it| it["session"]["running"] == true);
        let request = start_request(session, "worker_DAG", "", "IF_BUSY_REJECT");
        let next = match call(self, random, "StartRun", &request).await {
            Ok(started) => {
                let watch = self.client(Protocol::Grpc).watch(story::text(&started["runId"]));
                let end = timeout(READ, watch.until_failure()).await;
                let last = end.map(|(log, _)| log.last().map(|it| story::text(&it["eventType"]).to_owned()));
                last.ok().flatten().ok_or_else(|| "it does not end".to_owned())
            }
            Err(failure) => Err(format!("{failure:?}")),
        };
        SessionAfterwards { session_id: session.to_owned(), running, next }
    }
}
