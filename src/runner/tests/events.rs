//! What reaches the log: in order, in bounds, the terminal event last, the session free before it.

use serde_json::json;

use super::*;
use crate::model::{
    Answer, ClientView, Closing, Graph, GraphNode, Request, RequestId, RunState, SessionUpdate, limits,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_is_in_order_and_the_terminal_event_is_the_last() {
    let bursting = fake("bursting", |task: Task| async move {
        for number in 0..10_000 {
            task.emitter.log(number.to_string()).await?;
        }
        Ok(output("all said"))
    });
    let log = Bench::new([bursting]).await.run("bursting").await;
    let said: Vec<_> =
        log.iter().filter(|it| it.kind == EventKind::Log).map(|it| it.message.as_str()).collect();
    let expected: Vec<_> = (0..10_000).map(|it| it.to_string()).collect();
    assert_eq!(said, expected);
    assert_eq!(output_of(&log), "all said");
}

#[tokio::test]
async fn the_log_of_a_run_that_begins_at_once_says_so_from_its_beginning_on() {
    let bench = Bench::new([gives("quick", 1)]).await;
    let (request, writer) = bench.begin("quick", &[]).await;
    let begun = bench.runs.get(request.run_id).await.unwrap();
    assert_eq!((begun.state, begun.last_sequence), (RunState::Running, 2));
    assert_eq!(begun.started_at, Some(begun.created_at));
    let run_id = request.run_id;
    bench.launcher.launch_begun(request, writer);
    let log = bench.log(run_id).await;
    let state = |state| EventKind::State { state, attempt: 1 };
    let begins = [state(RunState::Queued), state(RunState::Running)];
    assert!(log.iter().map(|it| &it.kind).take(2).eq(&begins), "{log:?}");
}

#[tokio::test]
async fn a_run_that_is_cancelled_before_its_workers_begin_has_none() {
    let bench = Bench::new([gives("quick", 1)]).await;
    let (request, writer) = bench.begin("quick", &[]).await;
    let run_id = request.run_id;
    assert_eq!(bench.runs.cancel(run_id, String::new()).await.unwrap(), RunState::Cancelling);
    bench.launcher.launch_begun(request, writer);
    let log = bench.log(run_id).await;
    assert!(
        log.iter().all(|it| !matches!(it.kind, EventKind::Node { state: NodeState::Running, .. })),
        "{log:?}"
    );
    assert_eq!(log.last().unwrap().kind, EventKind::Cancelled);
    // The session is free.
    bench.run("quick").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_free_before_the_terminal_event_can_be_seen() {
    let fails = fake("fails", |_| async { Err(RunError::permanent("no", "no")) });
    let waits = fake("waits", |task: Task| async move {
        task.cancel.cancelled().await;
        Ok(output("stopped"))
    });
    let bench = Bench::new([gives("quick", 1), fails, waits]).await;
    for round in 0..300 {
        let (run_id, _) = bench.start(["quick", "fails", "waits"][round % 3], &[]).await;
        if round % 3 == 2 {
            bench.runs.cancel(run_id, String::new()).await.unwrap();
        }
        bench.log(run_id).await;
        // The next start of the loop claims the session, too.
        assert!(!bench.session().await.running());
    }
}

#[tokio::test]
async fn a_session_learns_from_its_run() {
    let learns = fake("learns", |_| async {
        let learnt = SessionUpdate {
            purpose: "count the lines".to_owned(),
            repo_url: "https://git.example/team/thing.git".to_owned(),
            plan: vec!["quick".into(), "gone".into()],
        };
        Ok(WorkerOutput { learnt: Some(learnt), ..output(1) })
    });
    let bench = Bench::new([learns, gives("quick", 7)]).await;
    bench.run("learns").await;
    let session = bench.session().await;
    assert_eq!((session.purpose.as_str(), session.repo.as_str()), ("count the lines", "thing"));
    // The plan can be run; what it names and nobody has declared any more is left out.
    assert_eq!(output_of(&bench.run("session_plan").await), &json!({"quick": 7}));
    assert_eq!(bench.session().await.purpose, "count the lines", "a run that learns nothing changes nothing");
}

#[tokio::test]
async fn a_failed_run_teaches_nothing() {
    let learns = fake("learns", |_| async {
        let learnt = SessionUpdate { purpose: "x".to_owned(), ..SessionUpdate::default() };
        Ok(WorkerOutput { learnt: Some(learnt), ..output("x".repeat(limits::OUTPUT_BYTES)) })
    });
    let bench = Bench::new([learns]).await;
    bench.run("learns").await;
    assert_eq!(bench.session().await.purpose, "");
}

#[tokio::test]
async fn a_run_without_a_plan_says_that_there_is_none() {
    let log = Bench::new([]).await.run("session_plan").await;
    assert_eq!(error_of(&log).code, "unknown_worker");
}

#[tokio::test]
async fn an_output_that_fits_into_no_event_is_an_error_of_its_own() {
    let large = |key, size| gives(key, "x".repeat(size));
    let end = fake("end", |task: Task| async move {
        let size = task.inputs.get(&"large".into())?.value.as_str().map_or(0, str::len);
        Ok(output(size as u64))
    });
    let workers = [
        large("fits", limits::OUTPUT_BYTES - 100),
        large("large", limits::OUTPUT_BYTES),
        end.requires(&["large"]),
    ];
    let bench = Bench::new(workers).await;
    output_of(&bench.run("fits").await);
    let log = bench.run("large").await;
    assert_eq!(error_of(&log).code, "output_too_large");
    assert!(error_of(&log).message.contains(&limits::OUTPUT_BYTES.to_string()), "{:?}", error_of(&log));
    // Between workers there are no events in the way.
    assert_eq!(output_of(&bench.run("end").await), limits::OUTPUT_BYTES);
}

#[tokio::test]
async fn a_view_that_fits_into_no_event_is_left_out_and_told() {
    let view = || {
        let nodes = (0..20_000).map(|it| GraphNode::new(&it.to_string(), "label", "description"));
        ClientView::graph("", Graph { nodes: nodes.collect(), edges: Vec::new() })
    };
    let draws = fake("draws", move |task: Task| async move {
        task.emitter.view("see here", view()).await?;
        Ok(WorkerOutput { view: Some(view()), ..output("drawn") })
    });
    let log = Bench::new([draws]).await.run("draws").await;
    assert_eq!(output_of(&log), "drawn");
    assert!(log.iter().all(|it| it.view.is_none()));
    let told: Vec<_> = log.iter().filter(|it| it.message.contains("is left out")).collect();
    assert_eq!(told.len(), 2, "{log:#?}");
    assert!(told[0].message.starts_with("see here [a view of "), "{}", told[0].message);
}

#[tokio::test]
async fn a_run_that_fills_its_log_ends_with_that_error_and_frees_its_session() {
    let endless = fake("endless", |task: Task| async move {
        loop {
            task.emitter.log("x".repeat(1000)).await?;
            if task.cancel.is_cancelled() {
                return Ok(output("stopped"));
            }
        }
    });
    let mut setup = Setup::default();
    setup.log.per_run = 100_000;
    let bench = Bench::with(setup, [endless]).await;
    for _ in 0..20 {
        let log = bench.run("endless").await;
        assert_eq!(error_of(&log).code, "log_full");
        assert!(!bench.session().await.running());
    }
}

#[tokio::test]
async fn a_question_that_nobody_waits_for_any_more_is_taken_back() {
    let asks = fake("asks", |task: Task| async move {
        let request_id = RequestId("q".to_owned());
        let _answer = task.emitter.ask(request_id, Request::Input { prompt: "Well?".to_owned() }).await;
        Ok(output("went on without it"))
    });
    let after = fake("after", |task: Task| async move {
        let mut left = 50;
        // The state is told by the log alone; wait until somebody could have answered.
        while left > 0 && !task.cancel.is_cancelled() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            left -= 1;
        }
        Ok(output(1))
    });
    let bench = Bench::new([asks, after.requires(&["asks"])]).await;
    let (run_id, writer) = bench.start("after", &[]).await;
    let mut watch = bench.runs.watch(run_id, Position::Start).await.unwrap();
    let asked_is_done = |event: &Event| match &event.kind {
        EventKind::Node { worker_key, state, .. } => {
            worker_key.as_str() == "asks" && *state == NodeState::Succeeded
        }
        _ => false,
    };
    while !watch.next().await.unwrap().unwrap().iter().any(|it| asked_is_done(&it.event)) {}
    assert!(bench.runs.answer(run_id, None, Answer::Input("late".to_owned())).await.is_err());
    assert!(writer.close(None, Closing::Answered(Answer::Input("late".to_owned()))).await.is_err());
    let log = bench.log(run_id).await;
    assert!(log.iter().any(|it| it.message == "input no longer awaited"), "{log:#?}");
}
