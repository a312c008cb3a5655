//! Starting runs without a gateway: several writers append a record each and wait until it is on the disk; those that
//! wait at the same time share one write and one sync.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Stdio,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Instant,
};

use crate::{options::Options, process};

/// The hidden role of this program; the file, the number of writers and of records follow.
pub(crate) const ROLE: &str = "--role-floor-append";
/// About what the start of a run is in a log.
const RECORD: [u8; 512] = [b'r'; 512];

/// Appends a second to a file in `folder`, by so many `writers`.
pub(crate) async fn measure(options: &Options, folder: PathBuf, writers: usize, records: usize) -> f64 {
    let cores = options.server_cores();
    let output = tokio::task::spawn_blocking(move || {
        process::pin(cores);
        let mut command = process::this_program(ROLE);
        command.arg(folder.join("floor")).args([writers.to_string(), records.to_string()]);
        command.stdin(Stdio::null()).output()
    });
    let output = output.await.unwrap().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}

/// The program itself: prints the appends a second.
pub(crate) fn work(file: &Path, writers: usize, records: usize) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    let (ask, asked): (SyncSender<SyncSender<()>>, Receiver<_>) = sync_channel(writers);
    let begin = Instant::now();
    for _ in 0..writers {
        let ask = ask.clone();
        thread::spawn(move || {
            let (answer, answered) = sync_channel(1);
            for _ in 0..records / writers {
                if ask.send(answer.clone()).is_err() || answered.recv().is_err() {
                    return;
                }
            }
        });
    }
    drop(ask);
    let mut appended = 0;
    while let Ok(first) = asked.recv() {
        let waiting: Vec<_> = std::iter::once(first).chain(asked.try_iter()).collect();
        file.write_all(&RECORD.repeat(waiting.len()))?;
        file.sync_data()?;
        appended += waiting.len();
        for answer in waiting {
            // A writer that has ended wants no answer.
            let _ended = answer.send(());
        }
    }
    println!("{:.1}", appended as f64 / begin.elapsed().as_secs_f64());
    Ok(())
}
