//! What every day brings: reopening, conflicts, rows of other makers, many sessions.

use std::{fs::File, io::Write, sync::Arc, time::Instant};

use uuid::Uuid;

use super::*;
use crate::{
    model::RunId,
    storage::{
        PutError,
        sessions::{MemorySessionStore, OpenError},
    },
};

#[tokio::test]
async fn reopening_gives_the_same() {
    for options in [NO_FOLDS, ALWAYS_FOLDS, FileOptions::default()] {
        let dir = tempfile::tempdir().unwrap();
        let mut full = session("full", "p \"quoted\"\nline \u{2028}💥");
        full.latest_run_id = Some(RunId::new(Uuid::from_u128(7)));
        full.set_repo("https://host/x/y.git");
        full.plan = vec!["A".into(), "b".into()];
        let store = open(dir.path(), &options);
        put(&store, session("gone", "")).await;
        put(&store, full.clone()).await;
        put(&store, session("b", "old")).await;
        let newest = put(&store, session("b", "new")).await;
        delete(&store, "gone").await;
        drop(store);
        let store = open(dir.path(), &options);
        assert_eq!(all(&store).await, map(&[("b", "new"), ("full", &full.purpose)]));
        let read = store.get(&full.session_id).await.unwrap().unwrap();
        assert_eq!((&read.session.plan, &*read.session), (&vec!["a".into(), "B".into()], &full));
        let read = store.get(&id("b")).await.unwrap().unwrap();
        assert_eq!(read.revision, newest, "revisions last");
        assert!(moved_aside(dir.path()).is_empty());
    }
}

#[tokio::test]
async fn a_small_store_is_a_readable_array() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &FileOptions::default());
    put(&store, session("b", "second")).await;
    put(&store, Session { created_at: time(-5), ..session("z", "first") }).await;
    drop(store);
    let text = fs::read_to_string(snapshot(dir.path())).unwrap();
    assert!(text.starts_with("[\n  {\n    \"session_id\": \"z\",\n    \"user_id\": \"demo-user\""), "{text}");
    assert!(text.ends_with("  }\n]\n"), "{text}");
    assert_eq!(fs::metadata(journal(dir.path())).unwrap().len(), 0);
    assert!(!old_journal(dir.path()).exists());
}

#[tokio::test]
async fn a_small_snapshot_follows_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &FileOptions { settle: Duration::from_millis(20), ..NO_FOLDS });
    put(&store, session("a", "seen")).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while !fs::read_to_string(snapshot(dir.path())).is_ok_and(|it| it.contains("seen")) {
        assert!(Instant::now() < deadline, "the snapshot never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_is_flushed_survives_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &NO_FOLDS);
    for number in 0..20 {
        put(&store, session("a", &number.to_string())).await;
        store.flush().await.unwrap();
        let after = crashed(dir.path());
        assert_eq!(all(&open(after.path(), &NO_FOLDS)).await, map(&[("a", &number.to_string())]));
    }
}

#[tokio::test]
async fn rows_of_the_original_system_load_and_keep_the_time_of_their_loading() {
    let dir = tempfile::tempdir().unwrap();
    let rows = r#"[
  {"session_id":"session-1770654000000000000","user_id":"demo-user","repo_url":"git@h:a/b.git","purpose":"p","repo":"b"},
  {"repo":"","purpose":"","repo_url":"","user_id":"u","session_id":"session-2"},
  {"session_id":"s3","user_id":"u","created_at":"2026-01-02T03:04:05Z","updated_at":"2026-01-02T03:04:05Z"}
]"#;
    fs::write(snapshot(dir.path()), rows).unwrap();
    let before = crate::runtime::clock::now();
    let store = open(dir.path(), &FileOptions::default());
    let read = store.get(&id("session-1770654000000000000")).await.unwrap().unwrap();
    assert_eq!((read.session.repo.as_str(), read.session.purpose.as_str()), ("b", "p"));
    assert!(read.session.created_at >= before && read.session.updated_at >= before);
    let rows = store.unused_since(Timestamp::MAX).await.unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|it| it.revision != 0), "0 would say that it is not stored");
    drop(store);
    let store = open(dir.path(), &FileOptions::default());
    let again = store.get(&read.session.session_id).await.unwrap().unwrap();
    assert_eq!(again.session, read.session, "another restart does not make it younger");
    assert!(moved_aside(dir.path()).is_empty());
}

#[tokio::test]
async fn a_loaded_session_is_free_unless_runs_survive() {
    let dir = tempfile::tempdir().unwrap();
    let run_id = RunId::new(Uuid::from_u128(7));
    let store = open(dir.path(), &NO_FOLDS);
    put(&store, Session { active_run_id: Some(run_id), ..session("a", "") }).await;
    drop(store);
    let keep = FileOptions { loaded: Loaded::KeepActive, ..NO_FOLDS };
    let read = open(dir.path(), &keep).get(&id("a")).await.unwrap().unwrap();
    assert_eq!(read.session.active_run_id, Some(run_id));
    for options in [NO_FOLDS, keep] {
        let read = open(dir.path(), &options).get(&id("a")).await.unwrap().unwrap();
        assert_eq!((read.session.active_run_id, read.session.latest_run_id), (None, Some(run_id)));
    }
}

#[tokio::test]
async fn two_stores_on_the_same_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &NO_FOLDS);
    let refused = FileSessionStore::open(snapshot(dir.path()), NO_FOLDS).unwrap_err();
    assert!(matches!(refused, OpenError::InUse { .. }));
    assert!(refused.to_string().contains("init_sessions.json is in use by another gateway"));
    drop(store);
    open(dir.path(), &NO_FOLDS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_claims_exactly_one_passes() {
    let dir = tempfile::tempdir().unwrap();
    let stores: [Arc<dyn SessionStore>; 2] =
        [Arc::new(MemorySessionStore::new()), Arc::new(open(dir.path(), &ALWAYS_FOLDS))];
    for store in stores {
        let mut expected = 0;
        for round in 0..20 {
            let mut claims = tokio::task::JoinSet::new();
            for claim in 0..100 {
                let store = Arc::clone(&store);
                claims.spawn(
                    async move { store.put(session("a", &format!("{round}-{claim}")), expected).await },
                );
            }
            let results = claims.join_all().await;
            let passed: Vec<_> = results.iter().filter_map(|it| it.as_ref().ok()).collect();
            assert_eq!(passed.len(), 1);
            let now = *passed[0];
            for error in results.iter().filter_map(|it| it.as_ref().err()) {
                assert!(matches!(error, PutError::Conflict { actual, .. } if *actual == now), "{error}");
            }
            expected = now;
        }
        assert!(matches!(store.delete(&id("a"), 0).await, Err(PutError::Conflict { .. })));
        store.delete(&id("a"), expected).await.unwrap();
        store.delete(&id("a"), 0).await.unwrap();
    }
}

#[tokio::test]
async fn the_expiry_sweep_sees_what_was_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &NO_FOLDS);
    put(&store, Session { updated_at: time(1), ..session("old", "") }).await;
    put(&store, Session { updated_at: time(2), ..session("new", "") }).await;
    let unused = store.unused_since(time(2)).await.unwrap();
    assert_eq!(unused.iter().map(|it| it.session.session_id.as_str()).collect::<Vec<_>>(), ["old"]);
    store.delete(&unused[0].session.session_id, unused[0].revision).await.unwrap();
    assert_eq!(all(&store).await, map(&[("new", "")]));
}

/// Prints how long it takes; how long it may take depends on the machine.
#[tokio::test]
async fn a_hundred_thousand_sessions_load() {
    const SESSIONS: usize = 100_000;
    let dir = tempfile::tempdir().unwrap();
    let mut file = std::io::BufWriter::new(File::create(snapshot(dir.path())).unwrap());
    for number in 0..SESSIONS {
        let mut row = session(&format!("session_{number}"), "find the packages and who depends on whom");
        row.set_repo("https://github.com/owner/repository.git");
        let row = serde_json::to_string(&row).unwrap();
        write!(file, "{}{row}", if number == 0 { "[" } else { "," }).unwrap();
    }
    writeln!(file, "]").unwrap();
    file.into_inner().unwrap();
    let start = Instant::now();
    let store = open(dir.path(), &FileOptions::default());
    println!("{SESSIONS} sessions loaded in {:?}", start.elapsed());
    assert_eq!(store.buffer.rows().len(), SESSIONS);
    // The rows lack revisions, so that a fold is under way. Changes do not wait for it.
    let mut slowest = Duration::ZERO;
    for number in 0..1000 {
        let start = Instant::now();
        put(&store, session(&format!("session_{number}"), "changed")).await;
        slowest = slowest.max(start.elapsed());
    }
    println!("the slowest of 1000 changes took {slowest:?}");
    let start = Instant::now();
    drop(store);
    println!("closed in {:?}", start.elapsed());
}

/// Who waits until something is stored waits for the disk, not for others who might have something to store too.
#[tokio::test]
async fn a_flush_is_not_kept_waiting() {
    const FLUSHES: u32 = 50;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &NO_FOLDS);
    let begun = Instant::now();
    for number in 0..FLUSHES {
        put(&store, session(&number.to_string(), "")).await;
        store.flush().await.unwrap();
    }
    let taken = begun.elapsed();
    let begun = Instant::now();
    for _ in 0..FLUSHES {
        (&File::options().append(true).open(journal(dir.path())).unwrap()).write_all(b"\n").unwrap();
        File::open(journal(dir.path())).unwrap().sync_data().unwrap();
    }
    let disk = begun.elapsed();
    assert!(
        taken < disk * 3 + Duration::from_millis(2) * FLUSHES,
        "{taken:?}, of which the disk took {disk:?}"
    );
}
