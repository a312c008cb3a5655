//! Ctrl-C.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::Failure;

/// Counts the person's Ctrl-C from its making on; before, it ends the process as usual.
pub(super) struct Interrupts {
    signal: Signal,
}

impl Interrupts {
    /// Takes over Ctrl-C.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { signal: signal(SignalKind::interrupt())? })
    }

    /// Returns when the person presses Ctrl-C. Cancel safe.
    pub(super) async fn next(&mut self) {
        if self.signal.recv().await.is_none() {
            std::future::pending().await
        }
    }

    /// The work's output, unless the person presses Ctrl-C before.
    pub(super) async fn or<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            output = work => output,
            () = self.next() => Err(Failure::Interrupted),
        }
    }
}
