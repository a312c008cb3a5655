//! A watch that resumes continues with the very next event, whichever protocol the cursor came from.

use crate::support::{
    client::{Client, Protocol},
    story,
};

/// From each cursor of an ended run comes exactly what followed it; from the last one nothing.
pub(super) async fn resume_at_each_cursor(client: Client) {
    let (run, log) = story::finished(client, "worker_DAG").await;
    for (event, rest) in log.iter().zip(1..) {
        let resumed = client.watch_after(&run, story::cursor(event)).all().await;
        assert_eq!(resumed, log[rest..]);
    }
}

/// The same while the run still goes on.
pub(super) async fn resume_at_each_cursor_of_a_live_run(client: Client) {
    let run = story::run(client, "test_pipeline").await;
    let mut live = client.over(Protocol::Grpc).watch(&run);
    let (mut log, mut resumed) = (Vec::new(), Vec::new());
    while let Some(event) = live.next().await {
        let event = event.unwrap();
        if log.len() < 6 {
            resumed.push(client.watch_after(&run, story::cursor(&event)));
        }
        log.push(event);
    }
    for (watch, rest) in resumed.into_iter().zip(1..) {
        assert_eq!(watch.all().await, log[rest..]);
    }
}

/// A stream is cut; another, over another protocol, goes on where it ended.
pub(super) async fn cut_and_resume(first: Client, then: Client) {
    let run = story::run(first, "test_pipeline").await;
    let mut cut = first.watch(&run);
    let mut seen = cut.take(4).await;
    drop(cut);
    let mut resumed = then.watch_after(&run, story::cursor(&seen[3]));
    seen.extend(resumed.take(2).await);
    drop(resumed);
    seen.extend(first.watch_after(&run, story::cursor(&seen[5])).all().await);
    assert_eq!(seen, story::log_of(first, &run).await);
}

/// `now` gives what is new and nothing else.
pub(super) async fn after_now(client: Client) {
    let run = story::run(client, "test_pipeline").await;
    let mut before = client.over(Protocol::Grpc).watch(&run);
    let old = before.take(4).await;
    let new = client.watch_after(&run, "now").all().await;
    let log = story::log_of(client, &run).await;
    assert!(!new.is_empty() && new.len() + old.len() <= log.len(), "{new:#?}");
    assert_eq!(new, log[log.len() - new.len()..]);
}

/// Nothing is new in a run that has ended.
pub(super) async fn after_now_of_an_ended_run(client: Client) {
    let (run, _) = story::finished(client, "worker_DAG").await;
    assert_eq!(client.watch_after(&run, "now").all().await, [] as [serde_json::Value; 0]);
}
