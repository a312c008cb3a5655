//! One configured server: connected when first used, and again after it died.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    McpError, McpServerSettings,
    connection::{Connection, within},
};

/// The rest after the first failure; after each further one it is twice as long.
const FIRST_REST: Duration = Duration::from_millis(500);
/// No rest is longer, so that a server that was mended is back within half a minute.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// A configured server.
pub(super) struct Server {
    name: String,
    settings: McpServerSettings,
    state: Mutex<State>,
    /// Cancelled when the registry closes.
    closed: CancellationToken,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    /// Failures in a row: it could not be reached, or died before it answered anything.
    failures: u32,
    /// Not tried before.
    rests_until: Option<Instant>,
}

impl Server {
    pub(super) fn new(name: String, settings: McpServerSettings, closed: CancellationToken) -> Self {
        Self { name, settings, state: Mutex::default(), closed }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Runs a request on the live connection, within the server's time.
    pub(super) async fn with_connection<T, F>(
        &self,
        request: impl FnOnce(Arc<Connection>) -> F,
    ) -> Result<T, McpError>
    where
        F: Future<Output = Result<T, McpError>>,
    {
        let connection = self.connection().await?;
        tokio::select! {
            () = self.closed.cancelled() => Err(McpError::Closed),
            result = within(&self.name, &self.settings, request(connection)) => result,
        }
    }

    /// Ends the connection. Called after `closed` was cancelled, so that no new one comes to be.
    pub(super) async fn close(&self) {
        let connection = self.state.lock().await.connection.take();
        if let Some(connection) = connection {
            connection.close().await;
        }
    }

    /// The live connection. Whoever comes while one is being made waits for that one: the lock is held meanwhile, for
    /// the server's `timeout` at most.
    async fn connection(&self) -> Result<Arc<Connection>, McpError> {
        let mut state = self.state.lock().await;
        if self.closed.is_cancelled() {
            return Err(McpError::Closed);
        }
        match state.connection.take() {
            Some(connection) if connection.is_alive() => {
                state.connection = Some(connection.clone());
                return Ok(connection);
            }
            Some(dead) => {
                tracing::warn!(server = self.name, "an MCP server went away");
                dead.bury();
                state.note_death(dead.has_answered(), Instant::now());
            }
            None => {}
        }
        state.check_rest(&self.name, Instant::now())?;
        let opened = tokio::select! {
            () = self.closed.cancelled() => return Err(McpError::Closed),
            opened = within(&self.name, &self.settings, Connection::open(&self.name, &self.settings)) => opened,
        };
        match opened {
            Ok(connection) => Ok(state.connection.insert(Arc::new(connection)).clone()),
            Err(error) => {
                state.note_failure(Instant::now());
                Err(error)
            }
        }
    }
}

impl State {
    fn check_rest(&self, server: &str, now: Instant) -> Result<(), McpError> {
        let left = self.rests_until.and_then(|until| until.checked_duration_since(now));
        match left {
            Some(retry_in) if !retry_in.is_zero() => {
                Err(McpError::Resting { server: server.to_owned(), retry_in })
            }
            _ => Ok(()),
        }
    }

    /// A server that had been of use may be started again at once: something ended it. One that never was rests.
    fn note_death(&mut self, had_answered: bool, now: Instant) {
        if had_answered {
            *self = Self::default();
        } else {
            self.note_failure(now);
        }
    }

    fn note_failure(&mut self, now: Instant) {
        let rest = FIRST_REST.saturating_mul(1 << self.failures.min(8)).min(LONGEST_REST);
        self.failures = self.failures.saturating_add(1);
        self.rests_until = Some(now + rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_cannot_run_rests_ever_longer() {
        let (mut state, now) = (State::default(), Instant::now());
        let rests: Vec<_> = (0..9)
            .map(|_| {
                state.note_failure(now);
                (state.rests_until.unwrap() - now).as_millis()
            })
            .collect();
        assert_eq!(rests, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
        assert!(state.check_rest("s", now).is_err());
        assert!(state.check_rest("s", now + LONGEST_REST).is_ok());
    }

    #[test]
    fn a_server_that_was_of_use_does_not_rest() {
        let (mut state, now) = (State::default(), Instant::now());
        state.note_failure(now);
        state.note_death(true, now);
        assert!(state.check_rest("s", now).is_ok());
        state.note_death(false, now);
        assert!(state.check_rest("s", now).is_err());
    }
}
