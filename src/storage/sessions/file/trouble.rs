//! A step that fails for a while: told once, tried again after growing pauses, told once when it is over.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The first pause between two tries, and the longest: a broken disk is not kept busy, and one that works again is found
/// before a change that waits for it gives up.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Whether a step works at present.
#[derive(Debug)]
pub(super) struct Trouble {
    step: &'static str,
    path: PathBuf,
    now: Option<Failing>,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    pause: Duration,
    next_try: Instant,
}

impl Trouble {
    /// `step` and `path` say in the log what fails.
    pub(super) fn none(step: &'static str, path: &Path) -> Self {
        Self { step, path: path.to_owned(), now: None }
    }

    /// When to try again, if the step has failed.
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.now.as_ref().map(|it| it.next_try)
    }

    /// True while it is too early to try again.
    pub(super) fn holds_back(&self) -> bool {
        self.next_try().is_some_and(|it| it > Instant::now())
    }

    /// Takes up the result of a try, and gives what it gave.
    pub(super) fn note<T>(&mut self, result: io::Result<T>) -> Option<T> {
        let (step, path) = (self.step, self.path.display());
        match (&result, &mut self.now) {
            (Ok(_), Some(failing)) => {
                let seconds = failing.since.elapsed().as_secs_f64();
                tracing::info!(step, %path, seconds, "the session store works again");
                self.now = None;
            }
            (Ok(_), None) => {}
            (Err(_), Some(failing)) => {
                failing.pause = (failing.pause * 2).min(PAUSES.1);
                failing.next_try = Instant::now() + failing.pause;
            }
            (Err(error), None) => {
                tracing::error!(step, %path, %error, "the session store fails; sessions are kept in memory and tried again");
                let since = Instant::now();
                self.now = Some(Failing { since, pause: PAUSES.0, next_try: since + PAUSES.0 });
            }
        }
        result.ok()
    }
}
