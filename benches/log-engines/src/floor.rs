//! The floor: a program that does nothing but append and sync.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

/// How long the floor is measured.
const FOR: Duration = Duration::from_secs(2);

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
