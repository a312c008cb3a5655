//! Crashes, as the files they leave.

use super::*;
use crate::{
    runtime::clock,
    storage::sessions::file::{files::Files, fold::fold, journal::Journal, load::load},
};

/// A store with changes in its snapshot and in its journal, before a fold.
async fn before_a_fold() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &FileOptions::default());
    for (name, purpose) in [("kept", "1"), ("changed", "1"), ("deleted", "1"), ("made again", "1")] {
        put(&store, session(&name.replace(' ', "-"), purpose)).await;
    }
    drop(store);
    assert!(snapshot(dir.path()).exists());
    let store = open(dir.path(), &NO_FOLDS);
    put(&store, session("changed", "2")).await;
    put(&store, session("changed", "3")).await;
    put(&store, session("deleted", "2")).await;
    delete(&store, "deleted").await;
    delete(&store, "made-again").await;
    put(&store, session("made-again", "2")).await;
    put(&store, session("new", "1")).await;
    store.flush().await.unwrap();
    crashed(dir.path())
}

fn after_it() -> BTreeMap<String, String> {
    map(&[("kept", "1"), ("changed", "3"), ("made-again", "2"), ("new", "1")])
}

/// Opens the files, checks them, changes them, and checks that the change lasts through another crash and a fold.
async fn check(dir: &Path, expected: &BTreeMap<String, String>) {
    for options in [NO_FOLDS, ALWAYS_FOLDS] {
        let crashed_here = crashed(dir);
        let store = open(crashed_here.path(), &options);
        assert_eq!(all(&store).await, *expected);
        put(&store, session("later", "1")).await;
        delete(&store, "kept").await;
        store.flush().await.unwrap();
        let mut expected = expected.clone();
        expected.insert("later".into(), "1".into());
        expected.remove("kept");
        if options == NO_FOLDS && !old_journal(dir).exists() {
            // No fold is under way: a copy is a moment of the files.
            let crashed_again = crashed(crashed_here.path());
            assert_eq!(all(&open(crashed_again.path(), &NO_FOLDS)).await, expected);
        }
        drop(store);
        for options in [NO_FOLDS, ALWAYS_FOLDS, NO_FOLDS] {
            assert_eq!(all(&open(crashed_here.path(), &options)).await, expected);
        }
        assert!(moved_aside(crashed_here.path()).is_empty());
    }
}

#[tokio::test]
async fn no_step_of_a_fold_loses_anything() {
    let dir = before_a_fold().await;
    let files = Files::beside(&snapshot(dir.path()));
    check(dir.path(), &after_it()).await;

    // The journal is renamed.
    fs::rename(&files.journal, &files.old_journal).unwrap();
    check(dir.path(), &after_it()).await;

    // The new one is there, and takes changes.
    let rows = load(&files, &NO_FOLDS, clock::now()).unwrap().table.rows();
    assert!(files.journal.exists());
    check(dir.path(), &after_it()).await;
    let mut new = Journal::open(&files.journal, 0).unwrap();
    let line = |text: &str| format!("{{\"revision\":{},\"delete\":\"{text}\"}}\n", 1000 + text.len());
    new.append(line("changed").as_bytes()).unwrap();
    let mut expected = after_it();
    expected.remove("changed");
    check(dir.path(), &expected).await;

    // The next snapshot is half written, then whole.
    let whole = tempfile::tempdir().unwrap();
    fold(&Files::beside(&snapshot(whole.path())), rows).unwrap();
    let text = fs::read(snapshot(whole.path())).unwrap();
    for bytes in [0, 1, text.len() / 2, text.len()] {
        fs::write(&files.next_snapshot, &text[..bytes]).unwrap();
        check(dir.path(), &expected).await;
    }

    // It stands; the old journal tells again what it holds.
    fs::rename(&files.next_snapshot, &files.snapshot).unwrap();
    check(dir.path(), &expected).await;

    // The old journal is gone.
    fs::remove_file(&files.old_journal).unwrap();
    check(dir.path(), &expected).await;
}

#[tokio::test]
async fn a_snapshot_may_be_ahead_of_the_journals() {
    let dir = before_a_fold().await;
    let files = Files::beside(&snapshot(dir.path()));
    let rows = load(&files, &NO_FOLDS, clock::now()).unwrap().table.rows();
    // All of the journal is in the snapshot, and is told again.
    let journal_before = fs::read(&files.journal).unwrap();
    fold(&files, rows).unwrap();
    check(dir.path(), &after_it()).await;
    fs::write(&files.old_journal, &journal_before).unwrap();
    check(dir.path(), &after_it()).await;
}

#[tokio::test]
async fn a_change_that_was_never_finished_is_cut_off() {
    let dir = before_a_fold().await;
    let text = fs::read(journal(dir.path())).unwrap();
    let last = text[..text.len() - 1].iter().rposition(|it| *it == b'\n').unwrap() + 1;
    let mut expected = after_it();
    expected.remove("new");
    for bytes in last..text.len() {
        let torn = crashed(dir.path());
        fs::write(journal(torn.path()), &text[..bytes]).unwrap();
        let (store, log) = logged(|| open(torn.path(), &NO_FOLDS));
        assert_eq!(all(&store).await, expected, "{bytes} bytes");
        assert!(!log.contains("WARN"), "{log}");
        assert_eq!(log.contains("cut off"), bytes > last, "{log}");
        put(&store, session("later", "1")).await;
        store.flush().await.unwrap();
        let mut expected = expected.clone();
        expected.insert("later".into(), "1".into());
        let after = crashed(torn.path());
        assert_eq!(all(&open(after.path(), &NO_FOLDS)).await, expected, "what follows it is whole");
        assert!(moved_aside(after.path()).is_empty());
        assert!(moved_aside(torn.path()).is_empty());
    }
}

#[tokio::test]
async fn a_journal_without_a_snapshot_is_a_store() {
    let dir = before_a_fold().await;
    fs::remove_file(snapshot(dir.path())).unwrap();
    let mut expected = after_it();
    expected.remove("kept");
    assert_eq!(all(&open(dir.path(), &NO_FOLDS)).await, expected);
}
