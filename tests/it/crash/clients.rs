//! Who talks to the gateway while it is killed: each goes on until it has its answer, whichever life of the gateway gives
//! it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    history::{Answer, End, Restart, Watched},
    random::Random,
    scene::Scene,
};
use crate::support::{
    client::{Client, Failure, PROTOCOLS, Protocol},
    story,
};

/// Runs that are started in one session, at most.
const STARTS: u64 = 12;
/// Before the same is tried again of a gateway that is not there.
const PAUSE: Duration = Duration::from_millis(10);
/// These say that the gateway has answered, and that it answers the same if it is asked again. All other codes come of
/// connections that broke.
const ANSWERS: [&str; 8] = [
    "already_exists",
    "data_loss",
    "failed_precondition",
    "invalid_argument",
    "nonsense",
    "not_found",
    "out_of_range",
    "resource_exhausted",
];
/// What may be started, the likelier the more often it is named; and what becomes of it after a kill.
const PIPELINES: [(&str, Restart); 8] = [
    ("burst", Restart::Interrupt),
    ("burst", Restart::Interrupt),
    ("trickle", Restart::Interrupt),
    ("again", Restart::Rerun),
    ("again", Restart::Rerun),
    ("question", Restart::Interrupt),
    ("test_pipeline", Restart::Interrupt),
    ("worker_DAG", Restart::Interrupt),
];
/// What a start does when its session is busy.
const IF_BUSY: [&str; 4] = ["IF_BUSY_REJECT", "IF_BUSY_ENQUEUE", "IF_BUSY_ENQUEUE", "IF_BUSY_INTERRUPT"];

/// Starts runs in a session until it is told to stop, and sees to it that each is watched, answered, cancelled.
pub(super) async fn start_runs(scene: Scene, session: String, mut random: Random) {
    for number in 0..STARTS {
        sleep(Duration::from_millis(random.within(0..80))).await;
        if scene.is_over() {
            return;
        }
        let (pipeline, restart) = random.one_of(&PIPELINES);
        let key = format!("{session}/{number}");
        let request = start_request(&session, pipeline, &key, random.one_of(&IF_BUSY));
        let run_id = match call(&scene, &mut random, "StartRun", &request).await {
            Ok(started) => story::text(&started["runId"]).to_owned(),
            // The session or its queue is taken: so it may be.
            Err(failure) if ["SESSION_BUSY", "SESSION_QUEUE_FULL"].contains(&failure.reason.as_str()) => {
                continue;
            }
            Err(failure) => {
                refused(&scene, "StartRun", &failure);
                continue;
            }
        };
        scene.note(Answer::Started {
            key: key.clone(),
            request: Some(request.clone()),
            run_id: run_id.clone(),
            restart,
        });
        for _ in 0..random.within(1..3) {
            scene.spawn(watch(scene.clone(), run_id.clone(), random.fork()));
        }
        if pipeline == "question" {
            scene.spawn(submit(scene.clone(), session.clone(), run_id.clone(), random.fork()));
        }
        if random.once_in(6) {
            scene.spawn(cancel(scene.clone(), run_id, random.fork()));
        }
        if random.once_in(4) {
            repeat(&scene, key, &request, &mut random).await;
        }
    }
}

/// Sends a request that was answered once more, and another one with its key.
pub(super) async fn repeat(scene: &Scene, key: String, request: &Value, random: &mut Random) {
    let run_of = |answer: Result<Value, Failure>| match answer {
        Ok(started) => Ok(story::text(&started["runId"]).to_owned()),
        Err(failure) => Err(failure.code),
    };
    let answer = run_of(call(scene, random, "StartRun", request).await);
    scene.note(Answer::Repeated { key: key.clone(), answer });
    let mut other = request.clone();
    other["params"] = json!({"other": "yes"});
    let answer = run_of(call(scene, random, "StartRun", &other).await);
    scene.note(Answer::Reused { key, answer });
}

/// The request of a start; the same for the same arguments.
pub(super) fn start_request(session: &str, pipeline: &str, key: &str, if_busy: &str) -> Value {
    json!({"sessionId": session, "pipelineId": pipeline, "idempotencyKey": key, "ifBusy": if_busy})
}

/// Watches a run to its end. After each cut it goes on with its last cursor, over another protocol.
pub(super) async fn watch(scene: Scene, run_id: String, mut random: Random) {
    let place = scene.begin_watch(Watched {
        run_id: run_id.clone(),
        protocols: Vec::new(),
        frames: Vec::new(),
        end: End::Open,
    });
    let first = random.within(0..PROTOCOLS.len() as u64) as usize;
    let mut cursor = String::new();
    for protocol in PROTOCOLS.into_iter().cycle().skip(first) {
        scene.watched(place, |it| it.protocols.push(protocol.to_string()));
        let mut events = scene.client(protocol).watch_after(&run_id, &cursor);
        let failure = loop {
            match events.next().await {
                Some(Ok(event)) => {
                    story::cursor(&event).clone_into(&mut cursor);
                    scene.watched(place, |it| it.frames.push(event));
                }
                None => return scene.watched(place, |it| it.end = End::Whole),
                Some(Err(failure)) => break failure,
            }
        };
        if is_answer(&failure) {
            return scene.watched(place, |it| it.end = End::Refused(format!("{failure:?}")));
        }
        sleep(PAUSE).await;
    }
}

/// Watches a session until all has been seen. After each cut it goes on with its last cursor, over another protocol.
pub(super) async fn watch_session(scene: Scene, session_id: String, mut random: Random) {
    let place = scene.begin_session_watch(&session_id);
    let first = random.within(0..PROTOCOLS.len() as u64) as usize;
    let mut cursor = String::new();
    for protocol in PROTOCOLS.into_iter().cycle().skip(first) {
        scene.session_watched(place, |it| it.protocols.push(protocol.to_string()));
        let mut events = scene.client(protocol).watch_session(&session_id, &cursor);
        let failure = loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = scene.all_seen() => return,
            };
            match event {
                Some(Ok(event)) => {
                    story::cursor(&event).clone_into(&mut cursor);
                    scene.session_watched(place, |it| it.frames.push(event));
                }
                None => return scene.session_watched(place, |it| it.end = End::Whole),
                Some(Err(failure)) => break failure,
            }
        };
        if is_answer(&failure) {
            return scene.session_watched(place, |it| it.end = End::Refused(format!("{failure:?}")));
        }
        sleep(PAUSE).await;
    }
}

/// Cancels a run after a while.
async fn cancel(scene: Scene, run_id: String, mut random: Random) {
    sleep(Duration::from_millis(random.within(0..150))).await;
    let request = json!({"runId": run_id, "reason": "enough"});
    match call(&scene, &mut random, "CancelRun", &request).await {
        Ok(answer) => {
            let state = story::text(&answer["state"]).to_owned();
            scene.note(Answer::Cancelled { run_id, state });
        }
        Err(failure) => refused(&scene, "CancelRun", &failure),
    }
}

/// Answers the question of a run, as soon as it asks, unless it ends before.
async fn submit(scene: Scene, session: String, run_id: String, mut random: Random) {
    let request = json!({"sessionId": session, "runId": run_id, "input": "on"});
    let read = json!({"runId": run_id});
    loop {
        sleep(PAUSE).await;
        let run = match call(&scene, &mut random, "GetRun", &read).await {
            Ok(run) => run,
            Err(failure) => return refused(&scene, "GetRun", &failure),
        };
        match run["run"]["state"].as_str() {
            Some("RUN_STATE_SUCCEEDED" | "RUN_STATE_FAILED" | "RUN_STATE_CANCELLED") => return,
            Some("RUN_STATE_WAITING_INPUT") => {}
            _ => continue,
        }
        // Asked once only: an answer that is lost with its connection may have been taken, and a second one would begin
        // a conversation of its own.
        let answered = scene.client(random.one_of(&CALLING)).call("SubmitRunInput", request.clone()).await;
        if answered.is_ok_and(|it| it["runId"] == run_id) {
            scene.note(Answer::Submitted { run_id: run_id.clone() });
        }
    }
}

/// The protocols that can call.
pub(super) const CALLING: [Protocol; 5] =
    [Protocol::Grpc, Protocol::GrpcWeb, Protocol::GrpcWebText, Protocol::Connect, Protocol::ConnectJson];

/// Calls again and again, each time over another protocol, until there is an answer.
pub(super) async fn call(
    scene: &Scene,
    random: &mut Random,
    method: &str,
    request: &Value,
) -> Result<Value, Failure> {
    loop {
        let client: Client = scene.client(random.one_of(&CALLING));
        match client.call(method, request.clone()).await {
            Err(failure) if !is_answer(&failure) => sleep(PAUSE).await,
            answer => return answer,
        }
    }
}

fn is_answer(failure: &Failure) -> bool {
    ANSWERS.contains(&failure.code.as_str())
}

fn refused(scene: &Scene, call: &str, failure: &Failure) {
    scene.note(Answer::Refused { call: call.to_owned(), failure: format!("{failure:?}") });
}
