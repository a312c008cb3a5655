//! The floors: programs that do nothing but append and sync.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, task::JoinSet};

/// How long a floor is measured.
const FOR: Duration = Duration::from_secs(2);

/// What a task hands to the thread that appends.
struct Handed {
    bytes: Vec<u8>,
    written: oneshot::Sender<()>,
}

/// Events a second when as many bytes as one group commit holds are appended and synced, again and again.
pub(crate) fn append_and_sync(folder: &Path, events_each: usize, bytes_each: usize) -> f64 {
    let mut file = File::create(folder.join("floor")).expect("a file");
    let batch = vec![b'x'; events_each * bytes_each];
    let (began, mut events) = (Instant::now(), 0);
    while began.elapsed() < FOR {
        file.write_all(&batch).expect("a write");
        rustix::fs::fdatasync(&file).expect("a sync");
        events += events_each;
    }
    events as f64 / began.elapsed().as_secs_f64()
}

/// Events a second when so many tasks each hand `count` events to a thread that appends and syncs all that waits, and
/// wait to be woken: what it costs to have many who wait, without anything that a log is there for.
pub(crate) async fn append_sync_and_wake(
    folder: &Path,
    tasks: usize,
    count: usize,
    bytes_each: usize,
) -> f64 {
    let mut file = File::create(folder.join("floor")).expect("a file");
    let (sender, receiver): (SyncSender<Handed>, Receiver<_>) = sync_channel(tasks);
    let writer = thread::spawn(move || {
        let (mut batch, mut waiting) = (Vec::new(), Vec::new());
        while let Ok(first) = receiver.recv() {
            batch.clear();
            for it in std::iter::once(first).chain(receiver.try_iter()) {
                batch.extend_from_slice(&it.bytes);
                waiting.push(it.written);
            }
            file.write_all(&batch).expect("a write");
            rustix::fs::fdatasync(&file).expect("a sync");
            waiting.drain(..).for_each(|it| drop(it.send(())));
        }
    });
    let began = Instant::now();
    let mut all = JoinSet::new();
    for _ in 0..tasks {
        let sender = sender.clone();
        all.spawn(async move {
            let mut events = 0;
            while began.elapsed() < FOR {
                let (written, answer) = oneshot::channel();
                let handed = Handed { bytes: vec![b'x'; count * bytes_each], written };
                sender.send(handed).expect("a writer");
                answer.await.expect("a sync");
                events += count;
            }
            events
        });
    }
    drop(sender);
    let events: usize = all.join_all().await.into_iter().sum();
    let rate = events as f64 / began.elapsed().as_secs_f64();
    writer.join().expect("a writer that ends");
    rate
}
