//! How the gateway ends: first it drains, then it stops.

use std::sync::OnceLock;

use tokio_util::sync::CancellationToken;

/// The two steps of the end. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Set when nothing new is taken up: streams end with a resumable error, runs are no longer started.
    pub draining: CancellationToken,
    /// Set when what still goes on is dropped.
    pub stopped: CancellationToken,
}

/// Says that the process must not go on; see [`fatal`].
pub fn report_fatal() {
    token().cancel();
}

/// Returns when a task died without which the gateway cannot keep its promises.
pub async fn fatal() {
    token().cancelled().await;
}

fn token() -> &'static CancellationToken {
    static FATAL: OnceLock<CancellationToken> = OnceLock::new();
    FATAL.get_or_init(CancellationToken::new)
}
