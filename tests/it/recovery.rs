//! The gateway ends, in whatever way, and is back on the same data: what it has told stays told, and every run comes to
//! one end.

use std::{path::Path, process::Output, time::Duration};

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{
    client::{Client, PROTOCOLS, Protocol},
    gateway::{BINARY, End, Gateway, Setup, WORKERS},
    story, trial,
};

/// At work until it is told to end when it finds the folder `mark` missing, and makes that; else done at once.
const SECOND_TIME: &str = r#"
[workers.second_time]
restart = "rerun"
command = ["sh", "-c", '''
read -r task
mark=$(printf '%s' "$task" | sed 's/.*"mark":"\([^"]*\)".*/\1/')
mkdir "$mark" 2>/dev/null && first=yes
echo '{"type":"progress","percent":40,"message":"at work"}'
if [ "$first" ]; then exec cat; fi
echo '{"type":"result","output":"done"}'
''']

[workers.never]
restart = "rerun"
command = ["sh", "-c", '''
echo '{"type":"log","message":"at work"}'
exec cat
''']
"#;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("recovery::a_run_that_is_cancelled_while_the_gateway_ends_is_cancelled", cancelled),
        trial("recovery::runs_that_waited_come_in_their_order", waiting),
        trial("recovery::a_run_does_not_begin_again_for_ever", not_for_ever),
        trial("recovery::a_session_survives_a_kill_right_after_its_making", fresh_sessions),
        trial("recovery::runs_in_memory_are_gone", memory),
        trial("recovery::runs_are_dropped_after_their_time", retention),
        trial("recovery::sessions_and_runs_agree_after_any_kill", agreement),
        trial("recovery::export_reads_what_a_gateway_has_kept", export),
        trial("recovery::export_tells_what_is_missing", export_of_nothing),
    ];
    for end in [End::Kill, End::Term] {
        let name = |what| format!("recovery::{what}_after_{}", end.name());
        trials.push(trial(name("a_run_is_interrupted"), move || interrupted(end)));
        trials.push(trial(name("a_run_begins_again"), move || again(end)));
        trials.push(trial(name("an_idempotency_key_stands_for_its_run"), move || keys(end)));
    }
    trials
}

async fn start(data: &Path) -> Gateway {
    Setup::default().config(WORKERS).config(SECOND_TIME).data(data).start().await
}

fn grpc(gateway: &Gateway) -> Client {
    Client::new(Protocol::Grpc, gateway.address())
}

/// A run with the parameter `mark`; gives its id.
async fn run_with(client: Client, session: &str, pipeline: &str, mark: &Path, if_busy: &str) -> String {
    let request =
        json!({"sessionId": session, "pipelineId": pipeline, "params": {"mark": mark}, "ifBusy": if_busy});
    story::text(&client.call("StartRun", request).await.unwrap()["runId"]).to_owned()
}

/// The events of a run up to the one that says so.
async fn seen_until(client: Client, run: &str, message: &str) -> Vec<Value> {
    let mut events = client.watch(run);
    let mut seen = events.take(1).await;
    while seen.last().unwrap()["message"] != message {
        seen.push(events.expect().await);
    }
    seen
}

async fn session_of(client: Client, session: &str) -> Value {
    client.call("GetSession", json!({"sessionId": session})).await.unwrap()["session"].clone()
}

/// The states of a run with the attempts they belong to.
fn states(log: &[Value]) -> Vec<(&str, u64)> {
    let states = log.iter().filter_map(|it| it.get("state"));
    states.map(|it| (story::text(&it["state"]), it["attempt"].as_u64().unwrap())).collect()
}

async fn interrupted(end: End) {
    let data = tempfile::tempdir().unwrap();
    let first = start(data.path()).await;
    let session = story::session(grpc(&first)).await;
    let run = story::start(grpc(&first), &session, "linger").await.unwrap();
    let seen = seen_until(grpc(&first), &run, "lingering").await;
    end.of(&first).await;
    let second = start(data.path()).await;
    let log = story::log_of(grpc(&second), &run).await;
    assert_eq!(log[..seen.len()], seen, "what was seen stays");
    let error = &log.last().unwrap()["error"];
    assert_eq!((&error["code"], &error["retryable"]), (&json!("interrupted"), &json!(true)), "{error:#}");
    for protocol in PROTOCOLS {
        let client = Client::new(protocol, second.address());
        let rest = client.watch_after(&run, story::cursor(seen.last().unwrap())).all().await;
        assert_eq!(rest, log[seen.len()..], "{protocol}: a watch goes on where it was cut");
    }
    assert_eq!(session_of(grpc(&second), &session).await["running"], Value::Null, "the session is free");
    let next = story::start(grpc(&second), &session, "worker_DAG").await.unwrap();
    story::log_of(grpc(&second), &next).await;
    // Another end finds nothing to do, and changes nothing.
    end.of(&second).await;
    let third = start(data.path()).await;
    assert_eq!(story::log_of(grpc(&third), &run).await, log);
    assert!(!third.stderr().contains("cut short"), "{}", third.stderr());
}

async fn again(end: End) {
    let data = tempfile::tempdir().unwrap();
    let mark = data.path().join("mark");
    let first = start(data.path()).await;
    let session = story::session(grpc(&first)).await;
    let run = run_with(grpc(&first), &session, "second_time", &mark, "IF_BUSY_REJECT").await;
    let seen = seen_until(grpc(&first), &run, "at work").await;
    end.of(&first).await;
    let second = start(data.path()).await;
    second.logs("took up the runs that were cut short").await;
    let log = story::log_of(grpc(&second), &run).await;
    assert_eq!(log[..seen.len()], seen, "the log goes on");
    let wanted = [
        ("RUN_STATE_QUEUED", 1),
        ("RUN_STATE_RUNNING", 1),
        ("RUN_STATE_QUEUED", 2),
        ("RUN_STATE_RUNNING", 2),
    ];
    assert_eq!(states(&log), wanted);
    assert_eq!(log.last().unwrap()["result"]["output"], "done", "{log:#?}");
    let session = session_of(grpc(&second), &session).await;
    assert_eq!(session["running"], Value::Null, "{session:#}");
}

async fn cancelled() {
    let data = tempfile::tempdir().unwrap();
    let first = start(data.path()).await;
    let run = story::run(grpc(&first), "never").await;
    seen_until(grpc(&first), &run, "at work").await;
    grpc(&first).call("CancelRun", json!({"runId": run, "reason": "enough"})).await.unwrap();
    End::Kill.of(&first).await;
    let second = start(data.path()).await;
    let log = story::log_of(grpc(&second), &run).await;
    assert_eq!(log.last().unwrap()["eventType"], "EVENT_TYPE_CANCELLED", "{log:#?}");
}

async fn waiting() {
    let data = tempfile::tempdir().unwrap();
    let first = start(data.path()).await;
    let session = story::session(grpc(&first)).await;
    let mark = |name: &str| data.path().join(name);
    let active = run_with(grpc(&first), &session, "second_time", &mark("m"), "IF_BUSY_REJECT").await;
    seen_until(grpc(&first), &active, "at work").await;
    // The mark of the first one is there: these are done at once when their turn comes.
    let mut runs = vec![active];
    for _ in 0..3 {
        runs.push(run_with(grpc(&first), &session, "second_time", &mark("m"), "IF_BUSY_ENQUEUE").await);
    }
    let other = run_with(grpc(&first), &session, "linger", &mark("m"), "IF_BUSY_ENQUEUE").await;
    End::Kill.of(&first).await;
    let second = start(data.path()).await;
    let mut begun = Vec::new();
    for run in &runs {
        let log = story::log_of(grpc(&second), run).await;
        assert_eq!(log.last().unwrap()["result"]["output"], "done", "{log:#?}");
        let running = log.iter().rfind(|it| it["state"]["state"] == "RUN_STATE_RUNNING").unwrap();
        begun.push(story::text(&running["time"]).parse::<jiff::Timestamp>().unwrap());
    }
    assert!(begun.is_sorted(), "{begun:?}");
    let log = story::log_of(grpc(&second), &other).await;
    assert_eq!(log.last().unwrap()["error"]["code"], "interrupted");
}

async fn not_for_ever() {
    let data = tempfile::tempdir().unwrap();
    let mut gateway = start(data.path()).await;
    let run = story::run(grpc(&gateway), "never").await;
    for attempt in 1..=5 {
        let mut events = grpc(&gateway).watch(&run);
        while states(&[events.expect().await]) != [("RUN_STATE_RUNNING", attempt)] {}
        gateway.kill();
        gateway = start(data.path()).await;
    }
    let log = story::log_of(grpc(&gateway), &run).await;
    assert_eq!(log.last().unwrap()["error"]["code"], "interrupted", "{log:#?}");
}

async fn keys(end: End) {
    let data = tempfile::tempdir().unwrap();
    let first = start(data.path()).await;
    let session = story::session(grpc(&first)).await;
    let request = |pipeline: &str| json!({"sessionId": session, "pipelineId": pipeline, "idempotencyKey": "order-7", "ifBusy": "IF_BUSY_ENQUEUE"});
    let run = grpc(&first).call("StartRun", request("linger")).await.unwrap();
    end.of(&first).await;
    let second = start(data.path()).await;
    let sent_again =
        (0..5).map(|_| grpc(&second)).map(async |it| it.call("StartRun", request("linger")).await);
    for answer in futures::future::join_all(sent_again).await {
        assert_eq!(answer.unwrap()["runId"], run["runId"]);
    }
    let refused = grpc(&second).call("StartRun", request("worker_DAG")).await.unwrap_err();
    assert_eq!(
        (refused.code.as_str(), refused.reason.as_str()),
        ("already_exists", "IDEMPOTENCY_KEY_REUSED")
    );
    let runs = grpc(&second).call("ListRuns", json!({"sessionId": session})).await.unwrap();
    assert_eq!(
        runs["runs"].as_array().unwrap().len(),
        2,
        "the first run of the session, and this one: {runs:#}"
    );
}

async fn fresh_sessions() {
    let data = tempfile::tempdir().unwrap();
    for _ in 0..4 {
        let first = start(data.path()).await;
        let made = grpc(&first).call("InitRun", json!({"userId": "ada"})).await.unwrap();
        first.kill();
        let second = start(data.path()).await;
        let session = story::text(&made["sessionId"]);
        assert_eq!(session_of(grpc(&second), session).await["userId"], "ada");
        let bootstrap = story::text(&made["bootstrapRunId"]);
        story::log_of(grpc(&second), bootstrap).await;
        // The session knows its last run, however soon the kill came.
        let input = json!({"sessionId": session, "runId": bootstrap, "input": "hello"});
        let answered = grpc(&second).call("SubmitRunInput", input).await.unwrap();
        story::log_of(grpc(&second), story::text(&answered["runId"])).await;
    }
}

async fn memory() {
    let data = tempfile::tempdir().unwrap();
    let setup =
        || Setup::default().config(WORKERS).data(data.path()).environment("RUNGATE_RUN_LOG", "memory");
    let first = setup().start().await;
    let run = story::run(grpc(&first), "linger").await;
    seen_until(grpc(&first), &run, "lingering").await;
    End::Term.of(&first).await;
    let second = setup().start().await;
    let failure = grpc(&second).watch(&run).refused().await;
    assert_eq!(failure.reason, "RUN_NOT_FOUND");
}

async fn retention() {
    let data = tempfile::tempdir().unwrap();
    let setup =
        || Setup::default().config(WORKERS).data(data.path()).environment("RUNGATE_RUN_RETENTION", "1s");
    let first = setup().start().await;
    let (ended, _) = story::finished(grpc(&first), "worker_DAG").await;
    let live = story::run(grpc(&first), "ask").await;
    gone(grpc(&first), &ended).await;
    grpc(&first).call("GetRun", json!({"runId": live})).await.expect("a live run is never dropped");
    End::Kill.of(&first).await;
    let second = setup().start().await;
    let failure = grpc(&second).call("GetRun", json!({"runId": ended})).await.unwrap_err();
    assert_eq!(failure.reason, "RUN_NOT_FOUND", "a restart brings nothing back");
    let cut_short = grpc(&second).call("GetRun", json!({"runId": live})).await.unwrap();
    assert_eq!(cut_short["run"]["error"]["code"], "interrupted", "its time begins with its end");
    gone(grpc(&second), &live).await;
}

async fn gone(client: Client, run: &str) {
    while client.call("GetRun", json!({"runId": run})).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let failure = client.call("GetRun", json!({"runId": run})).await.unwrap_err();
    assert_eq!(failure.reason, "RUN_NOT_FOUND");
}

/// The lines of an export and what it says beside.
async fn exported(arguments: &[&str], folder: &TempDir) -> (Output, Vec<Value>) {
    let mut command = Command::new(BINARY);
    command.args(["runs", "export"]).args(arguments).current_dir(folder.path()).env_remove("RUNGATE_DATA");
    let output = command.output().await.unwrap();
    let lines = output.stdout.split(|it| *it == b'\n').filter(|it| !it.is_empty());
    let lines = lines.map(|it| serde_json::from_slice(it).unwrap()).collect();
    (output, lines)
}

async fn export() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("tmp");
    let gateway = start(&data).await;
    let session = story::session(grpc(&gateway)).await;
    let mark = folder.path().join("mark");
    std::fs::create_dir(&mark).unwrap();
    let run = run_with(grpc(&gateway), &session, "second_time", &mark, "IF_BUSY_REJECT").await;
    let log = Client::new(Protocol::Sse, gateway.address()).watch(&run).all().await;
    let known = grpc(&gateway).call("GetRun", json!({"runId": run})).await.unwrap()["run"].clone();
    // Beside the gateway at work, and after its end. `tmp` is where it looks by itself.
    // A run that is named twice is told once.
    for arguments in [vec![run.as_str(), &run], vec!["--data", data.to_str().unwrap(), &run]] {
        let (output, lines) = exported(&arguments, &folder).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        for (field, value) in known.as_object().unwrap() {
            assert_eq!(&lines[0]["run"][field], value, "{field}");
        }
        assert_eq!(lines[0]["params"], json!({"mark": mark}));
        assert_eq!(lines[1..], log);
        let told = format!("1 run, {} events\n", log.len());
        assert_eq!(String::from_utf8_lossy(&output.stderr), told);
        if arguments.len() == 2 {
            End::Term.of(&gateway).await;
            continue;
        }
        let (_, all) = exported(&["--out", "all"], &folder).await;
        assert!(all.is_empty(), "it goes to the file");
        let all = std::fs::read_to_string(folder.path().join("all")).unwrap();
        let all: Vec<Value> = all.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
        assert!(all.ends_with(&lines), "{all:#?}");
        assert_eq!(all.iter().filter(|it| it.get("run").is_some()).count(), 2, "{all:#?}");
    }
}

async fn export_of_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (output, lines) = exported(&["--data", "nowhere"], &folder).await;
    assert_eq!((output.status.code(), lines.len()), (Some(1), 0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere"), "{output:?}");
    let data = folder.path().join("data");
    let gateway = start(&data).await;
    story::session(grpc(&gateway)).await;
    let missing = "run_00000000-0000-7000-8000-000000000000";
    let (output, _) = exported(&["--data", data.to_str().unwrap(), missing], &folder).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(missing), "{output:?}");
}

/// Numbers that look random and are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

/// Starts and cancels runs in one session until the gateway is gone; gives the runs that were acknowledged.
async fn keep_starting(client: Client, session: String, mut dice: Dice) -> Vec<String> {
    let mut runs: Vec<String> = Vec::new();
    loop {
        let pipeline = dice.pick(&["worker_DAG", "fail", "linger", "never", "second_time"]);
        let if_busy =
            dice.pick(&["IF_BUSY_REJECT", "IF_BUSY_ENQUEUE", "IF_BUSY_ENQUEUE", "IF_BUSY_INTERRUPT"]);
        let mark = std::env::temp_dir().join("rungate-no-such-folder").join("mark");
        let request = json!({"sessionId": session, "pipelineId": pipeline, "params": {"mark": mark}, "ifBusy": if_busy});
        match client.call("StartRun", request).await {
            Ok(started) => runs.push(story::text(&started["runId"]).to_owned()),
            Err(refused) if ["SESSION_BUSY", "SESSION_QUEUE_FULL"].contains(&refused.reason.as_str()) => {
                // Those of an earlier gateway may hold the session.
                let Some(run) = runs.get(dice.roll(runs.len().max(1))) else { continue };
                if client.call("CancelRun", json!({"runId": run})).await.is_err() {
                    return runs;
                }
            }
            Err(_) => return runs,
        }
    }
}

/// Whatever was under way in whatever moment: afterwards no run is missing, each log keeps the rules, each run comes to one
/// end, and no session is left busy.
async fn agreement() {
    const SESSIONS: u64 = 6;
    let data = tempfile::tempdir().unwrap();
    let mut gateway = start(data.path()).await;
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(story::session(grpc(&gateway)).await);
    }
    let mut runs: Vec<String> = Vec::new();
    for round in 0..6 {
        let client = Client::new(Protocol::ConnectJson, gateway.address());
        let work = (0..)
            .zip(&sessions)
            .map(|(number, session)| keep_starting(client, session.clone(), Dice(round * SESSIONS + number)));
        let end = async {
            tokio::time::sleep(Duration::from_millis(30 + Dice(round).roll(250) as u64)).await;
            gateway.kill();
        };
        let (started, ()) = futures::join!(futures::future::join_all(work), end);
        runs.extend(started.into_iter().flatten());
        gateway = start(data.path()).await;
    }
    let client = grpc(&gateway);
    for run in &runs {
        client.call("CancelRun", json!({"runId": run, "reason": "enough"})).await.unwrap();
    }
    for run in &runs {
        story::log_of(client, run).await;
    }
    for session in &sessions {
        // A run that was not acknowledged may have begun all the same.
        let listed = client.call("ListRuns", json!({"sessionId": session})).await.unwrap();
        for run in listed["runs"].as_array().unwrap() {
            client.call("CancelRun", json!({"runId": run["runId"]})).await.unwrap();
        }
        let said = json!({"sessionId": session, "pipelineId": "worker_DAG", "ifBusy": "IF_BUSY_ENQUEUE"});
        let last = client.call("StartRun", said).await.unwrap();
        story::log_of(client, story::text(&last["runId"])).await;
        assert_eq!(session_of(client, session).await["running"], Value::Null);
    }
    assert!(runs.len() as u64 > SESSIONS, "{} runs", runs.len());
}
