//! The store on real files.

mod crash;
mod damage;
mod kill;
mod random;
mod store;
mod trouble;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use jiff::Timestamp;

use super::{FileOptions, FileSessionStore, Loaded};
use crate::{
    model::{Session, SessionId},
    storage::{Revision, SessionStore},
};

/// Never folds, so that what is in which file is known.
const NO_FOLDS: FileOptions =
    FileOptions { loaded: Loaded::ForgetActive, journal_bytes: u64::MAX, settle: Duration::MAX };

/// Folds whenever something is written.
const ALWAYS_FOLDS: FileOptions =
    FileOptions { loaded: Loaded::ForgetActive, journal_bytes: 0, settle: Duration::ZERO };

/// A moment of the past in whole seconds.
fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn id(text: &str) -> SessionId {
    SessionId::parse(text).unwrap()
}

fn session(text: &str, purpose: &str) -> Session {
    Session { purpose: purpose.into(), ..Session::new(id(text), "", time(0)) }
}

fn snapshot(dir: &Path) -> PathBuf {
    dir.join("init_sessions.json")
}

fn journal(dir: &Path) -> PathBuf {
    dir.join("init_sessions.journal")
}

fn old_journal(dir: &Path) -> PathBuf {
    dir.join("init_sessions.journal.old")
}

fn open(dir: &Path, options: &FileOptions) -> FileSessionStore {
    FileSessionStore::open(snapshot(dir), options.clone()).unwrap()
}

/// Stores the session over whatever is there.
async fn put(store: &FileSessionStore, session: Session) -> Revision {
    let expected = store.get(&session.session_id).await.unwrap().map_or(0, |it| it.revision);
    store.put(session, expected).await.unwrap()
}

async fn delete(store: &FileSessionStore, text: &str) {
    let expected = store.get(&id(text)).await.unwrap().map_or(0, |it| it.revision);
    store.delete(&id(text), expected).await.unwrap();
}

/// All sessions of the store: id to purpose.
async fn all(store: &FileSessionStore) -> BTreeMap<String, String> {
    let stored = store.unused_since(Timestamp::MAX).await.unwrap();
    stored.into_iter().map(|it| (it.session.session_id.to_string(), it.session.purpose.clone())).collect()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(id, purpose)| ((*id).to_owned(), (*purpose).to_owned())).collect()
}

/// The files as a crash at this moment would leave them, for another store to open.
fn crashed(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(dir).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

/// The files in `dir` that were moved aside.
fn moved_aside(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    names.filter(|it| it.contains(".damaged-")).collect()
}

/// Runs `act` and gives what the log got from this thread meanwhile.
fn logged<T>(act: impl FnOnce() -> T) -> (T, String) {
    let log = std::sync::Arc::new(Mutex::new(Vec::new()));
    let writer = {
        let log = std::sync::Arc::clone(&log);
        move || Log(std::sync::Arc::clone(&log))
    };
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
    let result = tracing::subscriber::with_default(subscriber, act);
    let text = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    (result, text)
}

struct Log(std::sync::Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
