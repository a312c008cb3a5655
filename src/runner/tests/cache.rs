//! When an output of an earlier run is used again.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::json;

use super::*;
use crate::model::{ClientView, Graph, GraphNode, Usage};

/// A cached worker, and how often it has run. It gives a view, and has spent tokens.
fn drawer(version: &str) -> (Fake, Arc<AtomicUsize>) {
    let ran = Arc::new(AtomicUsize::new(0));
    let counted = ran.clone();
    let drawer = fake("drawer", move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        let graph = Graph { nodes: vec![GraphNode::new("n", "N", "a node")], edges: Vec::new() };
        let usage = Some(Usage { input_tokens: 7, output_tokens: 3 });
        let view = Some(ClientView::graph("drawing", graph));
        std::future::ready(Ok(WorkerOutput { view, usage, ..output("drawn") }))
    });
    (drawer.cached(version), ran)
}

fn usage_of(log: &[Event]) -> Option<Usage> {
    match &log.last().unwrap().kind {
        EventKind::Complete { usage, .. } => *usage,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_hit_gives_the_same_output_and_view_and_charges_nothing() {
    let (worker, ran) = drawer("1");
    let bench = Bench::new([worker]).await;
    let (first, second) = (bench.run("drawer").await, bench.run("drawer").await);
    assert_eq!(ran.load(Ordering::SeqCst), 1);
    assert_eq!(
        (end_of(&first, "drawer"), end_of(&second, "drawer")),
        (Some(NodeState::Succeeded), Some(NodeState::Cached))
    );
    let (first, last) = (&first, &second);
    assert_eq!(output_of(first), output_of(last));
    assert!(last.last().unwrap().view.is_some());
    assert_eq!(first.last().unwrap().view, last.last().unwrap().view, "also the uids are the same");
    assert_eq!(usage_of(first), Some(Usage { input_tokens: 7, output_tokens: 3 }));
    assert_eq!(usage_of(last), None);
}

#[tokio::test]
async fn a_hit_outlives_a_restart_unless_the_version_has_changed() {
    let (worker, _) = drawer("1");
    let bench = Bench::new([worker]).await;
    bench.run("drawer").await;
    let (same, ran) = drawer("1");
    let bench = bench.restarted([same]);
    bench.run("drawer").await;
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    let (newer, ran) = drawer("2");
    let bench = bench.restarted([newer]);
    bench.run("drawer").await;
    assert_eq!(ran.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn another_parameter_is_a_miss() {
    let (worker, ran) = drawer("1");
    let bench = Bench::new([worker]).await;
    for params in [[("n", "1")], [("n", "2")], [("m", "2")], [("m", "2")]] {
        bench.run_with("drawer", &params).await;
    }
    assert_eq!(ran.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn another_input_is_a_miss() {
    let (worker, ran) = drawer("1");
    // Gives another output each second time.
    let calls = AtomicUsize::new(0);
    let source = fake("source", move |_| {
        std::future::ready(Ok(output((calls.fetch_add(1, Ordering::SeqCst) / 2) as u64)))
    });
    let bench = Bench::new([source, worker.requires(&["source"])]).await;
    for expected in [1, 1, 2, 2, 3] {
        bench.run("drawer").await;
        assert_eq!(ran.load(Ordering::SeqCst), expected);
    }
}

#[tokio::test]
async fn another_state_of_what_it_depends_on_is_a_miss_and_an_unknown_one_always() {
    let (worker, ran) = drawer("1");
    let state = Arc::new(std::sync::Mutex::new(Some(json!("clean"))));
    let seen = state.clone();
    let bench = Bench::new([worker.depends_on(move |_| seen.lock().unwrap().clone())]).await;
    bench.run("drawer").await;
    bench.run("drawer").await;
    assert_eq!(ran.load(Ordering::SeqCst), 1);
    *state.lock().unwrap() = Some(json!("changed"));
    bench.run("drawer").await;
    assert_eq!(ran.load(Ordering::SeqCst), 2);
    *state.lock().unwrap() = None;
    bench.run("drawer").await;
    bench.run("drawer").await;
    assert_eq!(ran.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_damaged_file_is_a_miss_and_is_made_whole() {
    let (worker, ran) = drawer("1");
    let bench = Bench::new([worker]).await;
    bench.run("drawer").await;
    let file = bench.folder.path().join("artifacts").join(bench.session_id.as_str()).join("drawer.json");
    let whole = std::fs::read(&file).unwrap();
    for damage in [&whole[..whole.len() / 2], b"", b"{}", b"\xff\xfe"] {
        std::fs::write(&file, damage).unwrap();
        let before = ran.load(Ordering::SeqCst);
        assert_eq!(output_of(&bench.run("drawer").await), "drawn");
        assert_eq!(ran.load(Ordering::SeqCst), before + 1);
        assert_eq!(std::fs::read(&file).unwrap(), whole);
    }
}

#[tokio::test]
async fn sessions_share_nothing() {
    let (worker, ran) = drawer("1");
    let mut bench = Bench::new([worker]).await;
    bench.run("drawer").await;
    bench.session_id = bench.sessions.create("bob", "").await.unwrap().session_id.clone();
    bench.run("drawer").await;
    assert_eq!(ran.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_a_cancelled_worker_gave_is_not_kept() {
    let obedient = fake("obedient", |task: Task| async move {
        task.cancel.cancelled().await;
        Ok(output("half"))
    });
    let bench = Bench::new([obedient.cached("1")]).await;
    let (run_id, _) = bench.start("obedient", &[]).await;
    bench.runs.cancel(run_id, String::new()).await.unwrap();
    bench.log(run_id).await;
    assert!(!bench.folder.path().join("artifacts").join(bench.session_id.as_str()).exists());
}
