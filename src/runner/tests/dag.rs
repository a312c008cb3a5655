//! Which workers run, how often, beside whom, and with what.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::sync::Barrier;

use super::{
    super::{Inputs, UndeclaredRead},
    *,
};

/// A worker that gives the outputs of those it requires, by key.
fn collects(key: &str) -> Fake {
    fake(key, |task: Task| async move {
        let inputs = task.inputs.iter().map(|(key, it)| (key.to_string(), it.value.clone()));
        Ok(output(Value::Object(inputs.collect())))
    })
}

/// A worker that counts how many are at work at a time.
fn counted(key: &str, at_work: &Arc<AtomicUsize>, most: &Arc<AtomicUsize>) -> Fake {
    let (at_work, most) = (at_work.clone(), most.clone());
    fake(key, move |_| {
        let (at_work, most) = (at_work.clone(), most.clone());
        async move {
            most.fetch_max(at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            at_work.fetch_sub(1, Ordering::SeqCst);
            Ok(output(json!(null)))
        }
    })
}

fn failing(key: &str) -> Fake {
    fake(key, |_| async { Err(RunError::retryable("no_luck", "no luck today")) })
}

#[tokio::test]
async fn each_required_worker_runs_once_and_gives_its_output_to_all() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let bottom = fake("bottom", move |_| {
        std::future::ready(Ok(output(counted.fetch_add(1, Ordering::SeqCst) as u64)))
    });
    let workers = [
        bottom,
        collects("left").requires(&["bottom"]),
        collects("right").requires(&[" BOTTOM ", "bottom"]),
        collects("top").requires(&["left", "right"]),
    ];
    let log = Bench::new(workers).await.run("top").await;
    assert_eq!(output_of(&log), &json!({"left": {"bottom": 0}, "right": {"bottom": 0}}));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    for key in ["bottom", "left", "right", "top"] {
        let states: Vec<_> = nodes_of(&log).into_iter().filter(|it| it.0 == key).map(|it| it.1).collect();
        assert_eq!(states, [NodeState::Running, NodeState::Succeeded], "{key}");
    }
}

#[tokio::test]
async fn workers_that_do_not_need_each_other_run_side_by_side() {
    let together = Arc::new(Barrier::new(3));
    let meets = |key| {
        let together = together.clone();
        fake(key, move |_| {
            let together = together.clone();
            async move {
                together.wait().await;
                Ok(output(json!(null)))
            }
        })
    };
    let end = gives("end", 1).requires(&["a", "b", "c"]);
    // Each waits for the two others, so the run ends only if all three are at work at once.
    let log = Bench::new([meets("a"), meets("b"), meets("c"), end]).await.run("end").await;
    assert_eq!(output_of(&log), &json!(1));
}

#[tokio::test]
async fn no_more_workers_run_at_a_time_than_configured() {
    let (at_work, most) = (Arc::default(), Arc::default());
    let keys = ["a", "b", "c", "d", "e"];
    let workers = keys.map(|key| counted(key, &at_work, &most)).into_iter();
    let mut setup = Setup::default();
    setup.settings.parallel = 2;
    let bench = Bench::with(setup, workers.chain([gives("end", 1).requires(&keys)])).await;
    output_of(&bench.run("end").await);
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn workers_that_require_each_other_are_named() {
    let workers = [
        gives("a", 1).requires(&["b"]),
        gives("b", 1).requires(&["c"]),
        gives("c", 1).requires(&["B"]),
        gives("self", 1).requires(&["self"]),
    ];
    let bench = Bench::new(workers).await;
    let log = bench.run("a").await;
    assert_eq!(error_of(&log).code, "cyclic_requires");
    assert_eq!(error_of(&log).message, "workers require each other: b → c → b");
    assert_eq!(error_of(&bench.run("self").await).message, "workers require each other: self → self");
    assert!(nodes_of(&log).is_empty(), "nothing has begun");
}

#[tokio::test]
async fn an_unknown_required_worker_is_named_with_who_requires_it() {
    let log = Bench::new([gives("a", 1).requires(&["missing"])]).await.run("a").await;
    assert_eq!(error_of(&log).code, "unknown_worker");
    assert_eq!(error_of(&log).message, "worker a requires the unknown worker missing");
}

#[tokio::test]
async fn an_output_that_was_not_declared_as_required_cannot_be_read() {
    let curious = fake("curious", |task: Task| async move {
        let stolen = task.inputs.get(&"bottom".into())?;
        Ok(output(stolen.value.clone()))
    });
    let workers =
        [gives("bottom", 1), gives("middle", 2).requires(&["bottom"]), curious.requires(&["middle"])];
    let log = Bench::new(workers).await.run("curious").await;
    assert_eq!(error_of(&log).code, "undeclared_read");
    assert!(error_of(&log).message.contains("bottom"), "{log:#?}");
    assert!(matches!(Inputs::default().get(&"x".into()), Err(UndeclaredRead(_))));
}

#[tokio::test]
async fn a_failed_worker_is_named_and_those_that_need_it_are_skipped() {
    let lasting = fake("lasting", |task: Task| async move {
        task.cancel.cancelled().await;
        Ok(output(json!(null)))
    });
    let workers = [
        failing("broken"),
        lasting,
        gives("middle", 1).requires(&["broken"]),
        gives("end", 1).requires(&["middle", "lasting"]),
    ];
    let bench = Bench::new(workers).await;
    let log = bench.run("end").await;
    let error = error_of(&log);
    assert_eq!((error.code.as_str(), error.retryable), ("no_luck", true));
    assert_eq!(error.message, "required worker broken failed: no luck today");
    assert_eq!(end_of(&log, "broken"), Some(NodeState::Failed));
    assert_eq!(end_of(&log, "lasting"), Some(NodeState::Cancelled));
    assert_eq!(end_of(&log, "middle"), Some(NodeState::Skipped));
    assert_eq!(end_of(&log, "end"), Some(NodeState::Skipped));
    assert_eq!(
        error_of(&bench.run("broken").await).message,
        "no luck today",
        "of itself it need not be told"
    );
}

#[tokio::test]
async fn a_worker_may_be_required_and_started_by_its_other_name() {
    let bench = Bench::new([gives("end", 1).requires(&["init_purpose"])]).await;
    let log = bench.run("end").await;
    assert_eq!(output_of(&log), &json!(1));
    assert_eq!(end_of(&log, "plan_pipeline"), Some(NodeState::Succeeded));
    let log = bench.run("init_purpose").await;
    assert_eq!(log.last().unwrap().message, "INPUT_REQUIRED");
    assert_eq!(output_of(&log)["need_more_input"], true);
}

#[tokio::test]
async fn progress_is_that_of_all_workers_by_weight() {
    let steps = |key| {
        fake(key, |task: Task| async move {
            task.emitter.progress(50, "half").await?;
            task.emitter.progress(20, "never back").await?;
            Ok(output(json!(null)))
        })
    };
    let heavy = steps("heavy").spec(|it| it.weight = 3);
    let end = steps("end").requires(&["heavy"]).spec(|it| it.weight = 1);
    let log = Bench::new([heavy, end]).await.run("end").await;
    let told = |text| log.iter().filter(move |it| it.message == text).map(|it| it.progress_percent);
    assert_eq!(told("half").collect::<Vec<_>>(), [37, 87]);
    assert_eq!(told("never back").collect::<Vec<_>>(), [37, 87]);
    assert_eq!(log.last().unwrap().progress_percent, 100);
}
