//! The least that a run log on fjall would do: one thread, one atomic batch and one sync for all that waits.

use std::{
    path::Path,
    sync::mpsc::{SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use tokio::sync::oneshot;
use uuid::Uuid;

/// Events waiting for the writer.
const WAITING: usize = 100_000;

/// A log on fjall.
pub(crate) struct FjallLog(SyncSender<Waiting>);

struct Waiting {
    events: Vec<([u8; 24], Vec<u8>)>,
    written: oneshot::Sender<()>,
}

impl FjallLog {
    pub(crate) fn open(folder: &Path, tick: Duration) -> Self {
        let database = Database::builder(folder).open().expect("a database");
        let events = database.keyspace("events", KeyspaceCreateOptions::default).expect("a keyspace");
        let (sender, receiver) = sync_channel::<Waiting>(WAITING);
        thread::spawn(move || {
            while let Ok(first) = receiver.recv() {
                let began = Instant::now();
                let mut batch = database.batch().durability(Some(PersistMode::SyncData));
                let mut replies = Vec::new();
                for waiting in std::iter::once(first).chain(receiver.try_iter()) {
                    for (key, value) in waiting.events {
                        batch.insert(&events, key, value);
                    }
                    replies.push(waiting.written);
                }
                batch.commit().expect("a commit");
                replies.into_iter().for_each(|it| drop(it.send(())));
                thread::sleep(tick.saturating_sub(began.elapsed()));
            }
        });
        Self(sender)
    }

    pub(crate) async fn append(&self, run: Uuid, after: u64, count: usize, text: &str) {
        let event = |sequence: u64| {
            let mut key = [0; 24];
            key[..16].copy_from_slice(run.as_bytes());
            key[16..].copy_from_slice(&sequence.to_be_bytes());
            // As large as a stored event of the segments.
            (key, format!("{{\"k\":{{\"delta\":{{\"text\":\"{text}\"}}}}}}").into_bytes())
        };
        let events = (after + 1..).take(count).map(event).collect();
        let (written, answer) = oneshot::channel();
        self.0.send(Waiting { events, written }).expect("a writer");
        answer.await.expect("a commit");
    }
}
