//! What workers ask, and how it ends when everything comes at once.

use futures::future::join_all;
use serde_json::json;
use tokio::task::JoinSet;

use super::*;
use crate::{
    model::{Answer, Closing, Request, RequestId, RequestKey, RequestKind, RunState},
    runner::NoAnswer,
};

fn tool() -> Request {
    Request::Tool { tool_name: "clipboard".to_owned(), args: Value::Null }
}

fn key(id: &str) -> RequestKey {
    RequestKey::new(RequestKind::Tool, id)
}

/// A worker that asks `id` and gives back what it heard.
fn asks(key: &str, id: &'static str, tool_time: Duration) -> Fake {
    let worker = fake(key, move |task: Task| async move {
        let pending = task.emitter.ask(RequestId(id.to_owned()), tool()).await.unwrap();
        match pending.answer().await {
            Ok(Answer::Tool(value)) => Ok(output(value)),
            Err(NoAnswer::Expired) => Ok(output("expired")),
            other => Err(RunError::permanent("stopped", format!("{other:?}"))),
        }
    });
    worker.spec(|it| it.deadlines.tool = tool_time)
}

fn closings(log: &[Event]) -> Vec<(&str, &Closing)> {
    let closings = log.iter().filter_map(|it| match &it.kind {
        EventKind::Closed { request, closing } => Some((request.id.0.as_str(), closing)),
        _ => None,
    });
    closings.collect()
}

async fn until_waiting(bench: &Bench, run_id: RunId) {
    let mut watch = bench.runs.watch(run_id, Position::Start).await.unwrap();
    let waits = |it: &Event| matches!(it.kind, EventKind::State { state: RunState::WaitingTool, .. });
    while !watch.next().await.unwrap().unwrap().iter().any(|it| waits(&it.event)) {}
}

/// It is dropped at the moment at which the run has its question and it has not been told so.
#[tokio::test]
async fn what_a_worker_asks_that_is_dropped_meanwhile_is_taken_back() {
    let hasty = fake("hasty", |task: Task| async move {
        tokio::select! {
            biased;
            _ = task.emitter.ask(RequestId("t".to_owned()), tool()) => panic!("it cannot know so soon"),
            () = std::future::ready(()) => {}
        }
        Ok(output("gone"))
    });
    let bench = Bench::new([hasty, gives("after", 1).requires(&["hasty"])]).await;
    let log = bench.run("after").await;
    assert_eq!(closings(&log), [("t", &Closing::Withdrawn)]);
    let mut states = log.iter().filter_map(|it| match &it.kind {
        EventKind::State { state, .. } => Some(*state),
        _ => None,
    });
    assert_eq!(states.next_back(), Some(RunState::Running), "it waits for nobody: {log:#?}");
}

/// The name is another worker's. Whoever is refused it leaves that worker's request alone.
#[tokio::test]
async fn who_is_refused_a_name_does_not_take_back_what_another_has_asked() {
    let long = Duration::from_secs(60);
    let late = fake("late", |task: Task| async move {
        let refused = task.emitter.ask(RequestId("t".to_owned()), tool()).await;
        assert!(refused.is_err());
        Ok(output("refused"))
    });
    // The one is asked when the other waits.
    let late = late.requires(&["gate"]);
    let (open, gate) = tokio::sync::watch::channel(false);
    let gate = fake("gate", move |_| {
        let mut gate = gate.clone();
        async move {
            gate.wait_for(|it| *it).await.unwrap();
            Ok(output("open"))
        }
    });
    let end = gives("end", 1).requires(&["first", "late"]);
    let bench = Bench::new([asks("first", "t", long), gate, late, end]).await;
    let (run_id, _) = bench.start("end", &[]).await;
    until_waiting(&bench, run_id).await;
    open.send_replace(true);
    let mut watch = bench.runs.watch(run_id, Position::Start).await.unwrap();
    let ended = |it: &Event| matches!(&it.kind, EventKind::Node { worker_key, state: NodeState::Succeeded, .. } if worker_key.as_str() == "late");
    while !watch.next().await.unwrap().unwrap().iter().any(|it| ended(&it.event)) {}
    bench.runs.answer(run_id, Some(key("t")), Answer::Tool(json!(7))).await.unwrap();
    let log = bench.log(run_id).await;
    assert_eq!(closings(&log), [("t", &Closing::Answered(Answer::Tool(json!(7))))]);
}

/// Answers, the deadline and a cancel on several processors. Whatever each was told is what the log tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn answers_deadline_and_cancel_at_once_have_one_outcome() {
    let mut seen = [0; 3];
    for round in 0..300u64 {
        let time = Duration::from_micros(500 + round * 37 % 1500);
        let bench = Arc::new(Bench::new([asks("asks", "t", time)]).await);
        let (run_id, _) = bench.start("asks", &[]).await;
        let mut racers = JoinSet::new();
        for number in 0..4u64 {
            let bench = bench.clone();
            racers.spawn(async move {
                until_waiting(&bench, run_id).await;
                tokio::time::sleep(Duration::from_micros(round * 53 % 1700)).await;
                let answer = Answer::Tool(json!(number));
                let first = bench.runs.answer(run_id, Some(key("t")), answer.clone()).await.is_ok();
                let again = bench.runs.answer(run_id, Some(key("t")), answer).await.is_ok();
                assert_eq!(first, again, "the same answer gets the same, also when the run has ended");
                first.then_some(number)
            });
        }
        let cancelled = async {
            if round % 3 == 0 {
                until_waiting(&bench, run_id).await;
                tokio::time::sleep(Duration::from_micros(round * 71 % 1700)).await;
                return Some(bench.runs.cancel(run_id, String::new()).await.unwrap());
            }
            None
        };
        let watches = join_all((0..2).map(|_| bench.log(run_id)));
        let (cancelled, logs, taken) = tokio::join!(cancelled, watches, racers.join_all());
        assert_eq!(logs[0], logs[1]);
        let taken: Vec<_> = taken.into_iter().flatten().collect();
        let [(_, closing)] = closings(&logs[0])[..] else { panic!("one end: {:#?}", logs[0]) };
        let end = &logs[0].last().unwrap().kind;
        match closing {
            Closing::Answered(Answer::Tool(value)) => {
                assert_eq!(json!(taken), json!([value]), "the one who was told so");
                seen[0] += 1;
            }
            other => {
                assert_eq!(taken, [0; 0], "{:#?}", logs[0]);
                seen[if *other == Closing::Expired { 1 } else { 2 }] += 1;
            }
        }
        match cancelled {
            Some(RunState::Cancelling | RunState::Cancelled) => assert_eq!(*end, EventKind::Cancelled),
            _ => match closing {
                Closing::Answered(Answer::Tool(value)) => assert_eq!(output_of(&logs[0]), value),
                _ => assert_eq!(output_of(&logs[0]), "expired"),
            },
        }
    }
    assert!(seen.iter().all(|it| *it > 0), "answered, expired, withdrawn: {seen:?}");
}
