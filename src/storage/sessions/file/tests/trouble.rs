//! Disks that fail and come back.

use std::{fs::File, process::Command, sync::Arc, time::Instant};

use super::*;
use crate::storage::{
    PutError, StoreError,
    sessions::{
        file::{buffer::Buffer, files::Files, journal::Journal, sync::Syncer},
        table::Table,
    },
};

/// Names the directory to the process whose files are limited.
const FULL_DISK: &str = "RUNGATE_TEST_FULL_DISK_DIR";

/// The directory of a store that can be taken away.
struct Disk {
    root: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// Nothing can be made in the directory any more.
    fn fail(&self) {
        fs::rename(self.dir(), self.root.path().join("gone")).unwrap();
        fs::write(self.dir(), "in the way").unwrap();
    }

    fn recover(&self) {
        fs::remove_file(self.dir()).unwrap();
    }
}

#[tokio::test]
async fn a_removed_directory_is_made_anew_and_holds_everything() {
    for options in [NO_FOLDS, ALWAYS_FOLDS] {
        let disk = Disk::new();
        let store = open(&disk.dir(), &options);
        put(&store, session("before", "1")).await;
        store.flush().await.unwrap();
        fs::rename(disk.dir(), disk.root.path().join("gone")).unwrap();
        store.flush().await.unwrap();
        let after = crashed(&disk.dir());
        assert_eq!(all(&open(after.path(), &NO_FOLDS)).await, map(&[("before", "1")]));
        put(&store, session("after", "1")).await;
        drop(store);
        let store = open(&disk.dir(), &NO_FOLDS);
        assert_eq!(all(&store).await, map(&[("before", "1"), ("after", "1")]));
    }
}

#[tokio::test]
async fn a_disk_that_fails_loses_nothing_once_it_works_again() {
    let disk = Disk::new();
    let store = open(&disk.dir(), &NO_FOLDS);
    put(&store, session("before", "1")).await;
    store.flush().await.unwrap();
    disk.fail();
    for number in 0..100 {
        put(&store, session("meanwhile", &number.to_string())).await;
    }
    let expected = map(&[("before", "1"), ("meanwhile", "99")]);
    assert_eq!(all(&store).await, expected, "it works on in memory");
    assert!(tokio::time::timeout(Duration::from_millis(50), store.flush()).await.is_err());
    disk.recover();
    store.flush().await.unwrap();
    let after = crashed(&disk.dir());
    assert_eq!(all(&open(after.path(), &NO_FOLDS)).await, expected);
}

#[tokio::test]
async fn a_full_buffer_makes_changes_wait_and_then_fail() {
    let disk = Disk::new();
    let store = open(&disk.dir(), &NO_FOLDS);
    disk.fail();
    let mut revision = 0;
    let start = Instant::now();
    let (error, number) = loop {
        assert!(revision < 100_000, "the buffer is bounded");
        match store.put(session("a", &revision.to_string()), revision).await {
            Ok(next) => revision = next,
            Err(error) => break (error, revision),
        }
    };
    assert!(matches!(&error, PutError::Store(StoreError(_))), "{error}");
    assert!(start.elapsed() >= Duration::from_secs(5), "it waited");
    assert!(number > 1000, "it is not small: {number}");
    let stored = store.get(&id("a")).await.unwrap().unwrap();
    assert_eq!(stored.revision, number, "what failed has not happened");
    // A change that waits passes when the disk works again.
    let waiting = store.put(session("a", "waited"), number);
    let (waited, ()) = tokio::join!(waiting, async {
        disk.recover();
    });
    waited.unwrap();
    drop(store);
    assert_eq!(all(&open(&disk.dir(), &NO_FOLDS)).await, map(&[("a", "waited")]));
}

#[tokio::test]
async fn a_fold_that_fails_is_tried_again_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let next = dir.path().join("init_sessions.json.new");
    fs::create_dir(&next).unwrap();
    let store = open(dir.path(), &ALWAYS_FOLDS);
    for number in 0..10 {
        put(&store, session("a", &number.to_string())).await;
        store.flush().await.unwrap();
    }
    let after = crashed_without_dirs(dir.path());
    assert_eq!(all(&open(after.path(), &NO_FOLDS)).await, map(&[("a", "9")]));
    fs::remove_dir(&next).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while old_journal(dir.path()).exists() || !snapshot(dir.path()).exists() {
        assert!(Instant::now() < deadline, "the fold was never tried again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(store);
    assert_eq!(all(&open(dir.path(), &NO_FOLDS)).await, map(&[("a", "9")]));
}

#[test]
fn a_change_of_state_is_told_once() {
    let mut trouble = super::super::trouble::Trouble::none("write", Path::new("journal"));
    let ((), log) = logged(|| {
        for _ in 0..3 {
            trouble.note(Err::<(), _>(std::io::Error::other("full")));
        }
        trouble.note(Ok(()));
        trouble.note(Ok(()));
    });
    assert_eq!((log.matches("ERROR").count(), log.matches("works again").count()), (1, 1), "{log}");
}

/// The null device cannot be synced.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_counts_as_synced_after_a_sync_that_failed() {
    let dir = tempfile::tempdir().unwrap();
    let buffer = Arc::new(Buffer::new(Table::default()));
    let syncer = Syncer::start(Files::beside(&snapshot(dir.path())), Arc::clone(&buffer)).unwrap();
    let file = Arc::new(File::create(dir.path().join("file")).unwrap());
    let flush = buffer.flush();
    let ends = async {
        syncer.sync(&Arc::new(File::open("/dev/null").unwrap()), 1);
        syncer.wait_idle();
        assert!(syncer.has_failed());
        syncer.sync(&file, 1);
        syncer.wait_idle();
    };
    let (early, ()) = tokio::join!(tokio::time::timeout(Duration::from_millis(50), flush), ends);
    assert!(early.is_err(), "not before everything is written anew");
    assert!(syncer.failure().is_some());
    let (done, ()) = tokio::join!(buffer.flush(), async { syncer.sync(&file, 2) });
    done.unwrap();
}

#[test]
fn a_journal_knows_when_it_is_not_where_it_should_be() {
    let dir = tempfile::tempdir().unwrap();
    let path = journal(dir.path());
    let mut journal = Journal::open(&path, 0).unwrap();
    journal.append(b"line\n").unwrap();
    assert!(journal.sound());
    fs::remove_file(&path).unwrap();
    assert!(!journal.sound(), "removed");
    fs::write(&path, "other").unwrap();
    assert!(!journal.sound(), "replaced");
}

/// A limit on the size of files stands in for a full disk: a write stops in the middle of a line.
#[cfg(target_os = "linux")]
#[test]
fn a_write_that_fails_in_the_middle_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let run = "trap '' XFSZ; ulimit -S -f 8; exec \"$0\" --exact --nocapture --test-threads=1 \
        storage::sessions::file::tests::trouble::full_disk";
    let test = std::env::current_exe().unwrap();
    let output = Command::new("sh").args(["-c", run]).arg(test).env(FULL_DISK, dir.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("the disk was full"), "{output:?}");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let expected = map(&[("a", &"long".repeat(25)), ("b", "199")]);
    assert_eq!(runtime.block_on(all(&open(dir.path(), &NO_FOLDS))), expected);
}

/// What the process with the limit does; nothing when it is run as a test.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn full_disk() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let Some(dir) = std::env::var_os(FULL_DISK) else { return };
    let dir = Path::new(&dir);
    let store = open(dir, &NO_FOLDS);
    put(&store, session("a", &"long".repeat(25))).await;
    store.flush().await.unwrap();
    for number in 0..200 {
        put(&store, session("b", &number.to_string())).await;
    }
    assert!(tokio::time::timeout(Duration::from_millis(300), store.flush()).await.is_err());
    println!("the disk was full");
    setrlimit(Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
    store.flush().await.unwrap();
    let text = fs::read_to_string(journal(dir)).unwrap();
    assert_eq!(text.lines().count(), 201, "each change stands there once");
    assert!(text.lines().all(|it| serde_json::from_str::<serde_json::Value>(it).is_ok()));
    std::mem::forget(store);
}

fn crashed_without_dirs(dir: &Path) -> tempfile::TempDir {
    let next = dir.join("init_sessions.json.new");
    fs::remove_dir(&next).unwrap();
    let copy = crashed(dir);
    fs::create_dir(&next).unwrap();
    copy
}
