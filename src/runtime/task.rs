//! The only place that spawns tasks. One screen answers: what runs in this process, and what happens if it dies?

#![allow(clippy::disallowed_methods, reason = "this module is where tasks are spawned")]

use std::{any::Any, panic::AssertUnwindSafe};

use futures::FutureExt as _;
use tokio::task::JoinHandle;

use super::shutdown;

/// What a task is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKind {
    /// Takes up connections. Ends when the gateway drains.
    Listener,
    /// Serves one connection. Ends with it, at the latest at the hard deadline of the drain.
    Connection,
    /// Serves one stream of an HTTP/2 connection. Ends with it, at the latest soon after its connection.
    Stream,
    /// Serves one WebSocket, which has outlived the request that it began as. Ends with it, at the latest soon after the
    /// drain begins.
    Socket,
    /// Runs one mutating operation to its end, even when its client hangs up.
    Operation,
    /// Writes the log of one run. Ends with the run's terminal event.
    RunWriter,
    /// Tells those who watch one run of its news. Ends when nobody watches it any more.
    Relay,
    /// Cancels one run when nobody watches it any more. Ends with the run.
    RunGuard,
    /// Takes up the runs that the last end of the gateway cut short. Ends when it has.
    Recovery,
    /// Executes the workers of one run. Ends with the run.
    RunExecution,
    /// Runs one worker. Ends with it; dropped when it outlives its cancellation by the grace time.
    Worker,
    /// Tells an orchestrator that its run is not wanted any more. Ends with the last try.
    Notice,
    /// Reads what a child process writes. Ends with the process.
    ProcessOutput,
    /// Drops what is no longer kept, again and again. Ends when the gateway stops.
    Sweeper,
}

/// What a panic in a task does to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnPanic {
    /// Only the task's own work is lost, and whoever waits for it is told.
    Contained,
    /// The gateway cannot keep its promises any more: it drains and exits with an error.
    StopsGateway,
}

impl TaskKind {
    /// What a panic in a task of this kind does.
    pub fn on_panic(self) -> OnPanic {
        match self {
            Self::Connection
            | Self::Stream
            | Self::Socket
            | Self::Relay
            | Self::Operation
            | Self::Worker
            | Self::Notice
            | Self::ProcessOutput => OnPanic::Contained,
            Self::Listener
            | Self::RunWriter
            | Self::RunGuard
            | Self::Recovery
            | Self::RunExecution
            | Self::Sweeper => OnPanic::StopsGateway,
        }
    }
}

/// Spawns a task. A panic in it is logged with its kind, then treated as [`TaskKind::on_panic`] says, and the handle
/// gives `None`.
pub fn spawn<F>(kind: TaskKind, future: F) -> JoinHandle<Option<F::Output>>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(async move {
        match AssertUnwindSafe(future).catch_unwind().await {
            Ok(output) => Some(output),
            Err(panic) => {
                tracing::error!(?kind, panic = panic_text(&*panic), "a task panicked");
                if kind.on_panic() == OnPanic::StopsGateway {
                    shutdown::report_fatal();
                }
                None
            }
        }
    })
}

/// Runs blocking work on the pool of threads for it; `None` when it panicked.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(output) => Some(output),
        Err(error) => {
            tracing::error!(%error, "blocking work panicked");
            None
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
