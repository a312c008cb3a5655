//! Progress of work that cannot wait: only the newest is kept, and it is told at a bearable rate.

use std::time::Duration;

use tokio::sync::watch;

use crate::runner::{Emitter, StopWork};

/// Between two events of progress. Nobody can read faster.
const INTERVAL: Duration = Duration::from_millis(100);

/// Does `work`, which is given a way to tell its newest progress: how far it is in per cent, and in words.
pub(super) async fn with_progress<T, F>(
    emitter: &Emitter,
    work: impl FnOnce(watch::Sender<(u8, String)>) -> F,
) -> Result<T, StopWork>
where
    F: Future<Output = T>,
{
    let (sender, mut newest) = watch::channel((0, String::new()));
    let work = work(sender);
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            Ok(()) = newest.changed() => {}
        }
        let (percent, message) = newest.borrow_and_update().clone();
        emitter.progress(percent, message).await?;
        tokio::select! {
            done = &mut work => return Ok(done),
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}
